"""Waiting for a checkpoint: whether it has come, may still come, or comes too late."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from airflow_spot.core.folder_look import FolderLook
from airflow_spot.core.parameter_errors import InvalidParameterError
from airflow_spot.core.starts import Start


class Verdict(str, enum.Enum):
    """What a look at the folder, and at the job, comes to."""

    WRITTEN = "written"
    WAITING = "waiting"
    #: The job trains, and has written none for too long.
    STALE = "stale"
    #: The job has ended without one.
    ENDED = "terminal"
    #: The folder could not be seen: nothing follows from that.
    NOT_SEEN = "not_seen"


@dataclass(frozen=True)
class CheckpointWait:
    """
    What is waited for.

    :param newer_than: the checkpoint has to be written after it; None for any.
    :param stale_after: seconds that the job may train without writing one; None for any.
    """

    newer_than: datetime | None = None
    stale_after: float | None = None

    def judge(self, look: FolderLook, starts: tuple[Start, ...], now: datetime, *, ended: bool = False) -> Verdict:
        """
        Return what a look comes to.

        :param starts: of the job; empty where there is none to watch.
        :param ended: whether the job has ended, before the look.
        """
        if look.problem:
            return Verdict.NOT_SEEN
        newest = max(look.objects.values(), default=None)
        if newest is not None and (self.newer_than is None or newest > self.newer_than):
            return Verdict.WRITTEN
        if ended:
            return Verdict.ENDED
        stale = self.stale_at(look, starts)
        return Verdict.STALE if stale is not None and now >= stale else Verdict.WAITING

    def stale_at(self, look: FolderLook, starts: tuple[Start, ...]) -> datetime | None:
        """Return when the job will have trained for too long without a checkpoint; None while it does not train."""
        current = starts[-1] if starts else None
        if self.stale_after is None or current is None or current.training is None or current.ended is not None:
            return None
        # What has the name of a half-written file may be a checkpoint, or becomes one: the job is not idle.
        written = max([*look.objects.values(), *([look.doubtful] if look.doubtful else [])], default=None)
        # Nor does an interruption begin the count again: one that ends each start before its first checkpoint is the
        # very thing to find out.
        before = sum(_trained_since(start, written) for start in starts[:-1])
        since = current.training if written is None else max(current.training, written)
        return since + timedelta(seconds=self.stale_after - before)


def _trained_since(start: Start, written: datetime | None) -> float:
    """Return the seconds that a start which has ended trained after something was written."""
    if start.training is None or start.ended is None:
        return 0.0
    since = start.training if written is None else max(start.training, written)
    return max(0.0, (start.ended - since).total_seconds())


def read_moment(name: str, value: Any) -> datetime:
    """
    Read a moment: a ``datetime``, or ISO 8601 text, as ``{{ ts }}`` gives; without a zone it is UTC.

    :param name: the parameter's, for the error.
    :raises InvalidParameterError: it is none.
    """
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip().replace("Z", "+00:00"))
        except ValueError:
            raise InvalidParameterError(name, value, "must be a time, as 2026-01-02T03:04:05+00:00") from None
    if not isinstance(value, datetime):
        raise InvalidParameterError(name, value, "must be a time, as 2026-01-02T03:04:05+00:00")
    return value if value.tzinfo is not None else value.replace(tzinfo=timezone.utc)
