"""How each start of a script resumed from the one before it, by its log and its checkpoint folder. Pure."""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from airflow_spot.rehearsal.log_lines import Mark, marks
from airflow_spot.rehearsal.observations import Reading, Start, Stored, Trial, Written
from airflow_spot.rehearsal.parts import Parts, places

ANY_FILE = Parts()
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
    :param newest: that checkpoint; of several files, the one that was written first.
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


def resumes(trial: Trial, reading: Reading, parts: Parts = ANY_FILE) -> list[Resume]:
    """
    Return all starts of a trial but the first.

    :param parts: what a checkpoint consists of; any file is one unless it is known better.
    """
    before: list[_Begun] = []
    found: list[Resume] = []
    for number, start in enumerate(trial.starts, 1):
        own = marks(start.lines, reading.counter, reading.step)
        saved = None
        if number > 1:
            held, torn = _restored(trial.writes, start, parts)
            reached = max((mark.at for begun in before for mark in begun.marks), default=None)
            saved = _step_of(held, before)
            found.append(Resume(number, start, reached, own[0].at if own else None, saved, held, torn))
        before.append(_Begun(start.began, own, own[0].at - 1 if own and number > 1 else saved))
    return found


@dataclass(frozen=True)
class _Begun:
    """A start, as far as the next ones are to know. :ivar continued: the last step of those before that it had."""

    began: float
    marks: Sequence[Mark]
    continued: int | None


def _step_of(file: Stored | None, before: Sequence[_Begun]) -> int | None:
    """
    Return the last step that a file can hold; None if that is not known.

    It tells of the start that wrote it, which may not be as far as an earlier one was.
    """
    if file is None or file.written is None:
        return None
    writer = next((begun for begun in reversed(before) if begun.began <= file.written), None)
    if writer is None:
        return None
    earlier = [mark.at for mark in writer.marks if mark.time <= file.written]
    return earlier[-1] if earlier else writer.continued


def _restored(writes: Sequence[Written], start: Start, parts: Parts) -> tuple[Stored | None, tuple[Stored, ...]]:
    """Return the file that tells how far the restored checkpoint reaches, and those that are not whole."""
    whole, torn, destroyed = [], [], []
    for file in start.restored:
        sizes = [(write.size, write.ended) for write in writes if write.key == file.key and write.began < start.began]
        if sizes and not any(size == file.size and ended is not None for size, ended in sizes):
            torn.append(file)
            if any(ended is not None for _, ended in sizes):
                destroyed.append(file.key)
        else:
            whole.append(file)
    return parts.holding(whole, destroyed), tuple(torn)


def interval(baseline: Trial, reading: Reading, parts: Parts = ANY_FILE, *, usual: bool = False) -> int | None:
    """
    Return how many steps are between two checkpoints, at most or as usual; None where that cannot be told.

    :param parts: what a checkpoint consists of; the part that is written the least often tells.
    """
    known = [mark for start in baseline.starts for mark in marks(start.lines, reading.counter, reading.step)]
    steps: defaultdict[str, list[int]] = defaultdict(list)
    for write in baseline.writes:
        kind = parts.kind_of(write.key) if parts.needed else ""
        if write.ended is None or (parts.needed and kind not in parts.needed):
            continue
        earlier = [mark.at for mark in known if mark.time <= write.ended]
        if earlier and (not steps[kind] or earlier[-1] > steps[kind][-1]):
            steps[kind].append(earlier[-1])
    rarest = min(list(steps.values()) or [[]], key=len)
    gaps = sorted(b - a for a, b in itertools.pairwise(rarest))
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
