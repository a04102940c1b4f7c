"""How a worker carries out a run, and how it says that the triggerer is to wait."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from airflow_spot.core.run_state import RunState, WatchedJob


@dataclass(frozen=True)
class RunOptions:
    """
    How a worker carries out a run.

    :param deferrable: wait in the triggerer.
    :param check_interval: polling interval in seconds.
    :param events_queue_url: of the queue that SageMaker's events come to, which the triggerer listens to.
    :param print_log: show the job's output in the task's log.
    :param resume: resume what the run has; False trains from scratch when a person starts the task over.
    :param on_config_change: what a person's clear does where the task's training is another than the last one's:
        ``"resume"`` from its checkpoint, ``"restart"`` from nothing, or ``"fail"``; None for ``"resume"``, and for
        ``"restart"`` where the task is mapped and what changed may be its member.
    :param stop_on_kill: whether a killed task stops its job.
    :param poll_until: wait in the worker until then although ``deferrable``: the triggerer could not look.
    :param reports_expected: the script is sent along with ``airflow_spot.checkpoint``, which reports how far it is.
    """

    deferrable: bool = False
    check_interval: float = 30.0
    events_queue_url: str | None = None
    print_log: bool = True
    resume: bool = True
    on_config_change: str | None = None
    stop_on_kill: bool = True
    poll_until: datetime | None = None
    reports_expected: bool = False

    def defers(self, now: datetime) -> bool:
        """Return whether the triggerer is to wait."""
        return self.deferrable and (self.poll_until is None or now >= self.poll_until)


class Deferral(Exception):
    """
    The run has to wait, and the triggerer is to do it.

    :param jobs: the live jobs; none for a pause.
    :param until: wait at most until then; None for any time.
    :param quota_key: the quota that a pause waits for; empty for none.
    """

    def __init__(
        self, jobs: tuple[WatchedJob, ...], until: datetime | None, run_state: RunState, *, quota_key: str = ""
    ) -> None:
        super().__init__(", ".join(job.name for job in jobs))
        self.jobs = jobs
        self.until = until
        self.run_state = run_state
        self.quota_key = quota_key

    @property
    def job_name(self) -> str | None:
        """Return the attempt's job; None for a pause."""
        return self.jobs[0].name if self.jobs else None
