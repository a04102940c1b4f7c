"""SageMaker's rules for a transform job that its model does not state, and what Local SageMaker has not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from airflow_spot.local.api import ignored
from airflow_spot.local.errors import validation
from airflow_spot.local.transform.records import CSV, FORMATS, Filters

MAX_PAYLOAD_MB = 100
MAX_INSTANCES = 100
_IGNORED = (
    "TransformOutput.KmsKeyId",
    "TransformResources.VolumeKmsKeyId",
    "TransformResources.TransformAmiVersion",
    "ExperimentConfig",
)


def ignored_members(request: dict[str, Any]) -> list[str]:
    """Return the members of a transform job's request that have no effect here."""
    return ignored.ignored_members(request, _IGNORED)


def check_transform_job(request: dict[str, Any]) -> None:
    """Check a CreateTransformJob request that the model has let pass.

    :raises ServiceError: ValidationException, for the first rule that is broken.
    """
    for problem in _problems(request):
        raise validation(problem)


def _problems(request: dict[str, Any]) -> Iterator[str]:
    yield from _limits(request)
    source = request["TransformInput"]["DataSource"]["S3DataSource"]
    if source["S3DataType"] not in ("S3Prefix", "ManifestFile"):
        yield f"S3DataType {source['S3DataType']} is not implemented by Local SageMaker; use S3Prefix or ManifestFile"
    split = request["TransformInput"].get("SplitType", "None")
    if split not in ("None", "Line"):
        yield f"SplitType {split} is not implemented by Local SageMaker; use None or Line"
    if "DataCaptureConfig" in request:
        yield "DataCaptureConfig is not implemented by Local SageMaker"
    if "DataProcessing" in request:
        yield from _processing(request, split)


def _limits(request: dict[str, Any]) -> Iterator[str]:
    payload = request.get("MaxPayloadInMB")
    requests = request.get("MaxConcurrentTransforms")
    for name, value in (("MaxPayloadInMB", payload), ("MaxConcurrentTransforms", requests)):
        if value is not None and value < 0:
            yield f"{name} is {value}; it must not be negative"
    if payload is not None and payload > MAX_PAYLOAD_MB:  # [D]
        yield f"MaxPayloadInMB is {payload}; it cannot be greater than {MAX_PAYLOAD_MB}"
    if requests and payload and requests * payload > MAX_PAYLOAD_MB:  # [D]
        yield (
            f"MaxConcurrentTransforms * MaxPayloadInMB is {requests} * {payload}; it cannot exceed {MAX_PAYLOAD_MB} MB"
        )
    if request["TransformResources"]["InstanceCount"] > MAX_INSTANCES:  # [D]
        yield f"TransformResources.InstanceCount cannot be greater than {MAX_INSTANCES}"


def _processing(request: dict[str, Any], split: str) -> Iterator[str]:
    try:
        filters = Filters.of(request)
    except ValueError as error:
        yield f"DataProcessing: {error}"
        return
    if not (filters.input or filters.output):
        return
    kinds = {"TransformInput.ContentType": filters.content_type, "TransformOutput.Accept": filters.accept}
    for name, kind in kinds.items():
        if kind not in FORMATS:  # [D]
            yield f"{name} must be one of {', '.join(FORMATS)} with DataProcessing; it is {kind!r}"
    if filters.join and (filters.content_type == CSV) != (filters.accept == CSV):  # [A]
        yield "JoinSource: ContentType and Accept must both be CSV or both JSON"
    by_line = {CSV, "application/jsonlines"} & set(kinds.values())
    if by_line and (split != "Line" or request["TransformOutput"].get("AssembleWith") != "Line"):  # [D] for CSV
        yield f"SplitType and AssembleWith must both be Line with DataProcessing of {min(by_line)}"
