"""One look at a job: what is new since the last one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from airflow_spot.core.outcomes import ENDED_STATUSES, waiting_since
from airflow_spot.core.secrets.redaction import redact, told_transition

#: Characters of why a job failed that its transition tells; the task's error has the whole.
_REASON_LENGTH = 300


@dataclass(frozen=True)
class Look:
    """
    What one look showed.

    :param new: the transitions after those already seen, as they may be told. From the whole list: an interruption
        can begin and be over between two looks.
    :param seen: how many transitions have been seen now.
    :param ended: the job is terminal.
    :param waiting_since: since when it has waited for capacity, while it does.
    :param wait_message: what SageMaker says of the wait; it changes while the transition stays the same.
    """

    description: Mapping[str, Any]
    new: tuple[Mapping[str, Any], ...]
    seen: int
    ended: bool
    waiting_since: datetime | None = None
    wait_message: str = ""

    @property
    def has_started(self) -> bool:
        """Return whether the script was started at all: before that there is no output to ask for."""
        transitions = self.description.get("SecondaryStatusTransitions") or ()
        return self.ended or any(transition.get("Status") == "Training" for transition in transitions)

    def waits_longer_than(self, capacity_timeout: float | None, now: datetime) -> bool:
        """Return whether the job has waited for capacity for ``capacity_timeout`` seconds in one go; None: never."""
        return waits_longer_than(self.waiting_since, capacity_timeout, now)


def look(describe: Callable[[str], Mapping[str, Any] | None], job_name: str, seen: int) -> Look | None:
    """
    Look at a job once.

    :param describe: gives a job's description, or None where there is no such job.
    :param seen: how many transitions the last look had shown.
    :return: None where the job is gone.
    """
    description = describe(job_name)
    return None if description is None else read(description, seen)


def _told(transition: Mapping[str, Any], description: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a transition as it may be told: of a failed job with the reason, which its own message does not say."""
    told = told_transition(transition, description)
    if transition.get("Status") != "Failed" or not description.get("FailureReason"):
        return told
    reason = redact(str(description["FailureReason"]), description).strip().partition("\n")[0]
    return {**told, "StatusMessage": reason if len(reason) <= _REASON_LENGTH else f"{reason[:_REASON_LENGTH]}..."}


def read(description: Mapping[str, Any], seen: int) -> Look:
    """
    Read a job's description as a look.

    :param seen: how many transitions the last look had shown.
    """
    transitions = tuple(description.get("SecondaryStatusTransitions") or ())
    since = waiting_since(description)
    return Look(
        description=description,
        new=tuple(_told(each, description) for each in transitions[seen:]),
        seen=max(seen, len(transitions)),
        ended=description["TrainingJobStatus"] in ENDED_STATUSES,
        waiting_since=since,
        wait_message=str(transitions[-1].get("StatusMessage") or "").strip() if transitions and since else "",
    )


def waits_longer_than(since: datetime | None, capacity_timeout: float | None, now: datetime) -> bool:
    """
    Return whether a wait that began then has lasted for ``capacity_timeout`` seconds; None is for ever.

    :param since: None where there is no wait.
    """
    return capacity_timeout is not None and since is not None and (now - since).total_seconds() >= capacity_timeout
