"""When a script is interrupted: seeded, and counted in checkpoints, since a busy machine stretches seconds."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from airflow_spot.rehearsal.observations import INTERRUPTED, Scenario, Trial

#: The longest pause between a checkpoint and the interruption.
MAX_PAUSE_SECONDS = 5.0
#: How much later than its start an instance goes again.
AT_ONCE_SECONDS = 0.2
#: So many writes are left to be met in their middle, if there are that many.
TRIES = 4


@dataclass(frozen=True)
class Interruption:
    """
    How and when an instance goes.

    :param how: ``kill``, ``term``, ``tear`` (stopped in the middle of a write, then killed), ``stop`` (the job is
        stopped, and a new one continues).
    :param after_writes: so many writes into the checkpoint folder are let pass, counted from the first start on.
    :param pause: seconds then, or from the start of the script on.
    :param after_start: it comes after the start before this one was lost.
    :param uploads: so many files are waited for that have reached S3: what is not there is lost by the way of things.
    :param piece: of ``tear``: how many pieces of the file are let pass.
    """

    how: str
    after_writes: int = 0
    pause: float = 0.0
    after_start: bool = False
    uploads: int = 1
    piece: int = 0


def interruptions(scenario: Scenario, baseline: Trial, times: int, seed: int, files: int = 1) -> list[Interruption]:
    """
    Return when to interrupt a script in a scenario; nothing where none is to be.

    :param baseline: the script, uninterrupted.
    :param times: how often it is interrupted at random moments.
    :param seed: of the random moments.
    :param files: how many files a checkpoint has.
    """
    if scenario not in INTERRUPTED:
        return []
    # The same moments for a scenario, whatever other ones there are.
    generator = random.Random(f"{seed} {scenario.name}")  # noqa: S311 - no secret
    if scenario is Scenario.KILLED:
        return _moments("kill", baseline, times, 0.25, 0.9, generator, files)
    if scenario is Scenario.TERMINATED:
        return _moments("term", baseline, times, 0.25, 0.9, generator, files)
    (one,) = _moments("kill", baseline, 1, 0.4, 0.85, generator, files)
    if scenario is Scenario.TORN:
        # Not every write is met: several have to come.
        after = min(one.after_writes, max(1, len(baseline.writes) - TRIES))
        return [Interruption("tear", after_writes=after, piece=_piece(baseline))]
    if scenario is Scenario.AT_ONCE:
        return [one, Interruption("kill", pause=generator.uniform(0, AT_ONCE_SECONDS), after_start=True)]
    return [replace(one, how="stop")]


def _moments(
    how: str, baseline: Trial, times: int, least: float, most: float, generator: random.Random, files: int
) -> list[Interruption]:
    writes = len(baseline.writes)
    found = []
    for index in range(times):
        low = least + (most - least) * index / times
        share = generator.uniform(low, low + (most - least) * 0.8 / times)
        if writes:
            after = min(max(1, round(writes * share)), max(1, writes - 1))
            pause = generator.random() * min(MAX_PAUSE_SECONDS, _between([write.began for write in baseline.writes]))
            # A log that came late makes a checkpoint seem to have more files: time to interrupt has to be left.
            found.append(Interruption(how, after, pause, uploads=min(files, max(1, writes // 2))))
        else:
            found.append(Interruption(how, pause=baseline.seconds * share / times))
    return found


def _between(moments: Sequence[float]) -> float:
    """Return the usual time from one moment to the next."""
    gaps = sorted(b - a for a, b in itertools.pairwise(moments))
    return gaps[len(gaps) // 2] if gaps else 0.0


def _piece(baseline: Trial) -> int:
    """Return after how many pieces of a file to stop: half of what is usual, or none where it is written at once."""
    pieces = sorted(write.pieces for write in baseline.writes)
    return pieces[len(pieces) // 2] // 2 if pieces else 0
