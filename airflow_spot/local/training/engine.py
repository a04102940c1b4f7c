"""Drives the lives of training jobs."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from airflow_spot.local.errors import not_found, validation
from airflow_spot.local.training.job import TRAINING_JOBS, TrainingJob
from airflow_spot.local.training.lifecycle import Lifecycle
from airflow_spot.local.training.process_instances import Instances, ProcessInstances
from airflow_spot.local.training.schedulers import CooperativeScheduler, Scheduler, ThreadScheduler
from airflow_spot.local.training.simulated_instances import SimulatedInstances

if TYPE_CHECKING:
    from airflow_spot.local.backend import Backend


class Engine:
    """Begins the lives of training jobs and passes on what happens to them. Thread-safe."""

    def __init__(self) -> None:
        self._lives: dict[str, Lifecycle] = {}
        self._lock = threading.Lock()
        self._backend: Backend
        self._scheduler: Scheduler

    def attach(self, backend: Backend) -> None:
        """Set the service that the jobs belong to. Called once, before any job."""
        self._backend = backend
        make = CooperativeScheduler if backend.settings.engine == "simulated" else ThreadScheduler
        self._scheduler = make(backend.clock, self._forget)

    def submit(self, job: TrainingJob) -> None:
        """Begin a job's life."""
        life = Lifecycle(self._backend, job, self._instances)
        with self._lock:
            self._lives[job.arn] = life
        self._scheduler.add(life)

    def _instances(self, job: TrainingJob) -> Instances:
        settings = self._backend.settings
        make = SimulatedInstances if settings.engine == "simulated" else ProcessInstances
        return make(self._backend, job, settings.root / "jobs" / job.region / job.name)

    def _forget(self, life: Lifecycle) -> None:
        with self._lock:
            if self._lives.get(life.job.arn) is life:
                del self._lives[life.job.arn]

    def stop(self, job: TrainingJob) -> None:
        """Stop a job that has not ended."""
        with self._lock:
            life = self._lives.get(job.arn)
        if life is not None:
            life.request_stop()

    def interrupt(
        self, region: str, name: str, capacity_gap: float = 0.0, reclaim: str | None = None, *, refuse: bool = False
    ) -> None:
        """Take a spot job's instances back.

        :param capacity_gap: service seconds for which this job then gets none.
        :param reclaim: ``term`` or ``kill``; None: as the service is set.
        :param refuse: whether the job fails with a CapacityError as it asks for others.
        :raises ServiceError: if there is no such job, or it holds no spot instances.
        """
        life = self._holding(region, name)
        if not life.job.spot:
            raise validation(f"{name} is an on-demand job: SageMaker does not interrupt those")
        life.request_reclaim(capacity_gap, reclaim, refuse=refuse)

    def crash(self, region: str, name: str) -> None:
        """Break a job's instances: it fails with InternalServerError, or is retried if it has a RetryStrategy.

        :raises ServiceError: if there is no such job, or it holds no instances.
        """
        self._holding(region, name).request_crash()

    def _holding(self, region: str, name: str) -> Lifecycle:
        job = self._backend.store.table(TRAINING_JOBS).find(region, name)
        if job is None:
            raise not_found(f"there is no training job {name!r} in {region}")
        with self._lock:
            life = self._lives.get(job.arn)
        if life is None or job.instance_start is None:
            raise validation(f"{name} holds no instances: it is {job.status}, {job.secondary}")
        return life

    def wake_all(self) -> None:
        """Make every job check the market again."""
        with self._lock:
            lives = list(self._lives.values())
        for life in lives:
            life.wake()

    def close(self) -> None:
        """Kill what runs and wait for it. Jobs keep the state that they are in."""
        self._scheduler.close()
