"""Drives the lives of training jobs."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from airflow_spot.local.errors import not_found, validation
from airflow_spot.local.instance import ProcessInstances
from airflow_spot.local.job import TrainingJob
from airflow_spot.local.lifecycle import Lifecycle

if TYPE_CHECKING:
    from airflow_spot.local.backend import Backend

log = logging.getLogger(__name__)


class Engine:
    """One thread per job that has not ended. Thread-safe."""

    def __init__(self) -> None:
        self._lives: dict[str, Lifecycle] = {}
        self._threads: dict[str, threading.Thread] = {}
        self._lock = threading.Lock()
        self._closing = False
        self._backend: Backend

    def attach(self, backend: Backend) -> None:
        """Say which service the jobs belong to. Called once, before any job."""
        self._backend = backend

    def submit(self, job: TrainingJob) -> None:
        """Begin a job's life."""
        backend = self._backend

        def make(job: TrainingJob) -> ProcessInstances:
            return ProcessInstances(backend, job, backend.settings.root / "jobs" / job.region / job.name)

        life = Lifecycle(backend, job, make)
        thread = threading.Thread(target=self._drive, args=(life,), name=f"job-{job.name}", daemon=True)
        with self._lock:
            self._lives[job.arn] = life
            self._threads[job.arn] = thread
        thread.start()

    def _drive(self, life: Lifecycle) -> None:
        steps = life.run()
        try:
            for delay in steps:
                life.poked.wait(min(self._backend.clock.machine_seconds(delay), threading.TIMEOUT_MAX))
                life.poked.clear()
                if self._closing:
                    return
        finally:
            steps.close()
            with self._lock:
                self._lives.pop(life.job.arn, None)
                self._threads.pop(life.job.arn, None)

    def stop(self, job: TrainingJob) -> None:
        """StopTrainingJob, for a job that has not ended."""
        with self._lock:
            life = self._lives.get(job.arn)
        if life is not None:
            life.request_stop()

    def interrupt(self, region: str, name: str, down: float = 0.0) -> None:
        """Take a spot job's instances back.

        :param down: service seconds for which this job then gets none.
        :raises ServiceError: if there is no such job, or it holds no spot instances.
        """
        life = self._holding(region, name)
        if not life.job.spot:
            raise validation(f"{name} is an on-demand job: SageMaker does not interrupt those")
        life.request_reclaim(down)

    def crash(self, region: str, name: str) -> None:
        """Break a job's instances: it fails with InternalServerError, or is retried if it has a RetryStrategy.

        :raises ServiceError: if there is no such job, or it holds no instances.
        """
        self._holding(region, name).request_crash()

    def _holding(self, region: str, name: str) -> Lifecycle:
        job = self._backend.store.training_jobs.find(region, name)
        if job is None:
            raise not_found(f"there is no training job {name!r} in {region}")
        with self._lock:
            life = self._lives.get(job.arn)
        if life is None or job.instance_start is None:
            raise validation(f"{name} holds no instances: it is {job.status}, {job.secondary}")
        return life

    def wake_all(self) -> None:
        """Have every job look at the market anew."""
        with self._lock:
            lives = list(self._lives.values())
        for life in lives:
            life.wake()

    def close(self) -> None:
        """Kill what runs and wait for it. Jobs keep the state that they are in."""
        self._closing = True
        with self._lock:
            threads = list(self._threads.values())
        self.wake_all()
        for thread in threads:
            thread.join(10)
