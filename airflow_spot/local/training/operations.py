"""Training jobs: the operations."""

from __future__ import annotations

import copy
from typing import Any

from airflow_spot.local.api.call import Call
from airflow_spot.local.api.ignored import log_ignored
from airflow_spot.local.api.pagination import in_order, select
from airflow_spot.local.api.tagging import to_dict
from airflow_spot.local.backend import Backend, Operations
from airflow_spot.local.builtin import metric_definitions
from airflow_spot.local.errors import in_use, validation
from airflow_spot.local.market.quotas import check_quota
from airflow_spot.local.training.channel_check import check_channels
from airflow_spot.local.training.job import TRAINING_JOBS, Parent, TrainingJob
from airflow_spot.local.training.rules import DEFAULT_MAX_RUNTIME, check_training_job, ignored_members
from airflow_spot.local.training.snapshots import snapshot, snapshots


def create_training_job(backend: Backend, call: Call) -> dict[str, Any]:
    return {"TrainingJobArn": create(backend, call.region, call.params).arn}


def create(backend: Backend, region: str, params: dict[str, Any], parent: Parent | None = None) -> TrainingJob:
    """Make a training job and begin its life.

    :param params: the body of CreateTrainingJob; not changed.
    :param parent: the tuning job that launches it.
    :raises ServiceError: ValidationException, ResourceInUse or ResourceLimitExceeded.
    """
    check_training_job(params)
    if backend.settings.engine == "process":
        check_channels(backend.aws.s3, region, params)
    request = copy.deepcopy(params)
    tags = to_dict(request.pop("Tags", []))
    request.setdefault("StoppingCondition", {}).setdefault("MaxRuntimeInSeconds", DEFAULT_MAX_RUNTIME)
    metrics = metric_definitions(request["AlgorithmSpecification"], request.get("HyperParameters", {}))
    if metrics:
        request["AlgorithmSpecification"]["MetricDefinitions"] = metrics
    now = backend.clock.now()
    job = TrainingJob(region, request["TrainingJobName"], request, now, last_modified=now, parent=parent)
    jobs = backend.store.table(TRAINING_JOBS)
    with jobs.lock:
        if jobs.find(region, job.name) is None:
            check_quota(backend.quotas, jobs.list(region), job)
        jobs.add(job)
        backend.journal.created(job)
    if tags:
        backend.store.tags[job.arn] = tags
        backend.journal.tagged(job.arn, tags)
    log_ignored(backend.audit, "training job", job.name, ignored_members(request))
    backend.engine.submit(job)
    return job


def describe_training_job(backend: Backend, call: Call) -> dict[str, Any]:
    job = backend.store.table(TRAINING_JOBS).get(call.region, call.params["TrainingJobName"])
    return snapshot(backend, job, call.operation)


def stop_training_job(backend: Backend, call: Call) -> dict[str, Any]:
    job = backend.store.table(TRAINING_JOBS).get(call.region, call.params["TrainingJobName"])
    with job.lock:
        # Stopping is no error, so that a stop whose answer was lost can be sent again.
        if job.terminal:
            raise validation(f"The request was rejected because the training job is in status {job.status}.")
    backend.engine.stop(job)
    return {}


def delete_training_job(backend: Backend, call: Call) -> dict[str, Any]:
    name = call.params["TrainingJobName"]
    job = backend.store.table(TRAINING_JOBS).get(call.region, name)
    with job.lock:
        if not job.terminal:
            raise in_use(f"The training job {name} is in status {job.status}; only a job that has ended can be deleted")
        backend.store.table(TRAINING_JOBS).pop(call.region, name)
        backend.store.tags.pop(job.arn, None)
        backend.journal.deleted(job)
    return {}


def list_training_jobs(backend: Backend, call: Call) -> dict[str, Any]:
    """Return a page of summaries.

    StatusEquals is applied after the page is cut, as the API reference has it: a page may hold fewer than MaxResults,
    or none, and yet have a NextToken.
    """
    late = {"StatusEquals"}
    if backend.faults.state("filter-after-paging", call.operation) is not None:
        late |= {"NameContains", "CreationTimeAfter", "LastModifiedTimeAfter"}
    jobs = snapshots(backend, call.region, call.operation, full=False)
    summaries = [summary for job, summary in jobs if _has_reserved(job, call.params)]
    early = {name: value for name, value in call.params.items() if name not in late}
    items, token = in_order(select(summaries, early, _fields), call, _fields)
    shown = select(items, {name: call.params[name] for name in late if name in call.params}, _fields)
    return {"TrainingJobSummaries": shown, **token}


def _has_reserved(job: TrainingJob, params: dict[str, Any]) -> bool:
    """Return whether a job has the training plan and the warm pool asked for. No job here leaves a warm pool."""
    plan = params.get("TrainingPlanArnEquals")
    planned = plan is None or job.request["ResourceConfig"].get("TrainingPlanArn") == plan
    return planned and "WarmPoolStatusEquals" not in params


def _fields(line: dict[str, Any]) -> dict[str, Any]:
    return {
        "Name": line["TrainingJobName"],
        "Status": line["TrainingJobStatus"],
        "CreationTime": line["CreationTime"],
        "LastModifiedTime": line["LastModifiedTime"],
    }


OPERATIONS: Operations = {
    "CreateTrainingJob": create_training_job,
    "DescribeTrainingJob": describe_training_job,
    "StopTrainingJob": stop_training_job,
    "DeleteTrainingJob": delete_training_job,
    "ListTrainingJobs": list_training_jobs,
}
