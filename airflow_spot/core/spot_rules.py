"""The service's own rules for a training request, which no model holds: met before the first call."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from airflow_spot.core import builtin_algorithms
from airflow_spot.core.identity import legal_prefix
from airflow_spot.core.locations import check_s3_uri
from airflow_spot.core.marks import ENVIRONMENT_USED, TAGS_USED
from airflow_spot.core.parameter_errors import InvalidParameterError
from airflow_spot.core.templates import is_template

DAY = 86_400
#: MaxRuntimeInSeconds is at most 28 days. Source: StoppingCondition in SageMaker's API reference.
MAX_RUNTIME_LIMIT = 28 * DAY
#: SageMaker documents no limit of MaxWaitTimeInSeconds. Ours: no job lives longer than we look back for live ones.
MAX_WAIT_LIMIT = 3 * MAX_RUNTIME_LIMIT
DEFAULT_MAX_RUN = DAY
HYPERPARAMETER_LIMIT = 100
ENVIRONMENT_LIMIT = 100
TAG_LIMIT = 50


def default_max_run(request: Mapping[str, Any]) -> int:
    """Return MaxRuntimeInSeconds for a request that names none: SageMaker's default, or less where spot allows less."""
    spot = _boolean(request.get("EnableManagedSpotTraining"))
    algorithm = builtin_algorithms.without_checkpoints(request.get("AlgorithmSpecification"))
    max_wait = _number(_mapping(request.get("StoppingCondition")).get("MaxWaitTimeInSeconds"))
    limits = [builtin_algorithms.MAX_WAIT_LIMIT] if spot and algorithm else []
    limits += [max_wait] if spot and max_wait is not None and max_wait > 0 else []
    return min([DEFAULT_MAX_RUN, *limits])


def default_max_wait(request: Mapping[str, Any], max_run: int) -> int:
    """
    Return MaxWaitTimeInSeconds for a spot request that names none: a day to wait beside the time to run.

    :param max_run: in seconds.
    """
    if builtin_algorithms.without_checkpoints(request.get("AlgorithmSpecification")):
        return max(max_run, builtin_algorithms.MAX_WAIT_LIMIT)
    # Never below max_run: where max_run is itself too long, the rule for that says so.
    return max(max_run, min(max_run + DAY, MAX_RUNTIME_LIMIT))


def check(request: Mapping[str, Any]) -> None:
    """
    Check a CreateTrainingJob request, whole or in part, against the rules of managed spot training.

    Values that are still templates are passed over, so that the same function serves when a DAG is parsed and
    when the task runs.

    :param request: in the API's words.
    :raises InvalidParameterError: the first rule that is broken.
    """
    for error in violations(request):
        raise error


def violations(request: Mapping[str, Any]) -> Iterator[InvalidParameterError]:
    """Yield every broken rule."""
    name = request.get("TrainingJobName")
    if isinstance(name, str) and not is_template(name):
        yield from _caught(partial(legal_prefix, name))
    yield from _times(request)
    yield from _instances(request)
    yield from _uris(request)
    yield from _counts(request)


def _times(request: Mapping[str, Any]) -> Iterator[InvalidParameterError]:
    stopping = _mapping(request.get("StoppingCondition"))
    spot = _boolean(request.get("EnableManagedSpotTraining"))
    max_run = _number(stopping.get("MaxRuntimeInSeconds"))
    max_wait = _number(stopping.get("MaxWaitTimeInSeconds"))
    if max_run is not None and max_run > MAX_RUNTIME_LIMIT:
        yield InvalidParameterError(
            "StoppingCondition.MaxRuntimeInSeconds",
            max_run,
            f"max_run is at most 28 days ({MAX_RUNTIME_LIMIT} s)",
        )
    if spot:
        yield from _builtin(request, max_run, max_wait)
    if max_wait is None:
        return
    if max_wait > MAX_WAIT_LIMIT:
        yield InvalidParameterError(
            "StoppingCondition.MaxWaitTimeInSeconds",
            max_wait,
            f"max_wait is at most {MAX_WAIT_LIMIT // DAY} days ({MAX_WAIT_LIMIT} s): when it is over, a new attempt "
            "begins",
        )
    if spot is False:
        yield InvalidParameterError(
            "StoppingCondition.MaxWaitTimeInSeconds",
            max_wait,
            "max_wait is for spot only: remove it, or set use_spot_instances=True",
        )
    elif max_run is not None and max_wait < max_run:
        yield InvalidParameterError(
            "StoppingCondition.MaxWaitTimeInSeconds",
            max_wait,
            f"max_wait counts waiting and running, so it is at least max_run ({max_run} s): raise it or lower max_run",
        )


