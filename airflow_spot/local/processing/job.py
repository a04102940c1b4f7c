"""A processing job as SageMaker describes it."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

from airflow_spot.local.aws.events import PROCESSING
from airflow_spot.local.backend import Backend
from airflow_spot.local.errors import validation
from airflow_spot.local.state_changes import record_status
from airflow_spot.local.storage.store import Kind

DEFAULT_MAX_RUNTIME = 24 * 3600
STATES = ("processing", PROCESSING)
TERMINAL = ("Completed", "Failed", "Stopped")


@dataclass
class ProcessingJob:
    """One processing job.

    :param request: the body of CreateProcessingJob, tags left out.
    :ivar facts: what the description has beside the request: status, times, reasons.
    :ivar lock: held while it is changed, so that a stop comes before its end or is refused.
    :ivar wake: set when its thread has something to look at.
    :ivar stopping: it is to end as Stopped: StopProcessingJob was called, or its time is over.
    """

    region: str
    name: str
    request: dict[str, Any]
    facts: dict[str, Any]
    lock: threading.RLock = field(default_factory=threading.RLock)
    wake: threading.Event = field(default_factory=threading.Event)
    stopping: bool = False

    @property
    def arn(self) -> str:
        return PROCESSING_JOBS.arn(self.region, self.name)

    @property
    def max_runtime(self) -> float:
        """Seconds that the script may run."""
        return float(self.request.get("StoppingCondition", {}).get("MaxRuntimeInSeconds", DEFAULT_MAX_RUNTIME))

    def describe(self, now: float) -> dict[str, Any]:
        """Return the answer of DescribeProcessingJob: the same at any time."""
        with self.lock:
            return {**self.request, "ProcessingJobArn": self.arn, **self.facts}

    def update(self, now: float, **facts: Any) -> None:
        """Change facts at a service time."""
        with self.lock:
            self.facts.update(facts, LastModifiedTime=now)

    def enter(self, backend: Backend, status: str, **facts: Any) -> None:
        """Change the status: record it and publish its event."""
        with self.lock:
            self.update(backend.clock.now(), ProcessingJobStatus=status, **facts)
            record_status(backend, self, STATES, status, facts.get("FailureReason"))

    def stop(self, backend: Backend) -> None:
        """Make it end soon; from now on it is Stopping.

        :raises ServiceError: ValidationException, if it has ended.
        """
        with self.lock:
            status = self.facts["ProcessingJobStatus"]
            if status in TERMINAL:
                raise validation(f"The request was rejected because the processing job is in status {status}.")
            if not self.stopping:
                self.stopping = True
                self.enter(backend, "Stopping")
        self.wake.set()


PROCESSING_JOBS = Kind[ProcessingJob]("processing-job", "Processing job")
