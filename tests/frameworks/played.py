"""One example in all that is tried of it, and the table of them all."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.frameworks import environments
from tests.frameworks.examples import Example
from tests.frameworks.kills import Killed, kill_often
from tests.frameworks.lives import has_namespaces
from tests.frameworks.rehearsed import Rehearsed, rehearse

_HEAD = ("example", "with", "how", "starts", "resumed at", "redone", "result")
#: More of them are only counted.
_SHOWN = 12


@dataclass(frozen=True)
class Played:
    """
    What came of an example.

    :param skipped: why it was not tried; empty where it was.
    """

    example: Example
    versions: str = ""
    rehearsed: Rehearsed | None = None
    killed: Killed | None = None
    seconds: float = 0.0
    skipped: str = ""

    @property
    def passed(self) -> bool:
        return (self.rehearsed is None or self.rehearsed.sound) and (self.killed is None or self.killed.equal)


def play(
    example: Example, say: Callable[[str], None], *, kills: int | None = None, seed: int = 0, bounded: bool = False
) -> Played:
    """
    Rehearse an example, then kill it.

    :param kills: how often; None for as often as the example says, 0 for not at all.
    :param bounded: a rehearsal of one interruption.
    """
    if example.hard_coded and not has_namespaces():
        return Played(example, skipped="it hard-codes /opt/ml, and this machine allows no namespaces")
    try:
        python = environments.make(example.framework)
    except environments.UnavailableError as error:
        say(f"{example.name}: skipped: {error}")
        return Played(example, skipped=str(error))
    versions = environments.versions(example.framework)
    say(f"{example.name}: {versions}")
    began = time.monotonic()
    rehearsed = rehearse(example, python, seed, say, bounded=bounded)
    say(f"{example.name}: {rehearsed}")
    wanted = example.kills if kills is None else kills
    # Where several hosts train, they leave another model than the one that a rehearsal has.
    whole = rehearsed.whole if example.hosts == 1 else None
    killed = kill_often(example, python, wanted, seed, say, whole) if wanted else None
    return Played(example, versions, rehearsed, killed, time.monotonic() - began)


def table(played: Sequence[Played]) -> str:
    """Return the results as a table in Markdown."""
    rows = [_HEAD, tuple("---" for _ in _HEAD)]
    for each in played:
        name, known = each.example.name, each.versions
        if each.skipped:
            rows.append((name, "", "skipped", "", "", "", each.skipped))
        if (rehearsed := each.rehearsed) is not None:
            result = f"{', '.join(rehearsed.kinds) or 'failed'}; {_equal(rehearsed.equal)}"
            figures = (str(rehearsed.starts), _steps(rehearsed.resumes), str(rehearsed.redone))
            rows.append((name, known, "rehearsed", *figures, result))
        if (killed := each.killed) is not None:
            how = f"{killed.kills} kills, {killed.torn} torn, {killed.trainings} trainings"
            result = _equal(killed.equal) if killed.equal else killed.faults[0].splitlines()[0]
            rows.append((name, known, how, str(killed.starts), _steps(killed.resumes), str(killed.redone), result))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _equal(equal: bool) -> str:
    return "equal" if equal else "not equal"


def _steps(steps: Sequence[int]) -> str:
    more = f", and {len(steps) - _SHOWN} more" if len(steps) > _SHOWN else ""
    return ", ".join(map(str, steps[:_SHOWN])) + more