def _builtin(request: Mapping[str, Any], max_run: int | None, max_wait: int | None) -> Iterator[InvalidParameterError]:
    """An algorithm without checkpoints loses everything to an interruption: SageMaker bounds what that can be."""
    algorithm = builtin_algorithms.without_checkpoints(request.get("AlgorithmSpecification"))
    limit = builtin_algorithms.MAX_WAIT_LIMIT
    if algorithm is None:
        return
    for field, name, value in (
        ("MaxRuntimeInSeconds", "max_run", max_run),
        ("MaxWaitTimeInSeconds", "max_wait", max_wait),
    ):
        if value is not None and value > limit:
            yield InvalidParameterError(
                f"StoppingCondition.{field}",
                value,
                f"the built-in algorithm {algorithm} keeps no checkpoints, so SageMaker takes a max_wait of at most "
                f"{limit} s for it on spot, and max_run within it: lower {name}, or set use_spot_instances=False",
            )
            return


def _instances(request: Mapping[str, Any]) -> Iterator[InvalidParameterError]:
    resources = _mapping(request.get("ResourceConfig"))
    if not _boolean(request.get("EnableManagedSpotTraining")):
        return
    if resources.get("KeepAlivePeriodInSeconds"):
        yield InvalidParameterError(
            "ResourceConfig.KeepAlivePeriodInSeconds",
            resources["KeepAlivePeriodInSeconds"],
            "warm pools cannot be used with spot: remove it, or set use_spot_instances=False",
        )
    if resources.get("InstancePreferences"):
        yield InvalidParameterError(
            "ResourceConfig.InstancePreferences",
            resources["InstancePreferences"],
            "cannot be used with spot: name one InstanceType, or set use_spot_instances=False",
        )


def _uris(request: Mapping[str, Any]) -> Iterator[InvalidParameterError]:
    places: list[tuple[str, Any]] = [
        ("OutputDataConfig.S3OutputPath", _mapping(request.get("OutputDataConfig")).get("S3OutputPath")),
        ("CheckpointConfig.S3Uri", _mapping(request.get("CheckpointConfig")).get("S3Uri")),
    ]
    channels = request.get("InputDataConfig")
    for i, channel in enumerate(channels if isinstance(channels, (list, tuple)) else ()):
        source = _mapping(_mapping(_mapping(channel).get("DataSource")).get("S3DataSource"))
        places.append((f"InputDataConfig[{i}].DataSource.S3DataSource.S3Uri", source.get("S3Uri")))
    for field, uri in places:
        if uri is not None and not is_template(uri):
            # SageMaker takes https://s3... for data as well; only s3:// can be checked and derived from.
            if isinstance(uri, str) and uri.startswith("https://") and not field.startswith("CheckpointConfig"):
                continue
            yield from _caught(partial(check_s3_uri, field, uri))


def _counts(request: Mapping[str, Any]) -> Iterator[InvalidParameterError]:
    limits = {
        "HyperParameters": (HYPERPARAMETER_LIMIT, 0),
        "Environment": (ENVIRONMENT_LIMIT, ENVIRONMENT_USED),
        "Tags": (TAG_LIMIT, TAGS_USED),
    }
    for field, (limit, ours) in limits.items():
        value = request.get(field)
        if not isinstance(value, (Mapping, list, tuple)):
            continue
        if len(value) > limit - ours:
            kept = f", of which airflow_spot needs {ours}" if ours else ""
            yield InvalidParameterError(field, f"{len(value)} entries", f"SageMaker takes at most {limit}{kept}")


def _caught(call: Callable[[], object]) -> Iterator[InvalidParameterError]:
    try:
        call()
    except InvalidParameterError as error:
        yield error


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _number(value: Any) -> int | None:
    """Read a number that may still be text; None where it is absent, a template, or for the type check to refuse."""
    if isinstance(value, bool) or value is None or is_template(value):
        return None
    try:
        return int(float(value))
    except (TypeError, ValueError):
        return None


def _boolean(value: Any) -> bool | None:
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value.strip().lower())
    return value if isinstance(value, bool) else None
