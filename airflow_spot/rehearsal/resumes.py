"""How each start of a script resumed from the one before it, by its log and its checkpoint folder. Pure."""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from airflow_spot.rehearsal.log_lines import Mark, marks
from airflow_spot.rehearsal.observations import Reading, Start, Stored, Trial, Written
from airflow_spot.rehearsal.saves import Restored, Saves, held, places

ONE_FILE = Saves()
_DIGITS = re.compile(r"\d+")


@dataclass(frozen=True)
class Resume:
    """
    A start after the first.

    :param number: which start it is, from 2 on.
    :param reached: the last step of the starts before; None if the log tells of none.
    :param first: the first step of this start; None likewise.
    :param saved: the last step that the newest whole checkpoint of those that were restored can hold; None if there
        was none, or the log tells of no step before it.
    :param newest: a file of that checkpoint.
    :param torn: restored files that are not whole.
    :param in_part: what was restored may be a part of one checkpoint only.
    """

    number: int
    start: Start
    reached: int | None
    first: int | None
    saved: int | None
    newest: Stored | None
    torn: tuple[Stored, ...]
    in_part: bool = False

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


def resumes(trial: Trial, reading: Reading, saves: Saves = ONE_FILE) -> list[Resume]:
    """
    Return all starts of a trial but the first.

    :param saves: what a checkpoint consists of; for who asks for ``saved``.
    """
    before: list[_Begun] = []
    found: list[Resume] = []
    for number, start in enumerate(trial.starts, 1):
        own = marks(start.lines, reading.counter, reading.step)
        saved = None
        if number > 1:
            restored, torn = _restored(trial.writes, start, before)
            of_all = held(restored, saves)
            saved = None if of_all is None else of_all.step
            reached = max((mark.at for begun in before for mark in begun.marks), default=None)
            found.append(
                Resume(
                    number,
                    start,
                    reached,
                    own[0].at if own else None,
                    saved,
                    None if of_all is None else of_all.file,
                    torn,
                    of_all is None and any(each.whole for each in restored),
                )
            )
        before.append(_Begun(start.began, own, own[0].at - 1 if own and number > 1 else saved))
    return found


@dataclass(frozen=True)
class _Begun:
    """A start, as far as the next ones are to know. :ivar continued: the last step of those before that it had."""

    began: float
    marks: Sequence[Mark]
    continued: int | None


def _restored(
    writes: Sequence[Written], start: Start, before: Sequence[_Begun]
) -> tuple[list[Restored], tuple[Stored, ...]]:
    """Return what was restored that had been whole once, and the files that are not whole."""
    found, torn = [], []
    for file in start.restored:
        sizes = [(write.size, write.ended) for write in writes if write.key == file.key and write.began < start.began]
        whole = not sizes or any(size == file.size and ended is not None for size, ended in sizes)
        if not whole:
            torn.append(file)
        if whole or any(ended is not None for _, ended in sizes):
            number, step = _written_at(file, before)
            found.append(Restored(file, number, step, whole))
    return found, tuple(torn)


def _written_at(file: Stored, before: Sequence[_Begun]) -> tuple[int, int | None]:
    """
    Return which start wrote a file, and after which step; None if that is not known.

    The step is one of that start, which may not be as far as an earlier one was.
    """
    moment = file.written
    number = next((i for i in reversed(range(len(before))) if moment is not None and before[i].began <= moment), None)
    if number is None or moment is None:
        return 0, None
    earlier = [mark.at for mark in before[number].marks if mark.time <= moment]
    return number + 1, earlier[-1] if earlier else before[number].continued


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
        counts.append((places(baseline, there, reading), places(baseline, list(files.values()), reading)))
    return max(counts, default=(0, 0))


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
