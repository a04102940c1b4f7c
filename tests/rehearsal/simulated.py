"""Scripts by value: what they write after an epoch and resume from, when they are killed, how late their log is."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from airflow_spot.rehearsal.log_lines import Line
from airflow_spot.rehearsal.observations import Scenario, Start, Stored, Trial, Written

EPOCHS = 20
SIZE = 1000
TORN = 480
#: From the death of an instance to the next start.
AWAY = 10.0


@dataclass
class Disk:
    """A checkpoint folder: of each file, the epoch that it holds (None: it is not whole), and when it was written."""

    files: dict[str, tuple[int | None, float]] = field(default_factory=dict)

    def whole(self, name: str, epoch: int) -> bool:
        return name in self.files and self.files[name][0] == epoch


@dataclass(frozen=True)
class Script:
    """
    :param names: of the files of a checkpoint, by epoch, in the order in which they are written.
    :param every: epochs between two checkpoints.
    :param keep: so many of the newest stay.
    :param log: a file that is written after each epoch.
    """

    names: Callable[[int], Sequence[str]]
    every: int = 1
    keep: int = 2
    log: str | None = None

    def newest(self, disk: Disk) -> int:
        """The epoch of the newest checkpoint that is whole, as a script should load it."""
        return max(
            (epoch for epoch in range(1, EPOCHS + 1) if all(disk.whole(name, epoch) for name in self.names(epoch))),
            default=0,
        )


def run(
    script: Script,
    load: Callable[[Disk], int],
    kills: Sequence[float] = (),
    *,
    epoch_seconds: float = 1.0,
    late: Callable[[float], float] = lambda moment: moment,
) -> Trial:
    """
    Train, and be killed.

    :param load: returns the epoch that a start continues after.
    :param kills: seconds after each start but the last.
    :param late: when a line is stamped that was printed at a moment.
    """
    disk, starts, began, restored = Disk(), list[Start](), 0.0, tuple[Stored, ...]()
    writes, deleted = list[Written](), list[str]()
    for kill in (*kills, None):
        end = float("inf") if kill is None else began + kill
        lines, last = _train(script, load(disk) if starts else 0, began, end, epoch_seconds, disk, writes, deleted)
        ended = min(end, last)
        told = tuple(Line(min(late(line.time), ended), line.text) for line in lines)
        starts.append(Start(began, ended, 0 if kill is None else 137, told, restored))
        restored = tuple(
            Stored(name, TORN if epoch is None else SIZE, written) for name, (epoch, written) in disk.files.items()
        )
        began = ended + AWAY
    return Trial(
        Scenario.KILLED if kills else Scenario.UNINTERRUPTED,
        "Completed",
        "Completed",
        tuple(starts),
        cuts=len(kills),
        writes=tuple(writes),
        deleted=tuple(deleted),
        left=tuple(Stored(name, SIZE) for name in disk.files),
        model={"model.bin": ("digest", 10)},
    )


def _train(
    script: Script,
    done: int,
    began: float,
    end: float,
    seconds: float,
    disk: Disk,
    writes: list[Written],
    deleted: list[str],
) -> tuple[list[Line], float]:
    lines, at = list[Line](), began
    for epoch in range(done + 1, EPOCHS + 1):
        at = began + (epoch - done) * seconds
        if at >= end:
            break
        lines.append(Line(at, f"epoch {epoch} accuracy={epoch / EPOCHS:.4f}"))
        names = [script.log] if script.log else []
        names += script.names(epoch) if epoch % script.every == 0 else []
        step = 0.9 * seconds / max(len(names), 1)
        for i, name in enumerate(names):
            opened, closed = at + (i + 0.1) * step, at + (i + 0.9) * step
            if opened >= end:
                return lines, at
            whole = closed < end
            writes.append(Written(name, opened, closed if whole else None, SIZE if whole else TORN))
            disk.files[name] = (epoch if whole else None, min(closed, end))
            if not whole:
                return lines, at
        if epoch % script.every == 0:
            for name in script.names(epoch - script.keep * script.every) if epoch > script.keep * script.every else ():
                if name not in names and disk.files.pop(name, None) is not None:
                    deleted.append(name)
    return lines, at + seconds


def in_chunks(generator: random.Random, most: float) -> Callable[[float], float]:
    """Lines are read so many seconds after one another, all that there are: as by a thread that seldom gets a turn."""
    pause = generator.uniform(most / 10, most)
    return lambda moment: (moment // pause + 1) * pause
