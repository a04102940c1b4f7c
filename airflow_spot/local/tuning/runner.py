"""The life of a tuning job: launches training jobs, watches them, and ends when they have achieved enough."""

from __future__ import annotations

import threading
from functools import partial
from typing import Any

from airflow_spot.local.api.tagging import to_list
from airflow_spot.local.aws.events import TUNING
from airflow_spot.local.backend import Backend
from airflow_spot.local.errors import ServiceError
from airflow_spot.local.job_threads import Runner
from airflow_spot.local.state_changes import record_status
from airflow_spot.local.training.job import Parent
from airflow_spot.local.training.operations import create
from airflow_spot.local.tuning.job import Child, TuningJob
from airflow_spot.local.tuning.rules import child_name, combinations, ranges_of, training_request
from airflow_spot.local.tuning.trials import Trial, judge, should_stop_early

QUOTA_SECONDS = 0.5
"""Of this machine: how soon a training job that a quota refused is tried again, if none of ours ends before."""
STOPPED: tuple[str, str | None] = ("Stopped", None)


def enter(backend: Backend, job: TuningJob, status: str, **facts: Any) -> None:
    """Enter a status: record it and publish its event."""
    now = backend.clock.now()
    with job.lock:
        job.facts.update(facts, HyperParameterTuningJobStatus=status, LastModifiedTime=now)
        record_status(backend, job, ("tuning", TUNING), status, facts.get("FailureReason"))


class TuningRunner(Runner):
    """Drives one tuning job."""

    def __init__(self, backend: Backend, job: TuningJob) -> None:
        super().__init__(f"tuning job {job.name}")
        self._backend = backend
        self._job = job
        self._limits = job.limits
        self._parallel: int = job.config["ResourceLimits"]["MaxParallelTrainingJobs"]
        self._combinations = combinations(job.request, ranges_of(job.request))
        self._next = next(self._combinations, None)
        self._waits = False
        self._verdict = STOPPED

    def run(self) -> None:
        """Launch training jobs until it is clear how the tuning job ends."""
        self._verdict = self._search()

    def record_end(self, failure: str | None) -> None:
        job = self._job
        with job.lock:
            status, reason = self._verdict if failure is None else ("Failed", failure)
            if job.status == "Stopping":  # perhaps only after it was clear how it would end
                status, reason = STOPPED
            facts = {} if reason is None else {"FailureReason": reason}
            enter(self._backend, job, status, HyperParameterTuningEndTime=self._backend.clock.now(), **facts)

    def wake(self) -> None:
        self._job.wake.set()

    def _search(self) -> tuple[str, str | None]:
        """Launch training jobs until it is over; return the tuning job's last status, and why if it has failed."""
        job = self._job
        while not self.abandoned:
            job.wake.clear()
            if job.status == "Stopping":
                break
            now, trials = self._backend.clock.now(), job.trials()
            verdict = judge(trials, self._limits, now, exhausted=self._next is None)
            if verdict is not None:
                return verdict.status, verdict.reason
            if job.early_stopping:
                self._stop_early(trials)
            self._launch(sum(trial.ended is None for trial in trials))
            job.wake.wait(self._seconds_to_wait(now))
        return STOPPED

    def _seconds_to_wait(self, now: float) -> float | None:
        """Return the seconds of this machine until the next check; None if only an event can change anything."""
        waits = [QUOTA_SECONDS] if self._waits else []
        if self._limits.until is not None:
            waits.append(min(self._backend.clock.machine_seconds(self._limits.until - now), threading.TIMEOUT_MAX))
        return min(waits, default=None)

    def _launch(self, running: int) -> None:
        job = self._job
        while running < self._parallel and self._next is not None and len(job.children) != self._limits.trials:
            name = child_name(job.arn, job.name, len(job.children) + 1, job.creation_time)
            request = training_request(job.request, name, self._next)
            # A tuning job's tags are those of its training jobs too [D].
            tags = to_list(self._backend.store.tags.get(job.arn, {}))
            values: list[float] = []
            parent = Parent(job.arn, job.wake.set, partial(job.record_metric, values))
            try:
                training = create(self._backend, job.region, {**request, "Tags": tags}, parent)
            except ServiceError as error:
                if error.code != "ResourceLimitExceeded":
                    raise
                # A quota: it waits until instances are given back.
                if not self._waits:
                    self._audit("waits", name)
                self._waits = True
                return
            with job.lock:
                job.children.append(Child(training, self._next, values))
            self._audit("launched", name)
            self._waits = False
            self._next = next(self._combinations, None)
            running += 1

    def _stop_early(self, trials: list[Trial]) -> None:
        for index, (child, trial) in enumerate(zip(self._job.children, trials, strict=True)):
            others = trials[:index] + trials[index + 1 :]
            epochs = range(child.judged + 1, len(trial.values) + 1)
            child.judged = len(trial.values)
            if trial.status == "InProgress" and any(
                should_stop_early(trial.values, epoch, others, self._limits) for epoch in epochs
            ):
                self._audit("stopped-early", child.training.name)
                self._backend.engine.stop(child.training)

    def clean_up(self) -> None:
        """Stop what trains, and wait until it has ended."""
        job = self._job
        while not self.abandoned:
            job.wake.clear()
            running = [child.training for child in job.children if not child.training.terminal]
            if not running:
                return
            for training in running:
                if training.status == "InProgress":
                    self._backend.engine.stop(training)
            job.wake.wait(1)

    def _audit(self, action: str, training_job: str) -> None:
        self._backend.audit.write("tuning", job=self._job.name, action=action, training_job=training_job)
