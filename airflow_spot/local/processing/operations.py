"""Processing jobs: the operations."""

from __future__ import annotations

import copy
from typing import Any

from airflow_spot.local.api.call import Call
from airflow_spot.local.api.ignored import ignored_members, log_ignored
from airflow_spot.local.api.tagging import to_dict
from airflow_spot.local.aws.events import PROCESSING
from airflow_spot.local.backend import Backend, Operations
from airflow_spot.local.errors import validation
from airflow_spot.local.processing.job import DEFAULT_MAX_RUNTIME, PROCESSING_JOBS, ProcessingJob
from airflow_spot.local.processing.runner import ProcessingRunner
from airflow_spot.local.state_changes import publish_event

_IGNORED = (
    "NetworkConfig.VpcConfig",
    "NetworkConfig.EnableNetworkIsolation",
    "NetworkConfig.EnableInterContainerTrafficEncryption",
    "ProcessingOutputConfig.KmsKeyId",
    "ProcessingResources.ClusterConfig.VolumeKmsKeyId",
    "ExperimentConfig",
)


def _check(request: dict[str, Any]) -> None:
    for item in request.get("ProcessingInputs", ()):
        source = item.get("S3Input")
        if source is None:
            raise validation(f"ProcessingInputs {item['InputName']}: only S3Input is implemented by Local SageMaker")
        if not source.get("LocalPath"):
            raise validation(f"ProcessingInputs {item['InputName']}: S3Input.LocalPath is required")
        if source.get("S3InputMode", "File") != "File":
            raise validation(f"ProcessingInputs {item['InputName']}: S3InputMode must be File in Local SageMaker")
    for output in request.get("ProcessingOutputConfig", {}).get("Outputs", ()):
        name = f"ProcessingOutputConfig.Outputs {output['OutputName']}"
        if "S3Output" not in output or "FeatureStoreOutput" in output:
            raise validation(f"{name}: only S3Output is implemented by Local SageMaker")
        if not output["S3Output"].get("LocalPath"):
            raise validation(f"{name}: S3Output.LocalPath is required")
    cluster = request["ProcessingResources"]["ClusterConfig"]
    if cluster.get("InstanceCount", 1) != 1:
        raise validation(
            f"ProcessingResources.ClusterConfig.InstanceCount is {cluster['InstanceCount']}; Local SageMaker runs "
            "processing jobs on one instance"
        )


def create_processing_job(backend: Backend, call: Call) -> dict[str, Any]:
    _check(call.params)
    request = copy.deepcopy(call.params)
    tags = to_dict(request.pop("Tags", []))
    request.setdefault("StoppingCondition", {"MaxRuntimeInSeconds": DEFAULT_MAX_RUNTIME})
    now = backend.clock.now()
    facts = {"ProcessingJobStatus": "InProgress", "CreationTime": now, "LastModifiedTime": now}
    job = ProcessingJob(call.region, request["ProcessingJobName"], request, facts)
    backend.store.table(PROCESSING_JOBS).add(job)
    if tags:
        backend.store.tags[job.arn] = tags
    log_ignored(backend.audit, "processing job", job.name, ignored_members(request, _IGNORED))
    publish_event(backend, PROCESSING, job)
    backend.threads.start(ProcessingRunner(backend, job))
    return {"ProcessingJobArn": job.arn}


def describe_processing_job(backend: Backend, call: Call) -> dict[str, Any]:
    job = backend.store.table(PROCESSING_JOBS).get(call.region, call.params["ProcessingJobName"])
    return job.describe(backend.clock.now())


def stop_processing_job(backend: Backend, call: Call) -> dict[str, Any]:
    job = backend.store.table(PROCESSING_JOBS).get(call.region, call.params["ProcessingJobName"])
    job.stop(backend)
    return {}


OPERATIONS: Operations = {
    "CreateProcessingJob": create_processing_job,
    "DescribeProcessingJob": describe_processing_job,
    "StopProcessingJob": stop_processing_job,
}
