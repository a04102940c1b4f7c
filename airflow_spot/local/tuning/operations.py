"""Hyperparameter tuning jobs: the operations."""

from __future__ import annotations

from typing import Any

from airflow_spot.local.api.call import Call
from airflow_spot.local.api.ignored import log_ignored
from airflow_spot.local.api.pagination import in_order, order, select
from airflow_spot.local.api.tagging import to_dict
from airflow_spot.local.backend import Backend, Operations
from airflow_spot.local.errors import in_use, validation
from airflow_spot.local.market.quotas import check_quota
from airflow_spot.local.training.job import TrainingJob
from airflow_spot.local.training.rules import ignored_members as ignored_by_training
from airflow_spot.local.tuning.job import TUNING_JOBS, TuningJob
from airflow_spot.local.tuning.rules import check_tuning_job, ignored_members, training_request, with_objective
from airflow_spot.local.tuning.runner import TuningRunner, enter


def create_tuning_job(backend: Backend, call: Call) -> dict[str, Any]:
    check_tuning_job(call.params)
    params = dict(call.params)
    tags = to_dict(params.pop("Tags", []))
    request = with_objective(params)
    now = backend.clock.now()
    name = request["HyperParameterTuningJobName"]
    job = TuningJob(call.region, name, request, now, {})
    first = training_request(request, name, {})
    # What a quota can never let in is refused at once; what it cannot let in yet waits [A].
    check_quota(backend.quotas, (), TrainingJob(call.region, name, first, now))
    with job.lock:
        backend.store.table(TUNING_JOBS).add(job)
        if tags:
            backend.store.tags[job.arn] = tags
        log_ignored(backend.audit, "tuning job", name, [*ignored_members(request), *ignored_by_training(first)])
        enter(backend, job, "InProgress")
    backend.threads.start(TuningRunner(backend, job))
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
    """Delete a tuning job; its training jobs stay [D]."""
    job = _get(backend, call)
    with job.lock:
        if not job.terminal:
            raise in_use(
                f"The hyperparameter tuning job {job.name} is in status {job.status}; only one that has ended can be "
                "deleted"
            )
        backend.store.table(TUNING_JOBS).pop(call.region, job.name)
        backend.store.tags.pop(job.arn, None)
    return {}


def list_tuning_jobs(backend: Backend, call: Call) -> dict[str, Any]:
    lines = [job.summary() for job in backend.store.table(TUNING_JOBS).list(call.region)]
    items, token = in_order(select(lines, call.params, _fields), call, _fields)
    return {"HyperParameterTuningJobSummaries": items, **token}


def _fields(line: dict[str, Any]) -> dict[str, Any]:
    return {
        "Name": line["HyperParameterTuningJobName"],
        "Status": line["HyperParameterTuningJobStatus"],
        "CreationTime": line["CreationTime"],
        "LastModifiedTime": line["LastModifiedTime"],
    }


def list_training_jobs(backend: Backend, call: Call) -> dict[str, Any]:
    """Answer ListTrainingJobsForHyperParameterTuningJob."""
    lines = _get(backend, call).summaries(backend.clock.now())
    if status := call.params.get("StatusEquals"):
        lines = [line for line in lines if line["TrainingJobStatus"] == status]
    if order(call)[0] == _METRIC_VALUE:  # those without one are not listed [D]
        lines = [line for line in lines if _METRIC in line]
    items, token = in_order(lines, call, _child_fields)
    return {"TrainingJobSummaries": items, **token}


_METRIC, _METRIC_VALUE = "FinalHyperParameterTuningJobObjectiveMetric", "FinalObjectiveMetricValue"


def _child_fields(line: dict[str, Any]) -> dict[str, Any]:
    return {
        "Name": line["TrainingJobName"],
        "Status": line["TrainingJobStatus"],
        "CreationTime": line["CreationTime"],
        _METRIC_VALUE: line.get(_METRIC, {}).get("Value"),
    }


def _get(backend: Backend, call: Call) -> TuningJob:
    return backend.store.table(TUNING_JOBS).get(call.region, call.params["HyperParameterTuningJobName"])


OPERATIONS: Operations = {
    "CreateHyperParameterTuningJob": create_tuning_job,
    "DescribeHyperParameterTuningJob": describe_tuning_job,
    "StopHyperParameterTuningJob": stop_tuning_job,
    "DeleteHyperParameterTuningJob": delete_tuning_job,
    "ListHyperParameterTuningJobs": list_tuning_jobs,
    "ListTrainingJobsForHyperParameterTuningJob": list_training_jobs,
}
