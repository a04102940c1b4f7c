"""
How many files make one checkpoint, and which of those that were restored was whole. Pure.

A kill in the middle of a checkpoint of several files leaves a part of it, which no script can resume from. Names do not
tell what belongs together; what is written between two steps does.
"""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from airflow_spot.rehearsal.log_lines import marks
from airflow_spot.rehearsal.observations import Reading, Stored, Trial

#: A number in a name, decimal or hexadecimal.
_NUMBER = re.compile(r"[0-9a-fA-F]*[0-9][0-9a-fA-F]*")


@dataclass(frozen=True)
class Saves:
    """
    What an uninterrupted training tells of its checkpoints.

    :param files: how many files one has, at most. Where other files are written between the same two steps, as a log
        is, they count too: a checkpoint is then rather taken for a part of one.
    :param every: how many steps are between two checkpoints, at most; None where that cannot be told.
    :param usually: likewise, as usual.
    """

    files: int = 1
    every: int | None = None
    usually: int | None = None


@dataclass(frozen=True)
class Restored:
    """
    A file that was restored.

    :param file: as S3 had it.
    :param start: number of the start that had written it.
    :param step: the last step of that start before; None if the log tells of none.
    :param whole: it is as a write of it left it. False: a later write has torn it.
    """

    file: Stored
    start: int
    step: int | None
    whole: bool = True

    @property
    def place(self) -> tuple[int, float]:
        """Where it was written, in the order of time."""
        return self.start, -1.0 if self.step is None else self.step


def saves_of(baseline: Trial, reading: Reading) -> Saves:
    """Return what an uninterrupted training tells of its checkpoints."""
    kinds = _kinds_by_place(baseline, reading)
    most = max(map(len, kinds.values()), default=0)
    known = [mark.at for start in baseline.starts for mark in marks(start.lines, reading.counter, reading.step)]
    # Of the places where most is written: the others may be a log's.
    steps = sorted(known[place - 1] for place, found in kinds.items() if 0 < place <= len(known) and len(found) == most)
    gaps = sorted(b - a for a, b in itertools.pairwise(steps))
    files = max(most, _files_that_stay(baseline, reading), 1)
    return Saves(files, gaps[-1] if gaps else None, gaps[len(gaps) // 2] if gaps else None)


def held(restored: Iterable[Restored], saves: Saves) -> Restored | None:
    """
    Return a file of the newest checkpoint that must have been restored as a whole; None where there is none.

    It has as many files as a checkpoint has at most, or it is not the last that was written: a script goes on training,
    and writes the next, when one is whole.
    """
    by_place: defaultdict[tuple[int, float], list[Restored]] = defaultdict(list)
    for each in restored:
        by_place[each.place].append(each)
    # A late line of the log may part the files of one checkpoint.
    apart = max((saves.usually or 1) / 2, 1)
    last: tuple[int, float] | None = None
    for place in sorted(by_place, reverse=True):
        whole = [each for each in by_place[place] if each.whole]
        if last is None:
            must_be_whole, last = len(by_place[place]) >= saves.files, place
        else:
            must_be_whole = place[0] < last[0] or place[1] <= last[1] - apart
        if whole and must_be_whole:
            return max(whole, key=lambda each: each.file.written or 0)
    return None


def places(trial: Trial, moments: Sequence[float], reading: Reading) -> int:
    """Return in how many different places of a training something was written."""
    return len(set(_places(trial, moments, reading)))


def _places(trial: Trial, moments: Sequence[float], reading: Reading) -> list[int]:
    """Return a number for each moment, the same for those between the same two steps: how many steps are before it."""
    if reading.tells:
        known = [mark for start in trial.starts for mark in marks(start.lines, reading.counter, reading.step)]
        return [sum(1 for mark in known if mark.time <= moment) for moment in moments]
    ordered = sorted(set(moments))
    gaps = [b - a for a, b in itertools.pairwise(ordered)]
    least = max(max(gaps, default=0.0) / 4, trial.seconds / 100)
    numbers = dict(zip(ordered, itertools.accumulate([0, *(int(gap > least) for gap in gaps)]), strict=False))
    return [numbers[moment] for moment in moments]


def _kinds_by_place(baseline: Trial, reading: Reading) -> dict[int, set[str]]:
    """Return what was written between which two steps, by names without numbers."""
    whole = [(_shape(write.key), write.ended) for write in baseline.writes if write.ended is not None]
    there = {_shape(key) for key in (*(file.key for file in baseline.left), *baseline.deleted)}
    # What is neither there at the end nor was deleted was renamed, and nobody saw it.
    seen = [(shape, ended) for shape, ended in whole if shape in there] or whole
    found: defaultdict[int, set[str]] = defaultdict(set)
    for (shape, _), place in zip(seen, _places(baseline, [ended for _, ended in seen], reading), strict=True):
        found[place].add(shape)
    return found


def _files_that_stay(baseline: Trial, reading: Reading) -> int:
    """Return how many files are left of the newest checkpoint: of shards the names differ in their numbers only."""
    left = {file.key for file in baseline.left}
    ended = {write.key: write.ended for write in baseline.writes if write.ended is not None and write.key in left}
    numbers = _places(baseline, list(ended.values()), reading)
    return max(map(numbers.count, numbers), default=0)


def _shape(key: str) -> str:
    return _NUMBER.sub("#", key)
