"""How each start of a script resumed from the one before it, by its log and its checkpoint folder. Pure."""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from airflow_spot.rehearsal.log_lines import Mark, marks
from airflow_spot.rehearsal.observations import Reading, Start, Stored, Trial, Written

_DIGITS = re.compile(r"\d+")


@dataclass(frozen=True)
class Resume:
    """
    A start after the first.

    :param number: which start it is, from 2 on.
    :param reached: the last step of the starts before; None if the log tells of none.
    :param first: the first step of this start; None likewise.
    :param saved: the last step before the newest whole checkpoint of those that were restored was written; None if
        there was none, or the log tells of no step before.
    :param newest: that checkpoint.
    :param torn: restored files that were never written as a whole.
    """

    number: int
    start: Start
    reached: int | None
    first: int | None
    saved: int | None
    newest: Stored | None
    torn: tuple[Stored, ...]

    @property
    def repeated(self) -> int:
        """How many steps are trained a second time, as far as the log tells."""
        if self.reached is None or self.first is None:
            return 0
        return max(0, self.reached - self.first + 1)

    @property
    def neglected(self) -> int:
        """How many of them a restored checkpoint held."""
        if self.saved is None or self.first is None:
            return 0
        return max(0, self.saved - self.first + 1)


def resumes(trial: Trial, reading: Reading) -> list[Resume]:
    """Return all starts of a trial but the first."""
    before: list[Mark] = []
    found = []
    for number, start in enumerate(trial.starts, 1):
        own = marks(start.lines, reading.counter, reading.step)
        if number > 1:
            newest, torn = _restored(trial.writes, start)
            reached = max((mark.at for mark in before), default=None)
            saved = None
            if newest is not None and newest.written is not None:
                earlier = [mark for mark in before if mark.time <= newest.written]
                saved = earlier[-1].at if earlier else None
            found.append(Resume(number, start, reached, own[0].at if own else None, saved, newest, torn))
        before += own
    return found


def _restored(writes: Sequence[Written], start: Start) -> tuple[Stored | None, tuple[Stored, ...]]:
    """Return the newest whole file of those that were restored, and those that are not whole."""
    newest: Stored | None = None
    torn = []
    for file in start.restored:
        sizes = [(write.size, write.ended) for write in writes if write.key == file.key and write.began < start.began]
        if sizes and not any(size == file.size and ended is not None for size, ended in sizes):
            torn.append(file)
        elif newest is None or (file.written or 0) > (newest.written or 0):
            newest = file
    return newest, tuple(torn)


def interval(baseline: Trial, reading: Reading, *, usual: bool = False) -> int | None:
    """Return how many steps are between two checkpoints, at most or as usual; None where that cannot be told."""
    known = [mark for start in baseline.starts for mark in marks(start.lines, reading.counter, reading.step)]
    steps: list[int] = []
    for write in baseline.writes:
        if write.ended is None:
            continue
        earlier = [mark.at for mark in known if mark.time <= write.ended]
        if earlier and (not steps or earlier[-1] > steps[-1]):
            steps.append(earlier[-1])
    gaps = sorted(b - a for a, b in itertools.pairwise(steps))
    if not gaps:
        return None
    return gaps[len(gaps) // 2] if usual else gaps[-1]


def spacing(baseline: Trial, reading: Reading) -> int:
    """Return how many steps are between two lines that tell of one, usually; at least 1."""
    known = [mark.at for start in baseline.starts for mark in marks(start.lines, reading.counter, reading.step)]
    gaps = sorted(b - a for a, b in itertools.pairwise(known) if b > a)
    return gaps[len(gaps) // 2] if gaps else 1


def kept(baseline: Trial, reading: Reading) -> tuple[int, int]:
    """
    Return how many checkpoints of one kind are left at the end of a training, and how many there were.

    Files are of one kind if their names differ in numbers only. Several that were written between two steps are one
    checkpoint, and what is written over and over is no new one each time.
    """
    times: defaultdict[str, list[float]] = defaultdict(list)
    for write in baseline.writes:
        if write.ended is not None:
            times[write.key].append(write.ended)
    once: defaultdict[str, dict[str, float]] = defaultdict(dict)
    for key, moments in times.items():
        if len(moments) == 1:
            once[_DIGITS.sub("#", key)][key] = moments[0]
    left = {file.key for file in baseline.left}
    counts = []
    for files in once.values():
        there = [moment for key, moment in files.items() if key in left]
        counts.append((_saves(baseline, there, reading), _saves(baseline, list(files.values()), reading)))
    return max(counts, default=(0, 0))


def _saves(baseline: Trial, moments: Sequence[float], reading: Reading) -> int:
    """Return in how many different places of a training something was written."""
    if reading.tells:
        known = [mark for start in baseline.starts for mark in marks(start.lines, reading.counter, reading.step)]
        return len({sum(1 for mark in known if mark.time <= moment) for moment in moments})
    gaps = [b - a for a, b in itertools.pairwise(sorted(moments))]
    least = max(max(gaps, default=0.0) / 4, baseline.seconds / 100)
    return sum(1 for gap in gaps if gap > least) + bool(moments)


def first_step(baseline: Trial, reading: Reading) -> int | None:
    """Return the step that a training begins with."""
    known = [mark.at for start in baseline.starts for mark in marks(start.lines, reading.counter, reading.step)]
    return min(known, default=None)


def steps_trained(trial: Trial, reading: Reading) -> int:
    """Return how many steps the log tells of, those that were trained again counted each time."""
    return sum(len(marks(start.lines, reading.counter, reading.step)) for start in trial.starts)


def last_step(trial: Trial, reading: Reading) -> int | None:
    """Return the last step of a training."""
    known = [mark.at for start in trial.starts for mark in marks(start.lines, reading.counter, reading.step)]
    return max(known, default=None)
