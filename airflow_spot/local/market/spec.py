"""When capacity comes and goes: specifications of markets, as values without a clock.

=====================================  =====================================================================
``always``, ``never``                  there is capacity at any time, or at none
``script:up=60,down=20``               for 60 seconds there is capacity, then for 20 there is none, and again.
                                       Any number of segments. ``fail=5`` is a segment without capacity in
                                       which a job that asks or waits fails with CapacityError. ``inf``: for good
``random:mean_up=60,mean_down=20,      lengths drawn from exponential distributions; the same for the same
seed=1``                               seed and instance type
``trace:FILE``                         ``{"metadata": {"gap_seconds": s}, "data": [...]}``: one value per gap, above
                                       zero means available; repeated at its end
``ml.g5.xlarge=never;*=always``        per instance type; the first that matches counts, ``always`` if none does
=====================================  =====================================================================

A market's time starts when the first job asks for the pool (instance type, and spot or on-demand), so that a demo
goes the same way on a slow machine.
"""

from __future__ import annotations

import json
import math
import random
import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from fnmatch import fnmatchcase
from itertools import cycle, groupby
from pathlib import Path
from typing import Any, Protocol


class State(Enum):
    """What a pool has to offer."""

    UP = "up"
    DOWN = "down"
    FAIL = "fail"


class Supply(Protocol):
    """One pool's future."""

    def segments(self, pool: str) -> Iterator[tuple[State, float]]:
        """Yield states and their lengths in seconds, from the pool's first request on. May end: the last then lasts."""


@dataclass(frozen=True)
class Constant:
    """The same for ever."""

    state: State

    def segments(self, pool: str) -> Iterator[tuple[State, float]]:
        yield self.state, math.inf


@dataclass(frozen=True)
class Script:
    """Given lengths, repeated."""

    parts: tuple[tuple[State, float], ...]

    def segments(self, pool: str) -> Iterator[tuple[State, float]]:
        yield from cycle(self.parts)


@dataclass(frozen=True)
class Random:
    """Exponential lengths; starts up."""

    mean_up: float
    mean_down: float
    seed: int

    def segments(self, pool: str) -> Iterator[tuple[State, float]]:
        generator = random.Random(f"{self.seed}/{pool}")  # noqa: S311 - a simulation, not a secret
        while True:
            yield State.UP, generator.expovariate(1 / self.mean_up)
            yield State.DOWN, generator.expovariate(1 / self.mean_down)


class Schedule:
    """A supply as a function of the time since the pool's first request."""

    def __init__(self, supply: Supply, pool: str) -> None:
        self._segments = supply.segments(pool)
        self._ends: list[float] = []
        self._states: list[State] = []

    def at(self, elapsed: float) -> tuple[State, float]:
        """Return the state then, and when (in the same time) it ends; infinity if never.

        :param elapsed: seconds since the first request, not negative.
        """
        while not self._ends or self._ends[-1] <= elapsed:
            state, length = next(self._segments)
            start = self._ends[-1] if self._ends else 0.0
            self._ends.append(start + length)
            self._states.append(state)
        index = bisect_right(self._ends, elapsed)
        return self._states[index], self._ends[index]


@dataclass(frozen=True)
class Market:
    """Supplies by instance type: ``(pattern, supply)``, the first match counts."""

    rules: tuple[tuple[str, Supply], ...]

    def supply(self, instance_type: str) -> Supply:
        """Return the supply of one type, which is ``always`` where no rule matches."""
        for pattern, supply in self.rules:
            if fnmatchcase(instance_type, pattern):
                return supply
        return Constant(State.UP)


_TYPED = re.compile(r"(\*|ml\.[^=;]+)=(.+)", re.DOTALL)


def parse_market(spec: str) -> Market:
    """Read a specification.

    :raises ValueError: naming the part that is wrong, and what it can be.
    """
    parts = [part.strip() for part in spec.split(";")]
    typed = [_TYPED.fullmatch(part) for part in parts]
    if len(parts) == 1 and typed[0] is None:
        return Market((("*", _supply(parts[0])),))
    rules = []
    for part, match in zip(parts, typed, strict=True):
        if match is None:
            raise ValueError(f"market {spec!r}: {part!r} is not TYPE=SPEC, e.g. 'ml.g5.xlarge=never' or '*=always'")
        rules.append((match[1], _supply(match[2])))
    return Market(tuple(rules))


def _supply(text: str) -> Supply:
    kind, colon, rest = text.partition(":")
    if text == "always":
        return Constant(State.UP)
    if text == "never":
        return Constant(State.DOWN)
    if kind == "script" and colon:
        return _script(text, rest)
    if kind == "random" and colon:
        return _random(text, rest)
    if kind == "trace" and colon:
        return read_trace(Path(rest))
    raise ValueError(
        f"market {text!r}: it can be 'always', 'never', 'script:up=60,down=20', "
        "'random:mean_up=60,mean_down=20,seed=1' or 'trace:FILE'"
    )


def _script(text: str, rest: str) -> Script:
    parts = []
    for pair in rest.split(","):
        name, _, value = pair.strip().partition("=")
        if name not in ("up", "down", "fail"):
            raise ValueError(f"market {text!r}: {pair!r} is not up=SECONDS, down=SECONDS or fail=SECONDS")
        parts.append((State(name), _positive(text, pair, value)))
    return Script(tuple(parts))


def _random(text: str, rest: str) -> Random:
    values: dict[str, str] = {}
    for pair in rest.split(","):
        name, _, value = pair.strip().partition("=")
        if name not in ("mean_up", "mean_down", "seed"):
            raise ValueError(f"market {text!r}: {pair!r} is not mean_up=SECONDS, mean_down=SECONDS or seed=NUMBER")
        values[name] = value
    missing = [name for name in ("mean_up", "mean_down") if name not in values]
    if missing:
        raise ValueError(f"market {text!r}: {' and '.join(missing)} missing")
    try:
        seed = int(values.get("seed", "0"))
    except ValueError:
        raise ValueError(f"market {text!r}: seed={values['seed']!r} is not a whole number") from None
    means = {name: _positive(text, f"{name}={values[name]}", values[name]) for name in ("mean_up", "mean_down")}
    if math.inf in means.values():
        raise ValueError(f"market {text!r}: a mean cannot be infinite; use 'always' or 'never'")
    return Random(means["mean_up"], means["mean_down"], seed)


def _positive(text: str, pair: str, value: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = math.nan
    if not seconds > 0:
        raise ValueError(f"market {text!r}: {pair!r} needs a number of seconds above 0")
    return seconds


def read_trace(path: Path) -> Script:
    """Return a trace file as a script.

    :raises ValueError: if it cannot be read, or is not such a file.
    """
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, Mapping):
            raise TypeError("not an object")
        gap = float(content["metadata"]["gap_seconds"])
        values = [float(value) > 0 for value in content["data"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f'market trace {str(path)!r} is not {{"metadata": {{"gap_seconds": s}}, "data": [...]}}: '
            f"{type(error).__name__}: {error}"
        ) from None
    if not (0 < gap < math.inf) or not values:
        raise ValueError(f"market trace {str(path)!r}: gap_seconds must be above 0 and data must not be empty")
    runs = [(up, len(list(group))) for up, group in groupby(values)]
    return Script(tuple((State.UP if up else State.DOWN, length * gap) for up, length in runs))
