"""Hyperparameter ranges, and the combinations that a search strategy takes from them. Pure: randomness comes in.

"Define Hyperparameter Ranges" and "How Hyperparameter Tuning Works" in the developer guide have the rules:
a logarithmic scale is for values above 0, a reverse logarithmic one for continuous values in 0 <= x < 1, and grid
search for categorical ranges alone [D]. AWS does not document what the scale Auto chooses; here it is logarithmic for
positive ranges whose ends are more than two orders of magnitude apart, and else linear [A].
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol

MAX_RANGES = 30
_WIDE = 100.0
_TRIES = 100


class Range(Protocol):
    """One hyperparameter and its values, which are texts, as all hyperparameters are."""

    @property
    def name(self) -> str: ...

    @property
    def count(self) -> float:
        """How many values there are; infinity for a continuous range."""

    def draw(self, random: Random) -> str:
        """Return a value at random, evenly on the range's scale."""

    def values(self) -> Iterator[str]:
        """Return all values, in order. Not for a continuous range."""


@dataclass(frozen=True)
class Integers:
    """Whole numbers from ``low`` to ``high``, both included."""

    name: str
    low: int
    high: int
    logarithmic: bool

    @property
    def count(self) -> float:
        return float(self.high - self.low + 1)

    def draw(self, random: Random) -> str:
        if not self.logarithmic:
            return str(random.randint(self.low, self.high))
        # Half a step beyond both ends, so that they are as likely as their neighbours.
        exact = math.exp(random.uniform(math.log(self.low - 0.5), math.log(self.high + 0.5)))
        return str(min(max(round(exact), self.low), self.high))

    def values(self) -> Iterator[str]:
        return map(str, range(self.low, self.high + 1))


@dataclass(frozen=True)
class Continuous:
    """Numbers from ``low`` to ``high``.

    :param scale: ``Linear``, ``Logarithmic`` or ``ReverseLogarithmic``.
    """

    name: str
    low: float
    high: float
    scale: str

    @property
    def count(self) -> float:
        return math.inf if self.low < self.high else 1.0

    def draw(self, random: Random) -> str:
        if self.scale == "Logarithmic":
            value = math.exp(random.uniform(math.log(self.low), math.log(self.high)))
        elif self.scale == "ReverseLogarithmic":
            value = 1 - math.exp(random.uniform(math.log(1 - self.high), math.log(1 - self.low)))
        else:
            value = random.uniform(self.low, self.high)
        return repr(min(max(value, self.low), self.high))

    def values(self) -> Iterator[str]:
        return iter([repr(self.low)])


@dataclass(frozen=True)
class Categorical:
    """Some texts; one that is named twice counts once."""

    name: str
    choices: tuple[str, ...]

    @property
    def count(self) -> float:
        return float(len(self.choices))

    def draw(self, random: Random) -> str:
        return random.choice(self.choices)

    def values(self) -> Iterator[str]:
        return iter(self.choices)


def parse_ranges(given: Mapping[str, Any]) -> list[Range]:
    """Read ParameterRanges that the model has let pass.

    :raises ValueError: naming the range that is wrong.
    """
    if given.get("AutoParameters"):
        raise ValueError("AutoParameters (Autotune) are not implemented by Local SageMaker; give the ranges themselves")
    ranges: list[Range] = [_integers(item) for item in given.get("IntegerParameterRanges", ())]
    ranges += [_continuous(item) for item in given.get("ContinuousParameterRanges", ())]
    ranges += [
        Categorical(item["Name"], tuple(dict.fromkeys(item["Values"])))
        for item in given.get("CategoricalParameterRanges", ())
    ]
    names = [item.name for item in ranges]
    doubles = sorted({name for name in names if names.count(name) > 1})
    if doubles:
        raise ValueError(f"more than one range is for {', '.join(doubles)}")
    if not 0 < len(ranges) <= MAX_RANGES:
        raise ValueError(f"{len(ranges)} hyperparameters have ranges; between 1 and {MAX_RANGES} can be tuned")
    return ranges


def _integers(item: Mapping[str, Any]) -> Integers:
    name, scale = item["Name"], item.get("ScalingType", "Auto")
    try:
        low, high = int(item["MinValue"]), int(item["MaxValue"])
    except ValueError:
        raise ValueError(f"MinValue and MaxValue of {name!r} must be integers") from None
    if scale == "ReverseLogarithmic":
        raise ValueError(f"ScalingType ReverseLogarithmic of {name!r} is for continuous ranges only")
    return Integers(name, low, high, _scale(name, low, high, scale) == "Logarithmic")


def _continuous(item: Mapping[str, Any]) -> Continuous:
    name = item["Name"]
    try:
        low, high = float(item["MinValue"]), float(item["MaxValue"])
    except ValueError:
        raise ValueError(f"MinValue and MaxValue of {name!r} must be numbers") from None
    if not (math.isfinite(low) and math.isfinite(high) and math.isfinite(high - low)):
        raise ValueError(f"MinValue and MaxValue of {name!r} must be finite")
    return Continuous(name, low, high, _scale(name, low, high, item.get("ScalingType", "Auto")))


def _scale(name: str, low: float, high: float, scale: str) -> str:
    if low > high:
        raise ValueError(f"MinValue of {name!r} is above its MaxValue")
    if scale == "Auto":
        return "Logarithmic" if low > 0 and high / low > _WIDE else "Linear"
    if scale == "Logarithmic" and low <= 0:
        raise ValueError(f"ScalingType Logarithmic of {name!r} needs a range above 0")
    if scale == "ReverseLogarithmic" and not (low >= 0 and high < 1):
        raise ValueError(f"ScalingType ReverseLogarithmic of {name!r} needs a range within 0 <= x < 1")
    return scale


def combinations_of(ranges: Sequence[Range]) -> float:
    """Return how many combinations of values there are; infinity if a range is continuous."""
    return math.prod(item.count for item in ranges)


def grid(ranges: Sequence[Range]) -> Iterator[dict[str, str]]:
    """Return all combinations, in order; the last range changes fastest."""
    if not ranges:
        yield {}
        return
    # Not itertools.product, which would first make lists of all values, be they a billion integers.
    for first in ranges[0].values():
        for rest in grid(ranges[1:]):
            yield {ranges[0].name: first, **rest}


def draws(ranges: Sequence[Range], random: Random) -> Iterator[dict[str, str]]:
    """Return combinations at random, none twice, until there is no other. The same ``random`` gives the same ones."""
    seen: set[tuple[str, ...]] = set()
    total = combinations_of(ranges)
    unseen = (combination for combination in grid(ranges) if tuple(combination.values()) not in seen)
    while len(seen) < total:
        drawn = ({item.name: item.draw(random) for item in ranges} for _ in itertools.repeat(None, _TRIES))
        # A range that is nearly used up: what is left comes in order.
        chosen = next((one for one in drawn if tuple(one.values()) not in seen), None) or next(unseen, None)
        if chosen is None:
            return
        seen.add(tuple(chosen.values()))
        yield chosen
