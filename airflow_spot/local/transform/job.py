"""A transform job as SageMaker describes it."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

from airflow_spot.local.aws.events import TRANSFORM
from airflow_spot.local.backend import Backend
from airflow_spot.local.hosting import models
from airflow_spot.local.serving.model_server import ModelServer
from airflow_spot.local.state_changes import record_status
from airflow_spot.local.storage.store import Kind

TERMINAL = ("Completed", "Failed", "Stopped")
REASON_CHARACTERS = 1024


@dataclass
class TransformJob:
    """One transform job.

    :param request: the body of CreateTransformJob, tags left out.
    :param model: that it was created with.
    :ivar facts: what the description has beside the request: status, times, reason.
    :ivar server: the model's process, while there is one.
    :ivar stopping: set when it is to end: StopTransformJob was called, or the service ends.
    """

    region: str
    name: str
    request: dict[str, Any]
    model: models.Model
    facts: dict[str, Any]
    last_modified: float
    lock: threading.RLock = field(default_factory=threading.RLock)
    stopping: threading.Event = field(default_factory=threading.Event)
    server: ModelServer | None = None

    @property
    def arn(self) -> str:
        return TRANSFORM_JOBS.arn(self.region, self.name)

    @property
    def status(self) -> str:
        return str(self.facts["TransformJobStatus"])

    def describe(self, now: float) -> dict[str, Any]:
        """Return the answer of DescribeTransformJob: the same at any time."""
        with self.lock:
            return {**self.request, "TransformJobArn": self.arn, **self.facts}

    def summary(self, now: float) -> dict[str, Any]:
        """Return what ListTransformJobs takes its lines from."""
        with self.lock:
            return {**self.describe(now), "LastModifiedTime": self.last_modified}

    def enter(self, backend: Backend, status: str, **facts: Any) -> None:
        """Change the status: record it and publish its event."""
        with self.lock:
            self.last_modified = backend.clock.now()
            self.facts.update(facts, TransformJobStatus=status)
            record_status(backend, self, ("transform", TRANSFORM), status, facts.get("FailureReason"))

    def finish(self, backend: Backend, status: str, reason: str | None = None) -> None:
        """Enter the last status, at the present time."""
        facts = {} if reason is None else {"FailureReason": reason[:REASON_CHARACTERS]}
        self.enter(backend, status, TransformEndTime=backend.clock.now(), **facts)

    def stop(self, grace_seconds: float) -> None:
        """Make it end soon. Does not wait.

        :param grace_seconds: that the model's process has; its end breaks off the requests that it handles.
        """
        self.stopping.set()
        server = self.server
        if server is not None:
            threading.Thread(target=server.stop, args=(grace_seconds,), name=f"stop-{self.name}", daemon=True).start()


TRANSFORM_JOBS = Kind[TransformJob]("transform-job", "Transform job")
