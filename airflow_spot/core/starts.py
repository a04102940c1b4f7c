"""The starts of a job: when it asked for instances, had them, trained and lost them. From its transitions alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from airflow_spot.core.outcomes import WAITING_STATUSES, WORKING_STATUSES

#: SageMaker tells milliseconds, and a deferral carries no more of them.
SAME_MOMENT = timedelta(milliseconds=5)


@dataclass(frozen=True)
class Start:
    """
    One start inside a job. An interruption ends it, and the next one begins with it.

    :param asked: since when it has waited for instances; None where SageMaker does not say.
    :param granted: when it had its instances; None where it never did, or not yet.
    :param training: when its script began.
    :param lost: when SageMaker took the instances back; None where the start ended in another way, or has not ended.
    :param ended: when it no longer had its instances; None where it has them, or never had.
    """

    asked: datetime | None
    granted: datetime | None = None
    training: datetime | None = None
    lost: datetime | None = None
    ended: datetime | None = None

    def waited(self, until: datetime | None) -> float:
        """Return the seconds that it waited for instances; one that still waits, until ``until``."""
        return _between(self.asked, self.granted or self.ended or until)

    def launched(self, until: datetime | None) -> float:
        """Return the seconds from having instances to the script's begin: images, data and checkpoints come down."""
        return _between(self.granted, self.training or self.ended or until)

    def trained(self, until: datetime | None) -> float:
        """Return the seconds from the script's begin to the end of the start; of one that trains, to ``until``."""
        return _between(self.training, self.ended or until)


def training_since(starts: Sequence[Start]) -> datetime | None:
    """Return since when a job trains; None where it does not."""
    return starts[-1].training if starts and starts[-1].ended is None else None


def read_starts(description: Mapping[str, Any]) -> tuple[Start, ...]:
    """
    Read the starts of a job, oldest first.

    :param description: what DescribeTrainingJob returned. A job that has no transitions yet has asked for its
        instances when it was created.
    """
    starts = [Start(description.get("CreationTime"))]
    for transition in description.get("SecondaryStatusTransitions") or ():
        status, begun, ended = transition.get("Status"), transition.get("StartTime"), transition.get("EndTime")
        newest = starts[-1]
        if status == "Interrupted":
            starts[-1] = replace(newest, lost=begun, ended=newest.ended or begun)
            starts.append(Start(begun))
        elif status in WORKING_STATUSES:
            starts[-1] = replace(
                newest,
                granted=newest.granted or begun,
                training=newest.training or (begun if status == "Training" else None),
                ended=ended,
            )
        elif status in WAITING_STATUSES and newest.granted is not None:
            # A restart without an Interrupted, as the RetryStrategy's: the instances are new.
            starts[-1] = replace(newest, ended=newest.ended or begun)
            starts.append(Start(begun))
    return tuple(starts)


def advance(starts: Sequence[Start], status: str, at: datetime) -> tuple[Start, ...]:
    """
    Return the starts of a job after one more transition, which nobody has read from its description yet.

    A transition that is in them already changes nothing.

    :param status: that the job went on to.
    :param at: when.
    """
    made = list(starts) or [Start(at)]
    newest = made[-1]
    if status == "Interrupted":
        if len(made) > 1 and newest.asked is not None and abs(newest.asked - at) <= SAME_MOMENT:
            return tuple(made)
        made[-1] = replace(newest, lost=at, ended=newest.ended or at)
        made.append(Start(at))
    elif status in WORKING_STATUSES:
        begins = newest.training or (at if status == "Training" else None)
        made[-1] = replace(newest, granted=newest.granted or at, training=begins, ended=None)
    elif status in WAITING_STATUSES and newest.granted is not None:
        made[-1] = replace(newest, ended=newest.ended or at)
        made.append(Start(at))
    elif status not in WAITING_STATUSES and newest.granted is not None:
        made[-1] = replace(newest, ended=newest.ended or at)
    return tuple(made)


def newest_moment(starts: Sequence[Start]) -> datetime | None:
    """Return the last thing that the starts of a job tell of; None where they tell of nothing."""
    told = (moment for one in starts for moment in (one.asked, one.granted, one.training, one.lost, one.ended))
    return max((moment for moment in told if moment is not None), default=None)


def read_uploading(description: Mapping[str, Any]) -> datetime | None:
    """Return since when a job has uploaded, or did, what it made; None where it has not begun to."""
    begun = [
        transition.get("StartTime")
        for transition in description.get("SecondaryStatusTransitions") or ()
        if transition.get("Status") == "Uploading"
    ]
    return begun[-1] if begun else None


def _between(begin: datetime | None, end: datetime | None) -> float:
    return 0.0 if begin is None or end is None else max(0.0, (end - begin).total_seconds())
