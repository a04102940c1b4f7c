"""Kills a training script with SIGKILL at random moments, again and again, until it ends by itself."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

#: A script that is to be killed at a step waits for that so many steps later.
_HELD_LATER = 5


@dataclass(frozen=True)
class Lives:
    """
    What a script did over all its starts.

    :param begun: the step that each start resumed from.
    :param output: what the last one printed.
    """

    begun: list[int]
    output: str


def killed_often(
    command: Sequence[str],
    kills: int,
    seed: int,
    *,
    within: float,
    steps: range | None = None,
    folder: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Lives:
    """
    Kill it so many times; the script prints ``FROM <step>`` once it knows where it resumes from.

    :param within: seconds after that line within which the kill comes.
    :param steps: so many steps it trains before them, drawn of these. The script prints ``step=<n>`` after each, and
        waits ``HOLD_AFTER`` steps from where it has begun, if there is such a variable: each kill comes before its end.
    """
    drawn, begun = random.Random(seed), []
    for number in range(kills + 1):
        count = drawn.choice(steps) if steps and number < kills else 0
        hold = {"HOLD_AFTER": str(count + _HELD_LATER)} if count else {}
        process = subprocess.Popen(
            [*command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=folder,
            env={**(os.environ if environ is None else environ), **hold},
        )
        assert process.stdout is not None
        said, wanted = "", "FROM"
        for line in process.stdout:
            said += line
            if line.startswith("FROM"):
                begun.append(int(line.split()[1]))
                wanted = f"step={begun[-1] + count}\n" if count else wanted
            if line.startswith(wanted):
                break
        if number < kills:
            time.sleep(drawn.uniform(0, within))
            process.kill()
        said += process.stdout.read()
        code = process.wait()
        if code == 0:
            assert number == kills or steps is None, said
            return Lives(begun, said)
        assert code == -signal.SIGKILL, said
    raise AssertionError("it never ended")
