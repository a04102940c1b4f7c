"""Transform jobs: what a model makes of the objects below an S3 prefix."""

from __future__ import annotations

import copy
import threading
from dataclasses import dataclass, field
from typing import Any

from airflow_spot.local import models
from airflow_spot.local.api import Call, Operations
from airflow_spot.local.backend import Backend
from airflow_spot.local.contract import join_all
from airflow_spot.local.errors import validation
from airflow_spot.local.events import TRANSFORM
from airflow_spot.local.inert import tell_inert
from airflow_spot.local.model_server import ModelServer
from airflow_spot.local.states import entered
from airflow_spot.local.store import arn
from airflow_spot.local.tags import to_dict
from airflow_spot.local.transform_rules import check_transform_job, inert
from airflow_spot.local.transform_run import Run

TERMINAL = ("Completed", "Failed", "Stopped")
REASON_CHARACTERS = 1024


@dataclass
class TransformJob:
    """One transform job.

    :param request: the body of CreateTransformJob, tags left out.
    :param model: that it was created with.
    :ivar facts: what the description has beside the request: status, times, reason.
    :ivar server: the model's process, while there is one.
    :ivar stopping: set when it is to end: by a person, or because the service ends.
    :ivar abandoned: the service ends; nothing is recorded any more.
    :ivar thread: drives it, until it has ended.
    """

    region: str
    name: str
    request: dict[str, Any]
    model: models.Resource
    facts: dict[str, Any]
    last_modified: float
    lock: threading.RLock = field(default_factory=threading.RLock)
    stopping: threading.Event = field(default_factory=threading.Event)
    server: ModelServer | None = None
    thread: threading.Thread | None = None
    abandoned: bool = False

    @property
    def arn(self) -> str:
        return arn(self.region, "transform-job", self.name)

    @property
    def status(self) -> str:
        return str(self.facts["TransformJobStatus"])

    def describe(self) -> dict[str, Any]:
        """The answer of DescribeTransformJob."""
        with self.lock:
            return {**self.request, "TransformJobArn": self.arn, **self.facts}

    def summary(self) -> dict[str, Any]:
        """What ListTransformJobs takes its lines from."""
        with self.lock:
            return {**self.describe(), "LastModifiedTime": self.last_modified}

    def enter(self, backend: Backend, status: str, **facts: Any) -> None:
        """Change the status, and tell of it."""
        with self.lock:
            self.last_modified = backend.clock.now()
            self.facts.update(facts, TransformJobStatus=status)
            entered(backend, self, ("transform", TRANSFORM), self.describe, status, facts.get("FailureReason"))

    def finish(self, backend: Backend, status: str, reason: str | None = None) -> None:
        """Enter the last status, at the present time."""
        facts = {} if reason is None else {"FailureReason": reason[:REASON_CHARACTERS]}
        self.enter(backend, status, TransformEndTime=backend.clock.now(), **facts)

    def stop(self, grace_seconds: float) -> None:
        """Have it end soon. Does not wait.

        :param grace_seconds: that the model's process has; its end breaks off whatever request goes on.
        """
        self.stopping.set()
        server = self.server
        if server is not None:
            threading.Thread(target=server.stop, args=(grace_seconds,), name=f"stop-{self.name}", daemon=True).start()


def create_transform_job(backend: Backend, call: Call) -> dict[str, Any]:
    check_transform_job(call.params)
    model = models.find(backend.store.models, call.region, call.params["ModelName"])
    request = copy.deepcopy(call.params)
    tags = to_dict(request.pop("Tags", []))
    now = backend.clock.now()
    facts = {"TransformJobStatus": "InProgress", "CreationTime": now}
    job = TransformJob(call.region, request["TransformJobName"], request, model, facts, now)
    backend.store.transform_jobs.add(call.region, job.name, job)
    if tags:
        backend.store.tags[job.arn] = tags
    tell_inert(backend, "transform job", job.name, inert(request))
    job.enter(backend, "InProgress")
    job.thread = threading.Thread(target=Run(backend, job), name=f"transform-{job.name}", daemon=True)
    job.thread.start()
    return {"TransformJobArn": job.arn}


def describe_transform_job(backend: Backend, call: Call) -> dict[str, Any]:
    return backend.store.transform_jobs.get(call.region, call.params["TransformJobName"]).describe()


def stop_transform_job(backend: Backend, call: Call) -> dict[str, Any]:
    job = backend.store.transform_jobs.get(call.region, call.params["TransformJobName"])
    with job.lock:
        if job.status in TERMINAL:
            raise validation(f"The request was rejected because the transform job is in status {job.status}.")
        if job.status == "Stopping":
            return {}
        job.enter(backend, "Stopping")
    job.stop(backend.settings.grace_seconds)
    return {}


def close(backend: Backend) -> None:
    """End all jobs, because the service ends."""
    for job in backend.store.transform_jobs:
        job.abandoned = True
        job.stop(0.0)
    join_all(job.thread for job in backend.store.transform_jobs)


OPERATIONS: Operations = {
    "CreateTransformJob": create_transform_job,
    "DescribeTransformJob": describe_transform_job,
    "StopTransformJob": stop_transform_job,
}
