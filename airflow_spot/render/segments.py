"""What an attempt did, as spans of time: the ledger's starts, cut where the next thing begins."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from airflow_spot.render.ledger_format import AttemptLine

NAMES = {
    "W": "waiting for capacity",
    "S": "starting",
    "T": "training",
    "R": "lost, trained again",
    "U": "uploading",
}


class Segment(NamedTuple):
    """A span, in seconds after the timeline's ``t0``; ``kind`` is one of :data:`NAMES`."""

    kind: str
    begin: float
    end: float

    @property
    def seconds(self) -> float:
        """Return how long it is."""
        return max(0.0, self.end - self.begin)


@dataclass(frozen=True)
class Interruption:
    """
    Instances were taken.

    :param trained: for how long the start had trained then; None where it had not.
    :param back: when the next start trained; None where it never did, or not yet.
    """

    at: float
    trained: float | None
    back: float | None


def end_of(attempt: AttemptLine, now: float) -> float:
    """Return when an attempt ended; of one that has not, now."""
    return attempt["ended"] if attempt["ended"] is not None else max(now, attempt["created"])


def segments(attempt: AttemptLine, now: float) -> list[Segment]:
    """Return what an attempt did, oldest first; then spans of training that were lost, to be drawn over it."""
    over = end_of(attempt, now)
    uploading = attempt["uploading"]
    upload = uploading[0] if uploading and uploading[0] is not None else None
    found = list(_of_starts(attempt["starts"], over, upload))
    if upload is not None and uploading is not None:
        found.append(Segment("U", upload, uploading[1] if uploading[1] is not None else over))
    found.extend(Segment("R", begin, end) for begin, end in attempt["again"])
    return [each for each in found if each.end > each.begin]


def _of_starts(starts: Sequence[Sequence[float | None]], over: float, upload: float | None) -> Iterator[Segment]:
    for asked, granted, training, lost, ended in starts:
        # Whatever is not over yet lasts until now; an upload is what training ends with.
        last = next((each for each in (lost, ended) if each is not None), over)
        if asked is not None:
            yield Segment("W", asked, granted if granted is not None else last)
        if granted is not None:
            yield Segment("S", granted, training if training is not None else last)
        if training is not None:
            cut = upload if upload is not None and training <= upload < last else last
            yield Segment("T", training, cut)


def waited(attempt: AttemptLine, now: float) -> float:
    """Return for how long an attempt asked for instances and had none, as far as its starts are kept."""
    return sum(each.seconds for each in segments(attempt, now) if each.kind == "W")


def interruptions(attempt: AttemptLine) -> list[Interruption]:
    """Return the interruptions whose starts are kept, oldest first."""
    starts = attempt["starts"]
    found = []
    for index, (_, _, training, lost, _) in enumerate(starts):
        if lost is None:
            continue
        back = next((each[2] for each in starts[index + 1 :] if each[2] is not None), None)
        trained = None if training is None else max(0.0, lost - training)
        found.append(Interruption(lost, trained, back))
    return found


def step_at(attempt: AttemptLine, time: float) -> float | None:
    """Return the step of the newest checkpoint before a time; None where none is known."""
    return next((step for at, step in reversed(attempt["ticks"]) if at <= time and step is not None), None)


def has_tick_before(attempt: AttemptLine, time: float) -> bool:
    """Return whether a checkpoint came before a time."""
    return any(at <= time for at, _ in attempt["ticks"])
