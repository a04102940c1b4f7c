"""Which files make one checkpoint, as a training that was not interrupted has written them. Pure."""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from airflow_spot.rehearsal.log_lines import marks
from airflow_spot.rehearsal.observations import Reading, Stored, Trial, Written

#: A number in a name, decimal or hexadecimal: either sorts as a hexadecimal one.
_NUMBER = re.compile(r"[0-9a-f]*[0-9][0-9a-f]*")


@dataclass(frozen=True)
class Parts:
    """
    The kinds of files that each checkpoint of a script has.

    Files are of one kind if their names differ in what counts up from one checkpoint to the next: the step counts up,
    the number of a shard does not.

    :param counting: by the names without numbers: which of the numbers count up.
    :param needed: the kinds of which a checkpoint has one each; empty where that is not known.
    """

    counting: Mapping[str, tuple[bool, ...]] = field(default_factory=dict)
    needed: frozenset[str] = frozenset()

    def kind_of(self, key: str) -> str:
        """Return the kind of a file: its name, with ``#`` for each number that counts up."""
        counting = iter(self.counting.get(_shape(key), ()))
        return _NUMBER.sub(lambda number: "#" if next(counting, True) else number.group(), key)

    def holding(self, restored: Iterable[Stored], destroyed: Iterable[str] = ()) -> Stored | None:
        """
        Return the file that tells how far the newest checkpoint reaches of which every part was restored.

        Of a kill in the middle of a checkpoint of several files some are there, and are no checkpoint: of each kind the
        newest counts, and of these the oldest.

        :param restored: the whole files.
        :param destroyed: names of files that had been whole, and that a later write has torn: the script's own doing.
        """
        newest: dict[str, Stored] = {}
        for file in restored:
            kind = self.kind_of(file.key)
            if kind not in newest or (file.written or 0) > (newest[kind].written or 0):
                newest[kind] = file
        if not self.needed:
            return max(newest.values(), key=lambda file: file.written or 0, default=None)
        wanted = self.needed - ({self.kind_of(key) for key in destroyed} - newest.keys())
        if not wanted <= newest.keys():
            return None
        return min((newest[kind] for kind in wanted), key=lambda file: file.written or 0, default=None)


def parts_of(baseline: Trial, reading: Reading) -> Parts:
    """
    Return what a checkpoint consists of: what is written again and again, and is there at the end.

    What is written once, as the settings are, is no part of each checkpoint; where nothing is written twice, all of it
    is taken for one.
    """
    whole = sorted((write for write in baseline.writes if write.ended is not None), key=lambda write: write.ended or 0)
    by_shape: defaultdict[str, list[Written]] = defaultdict(list)
    for write in whole:
        by_shape[_shape(write.key)].append(write)
    counting = {shape: _counting(writes) for shape, writes in by_shape.items()}
    again = _written_again(Parts(counting), whole, baseline, reading)
    for shape, writes in by_shape.items():
        if not any(Parts(counting).kind_of(write.key) in again for write in writes):
            # Numbers that go up and down, and no name comes twice: a metric, or a hash, tells one from the next.
            counting[shape] = (True,) * len(counting[shape])
    parts = Parts(counting)
    again = _written_again(parts, whole, baseline, reading)
    kinds = again or {parts.kind_of(write.key) for write in whole}
    left = {parts.kind_of(file.key) for file in baseline.left}
    return Parts(counting, frozenset(kinds & left or kinds))


def places(trial: Trial, moments: Sequence[float], reading: Reading) -> int:
    """Return in how many different places of a training something was written."""
    if reading.tells:
        known = [mark for start in trial.starts for mark in marks(start.lines, reading.counter, reading.step)]
        return len({sum(1 for mark in known if mark.time <= moment) for moment in moments})
    gaps = [b - a for a, b in itertools.pairwise(sorted(moments))]
    least = max(max(gaps, default=0.0) / 4, trial.seconds / 100)
    return sum(1 for gap in gaps if gap > least) + bool(moments)


def _written_again(parts: Parts, whole: Sequence[Written], baseline: Trial, reading: Reading) -> set[str]:
    moments: defaultdict[str, list[float]] = defaultdict(list)
    for write in whole:
        moments[parts.kind_of(write.key)].append(write.ended or 0)
    return {kind for kind, ended in moments.items() if places(baseline, ended, reading) > 1}


def _shape(key: str) -> str:
    return _NUMBER.sub("#", key)


def _counting(writes: Sequence[Written]) -> tuple[bool, ...]:
    """Return which numbers of a name never go down from one write to the next."""
    rows = [[int(number, 16) for number in _NUMBER.findall(write.key)] for write in writes]
    return tuple(all(a <= b for a, b in itertools.pairwise(column)) for column in zip(*rows, strict=True))
