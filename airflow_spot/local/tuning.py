"""Hyperparameter tuning jobs: the operations."""

from __future__ import annotations

import logging
from typing import Any

from airflow_spot.local.api import Call, Operations
from airflow_spot.local.backend import Backend
from airflow_spot.local.errors import in_use, validation
from airflow_spot.local.job import TrainingJob
from airflow_spot.local.listing import page, select
from airflow_spot.local.quotas import check_quota
from airflow_spot.local.rules import inert
from airflow_spot.local.tags import to_dict
from airflow_spot.local.tuner import Tuner, enter
from airflow_spot.local.tuning_job import TuningJob
from airflow_spot.local.tuning_rules import check_tuning_job, training_request, with_objective, without_effect

log = logging.getLogger(__name__)


def create_tuning_job(backend: Backend, call: Call) -> dict[str, Any]:
    params = _without_nulls(call.params)
    check_tuning_job(params)
    tags = to_dict(params.pop("Tags", []))
    request = with_objective(params)
    now = backend.clock.now()
    name = request["HyperParameterTuningJobName"]
    job = TuningJob(call.region, name, request, now, {})
    first = training_request(request, name, {})
    # What a quota can never let in is refused at once; what it cannot let in yet waits [A].
    check_quota(backend.quotas, (), TrainingJob(call.region, name, first, now))
    with job.lock:
        backend.store.tuning_jobs.add(call.region, name, job)
        if tags:
            backend.store.tags[job.arn] = tags
        members = [*without_effect(request), *inert(first)]
        if members:
            backend.audit.write("inert", job=name, members=members)
            log.warning("tuning job %s: accepted, and without effect here: %s", name, ", ".join(members))
        enter(backend, job, "InProgress")
    Tuner(backend, job).start()
    return {"HyperParameterTuningJobArn": job.arn}


def describe_tuning_job(backend: Backend, call: Call) -> dict[str, Any]:
    return _get(backend, call).describe(backend.clock.now())


def stop_tuning_job(backend: Backend, call: Call) -> dict[str, Any]:
    job = _get(backend, call)
    with job.lock:
        if job.terminal:
            raise validation(
                f"The request was rejected because the hyperparameter tuning job is in status {job.status}."
            )
        if job.status != "Stopping":
            enter(backend, job, "Stopping")
    job.wake.set()
    return {}


def delete_tuning_job(backend: Backend, call: Call) -> dict[str, Any]:
    """The tuning job goes; its training jobs stay [D]."""
    job = _get(backend, call)
    with job.lock:
        if not job.terminal:
            raise in_use(
                f"The hyperparameter tuning job {job.name} is in status {job.status}; only one that has ended can be "
                "deleted"
            )
        backend.store.tuning_jobs.pop(call.region, job.name)
        backend.store.tags.pop(job.arn, None)
    return {}


def list_tuning_jobs(backend: Backend, call: Call) -> dict[str, Any]:
    lines = [job.summary() for job in backend.store.tuning_jobs.list(call.region)]
    chosen = select(lines, {"SortBy": "Name", "SortOrder": "Ascending", **_without_nulls(call.params)}, _fields)
    items, token = page(chosen, call.params)
    return {"HyperParameterTuningJobSummaries": items, **token}


def _fields(line: dict[str, Any]) -> dict[str, Any]:
    return {
        "Name": line["HyperParameterTuningJobName"],
        "Status": line["HyperParameterTuningJobStatus"],
        "CreationTime": line["CreationTime"],
        "LastModifiedTime": line["LastModifiedTime"],
    }


def list_training_jobs(backend: Backend, call: Call) -> dict[str, Any]:
    """ListTrainingJobsForHyperParameterTuningJob: by name, ascending, if not asked otherwise [D]."""
    params = {"SortBy": "Name", "SortOrder": "Ascending", **_without_nulls(call.params)}
    lines = _get(backend, call).summaries()
    if params.get("StatusEquals"):
        lines = [line for line in lines if line["TrainingJobStatus"] == params["StatusEquals"]]
    metric = "FinalHyperParameterTuningJobObjectiveMetric"
    if params["SortBy"] == "FinalObjectiveMetricValue":  # those without one are not listed [D]
        lines = sorted((line for line in lines if metric in line), key=lambda line: float(line[metric]["Value"]))
    else:
        member = {"Name": "TrainingJobName", "Status": "TrainingJobStatus"}.get(params["SortBy"], params["SortBy"])
        lines = sorted(lines, key=lambda line: (line[member], line["TrainingJobName"]))
    if params["SortOrder"] == "Descending":
        lines.reverse()
    items, token = page(lines, call.params)
    return {"TrainingJobSummaries": items, **token}


def _get(backend: Backend, call: Call) -> TuningJob:
    return backend.store.tuning_jobs.get(call.region, call.params["HyperParameterTuningJobName"])


def _without_nulls(value: Any) -> Any:
    """A request as if what is null in it were absent."""
    if isinstance(value, dict):
        return {name: _without_nulls(item) for name, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


OPERATIONS: Operations = {
    "CreateHyperParameterTuningJob": create_tuning_job,
    "DescribeHyperParameterTuningJob": describe_tuning_job,
    "StopHyperParameterTuningJob": stop_tuning_job,
    "DeleteHyperParameterTuningJob": delete_tuning_job,
    "ListHyperParameterTuningJobs": list_tuning_jobs,
    "ListTrainingJobsForHyperParameterTuningJob": list_training_jobs,
}
