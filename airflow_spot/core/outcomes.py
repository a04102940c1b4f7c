"""How an attempt ended: one typed outcome for everything that SageMaker can say."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping, Sequence
from typing import Any

#: Any other status is of a job that may train or write checkpoints, also one that is newer than this package: to
#: take it for an end would start a second job beside it.
ENDED_STATUSES = frozenset({"Completed", "Failed", "Stopped", "Deleting"})


class Outcome(str, enum.Enum):
    """How an attempt ended. The values are part of the result that a task returns."""

    COMPLETED = "completed"
    NO_CAPACITY_IN_TIME = "no capacity in time"
    NO_CAPACITY = "no capacity"
    SERVICE_FAULT = "service fault"
    OUT_OF_RUN_TIME = "out of run time"
    SCRIPT_ERROR = "script error"
    REQUEST_ERROR = "request error"
    OUR_STOP = "our stop"
    STOPPED_BY_PERSON = "stopped by a person"
    UNKNOWN = "unknown"

    def __str__(self) -> str:
        return self.value


def classify(description: Mapping[str, Any], *, stopped_by_us: bool) -> Outcome | None:
    """
    Name how a training job ended.

    Branches on status, secondary status and the leading word of FailureReason only: AWS asks not to rely on
    StatusMessage.

    :param description: what DescribeTrainingJob returned.
    :param stopped_by_us: the job bears our stop mark.
    :return: the outcome; None while the job is live.
    """
    status = description.get("TrainingJobStatus")
    if status not in ENDED_STATUSES:
        return None
    if status == "Completed":
        return Outcome.COMPLETED
    if status == "Stopped":
        return _stopped(str(description.get("SecondaryStatus")), stopped_by_us)
    if status == "Failed":
        return _failed(str(description.get("FailureReason") or ""))
    return Outcome.UNKNOWN


def _stopped(secondary: str, stopped_by_us: bool) -> Outcome:
    if secondary == "MaxWaitTimeExceeded":
        return Outcome.NO_CAPACITY_IN_TIME
    if secondary == "MaxRuntimeExceeded":
        return Outcome.OUT_OF_RUN_TIME
    return Outcome.OUR_STOP if stopped_by_us else Outcome.STOPPED_BY_PERSON


def _failed(reason: str) -> Outcome:
    head = reason.split(":", 1)[0].strip()
    if head == "AlgorithmError":  # first: a script's own text may hold any of the words below
        return Outcome.SCRIPT_ERROR
    if head == "CapacityError" or re.search(r"insufficient\s+capacity|InsufficientCapacity", reason, re.IGNORECASE):
        return Outcome.NO_CAPACITY
    if head in ("InternalServerError", "InternalServiceError"):
        return Outcome.SERVICE_FAULT
    if head == "ClientError":
        return Outcome.REQUEST_ERROR
    return Outcome.UNKNOWN


def count_interruptions(transitions: Sequence[Mapping[str, Any]]) -> int:
    """
    Count how often SageMaker took the instance back inside one job.

    From the whole list: between two looks a job can be interrupted and be training again, so its last status
    never shows it.
    """
    return sum(1 for transition in transitions if transition.get("Status") == "Interrupted")
