"""Transform jobs: what a model makes of the objects below an S3 prefix."""

from __future__ import annotations

import copy
from typing import Any

from airflow_spot.local.api.call import Call
from airflow_spot.local.api.ignored import log_ignored
from airflow_spot.local.api.tagging import to_dict
from airflow_spot.local.backend import Backend, Operations
from airflow_spot.local.errors import validation
from airflow_spot.local.hosting import models
from airflow_spot.local.transform.job import TERMINAL, TRANSFORM_JOBS, TransformJob
from airflow_spot.local.transform.rules import check_transform_job, ignored_members
from airflow_spot.local.transform.runner import TransformRunner


def create_transform_job(backend: Backend, call: Call) -> dict[str, Any]:
    check_transform_job(call.params)
    model = models.find(backend, models.MODELS, call.region, call.params["ModelName"])
    request = copy.deepcopy(call.params)
    tags = to_dict(request.pop("Tags", []))
    now = backend.clock.now()
    facts = {"TransformJobStatus": "InProgress", "CreationTime": now}
    job = TransformJob(call.region, request["TransformJobName"], request, model, facts, now)
    backend.store.table(TRANSFORM_JOBS).add(job)
    if tags:
        backend.store.tags[job.arn] = tags
    log_ignored(backend.audit, "transform job", job.name, ignored_members(request))
    job.enter(backend, "InProgress")
    backend.threads.start(TransformRunner(backend, job))
    return {"TransformJobArn": job.arn}


def describe_transform_job(backend: Backend, call: Call) -> dict[str, Any]:
    job = backend.store.table(TRANSFORM_JOBS).get(call.region, call.params["TransformJobName"])
    return job.describe(backend.clock.now())


def stop_transform_job(backend: Backend, call: Call) -> dict[str, Any]:
    job = backend.store.table(TRANSFORM_JOBS).get(call.region, call.params["TransformJobName"])
    with job.lock:
        if job.status in TERMINAL:
            raise validation(f"The request was rejected because the transform job is in status {job.status}.")
        if job.status == "Stopping":
            return {}
        job.enter(backend, "Stopping")
    job.stop(backend.settings.grace_seconds)
    return {}


OPERATIONS: Operations = {
    "CreateTransformJob": create_transform_job,
    "DescribeTransformJob": describe_transform_job,
    "StopTransformJob": stop_transform_job,
}
