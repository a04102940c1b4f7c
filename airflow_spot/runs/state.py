"""What a worker is told about carrying out a run, and what it says when the triggerer is to wait."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class RunOptions:
    """
    How a worker carries out a run.

    :param deferrable: wait in the triggerer.
    :param check_interval: seconds between two looks.
    :param events_queue_url: of the queue that SageMaker's events come to, which the triggerer listens to.
    :param print_log: show the job's output in the task's log.
    :param resume: go on from what the run has; False trains anew when a person starts the task over.
    :param on_config_change: what a person's clear does where the task's training is another than the last one's:
        ``"resume"`` from its checkpoint, ``"restart"`` from nothing, or ``"fail"``.
    :param stop_on_kill: whether a killed task stops its job.
    """

    deferrable: bool = False
    check_interval: float = 30.0
    events_queue_url: str | None = None
    print_log: bool = True
    resume: bool = True
    on_config_change: str = "resume"
    stop_on_kill: bool = True


class Deferral(Exception):
    """The run has to wait, and the triggerer is to do it."""

    def __init__(
        self,
        job_name: str | None,
        until: datetime | None,
        run_state: dict[str, Any],
        *,
        capacity_timeout: float | None = None,
        quota_key: str = "",
        transitions_seen: int = 0,
    ) -> None:
        super().__init__(job_name)
        self.job_name = job_name
        self.until = until
        self.run_state = run_state
        self.capacity_timeout = capacity_timeout
        self.quota_key = quota_key
        self.transitions_seen = transitions_seen
