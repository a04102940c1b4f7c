"""EC2's spot prices of the local market: they move by themselves, and are dearer while a pool has no capacity.

A price is a function of the seed, type, zone and time alone, so that two services show the same history; only what the
market did since it began comes on top. That spot prices move every few hours, by some percent, differ between zones
and stay below the on-demand price is seen on AWS [T]; how they move here is assumed [A].
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

from airflow_spot.local.market.prices import spot_discount

#: Seconds between two moves of a price.
STEP = 12 * 3600.0
#: How far back EC2 tells prices, in seconds.
HISTORY = 90 * 86400.0
#: How many times dearer a pool without capacity is.
SHORTAGE = Decimal("1.5")
SEED = 0
_SLOW = 14  # steps from one turn of the slow movement to the next: a week
_DIGITS = Decimal("0.0001")


@dataclass(frozen=True)
class PricePoint:
    """A price and since when it is so (seconds since the epoch)."""

    time: float
    price: Decimal


def _chance(*of: object) -> float:
    """Return a number from -1 to 1 that is always the same for the same values."""
    digest = hashlib.blake2b("/".join(map(str, of)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**63 - 1


def _share(instance_type: str, zone: str, step: int, seed: int) -> Decimal:
    """Return a price as a part of the on-demand one, before any shortage."""
    turn, part = divmod(step, _SLOW)
    before, after = (_chance(seed, instance_type, zone, "slow", turn + more) for more in (0, 1))
    slow = before + (after - before) * part / _SLOW
    level = 1 + 0.05 * _chance(seed, instance_type, zone) + 0.12 * slow
    level += 0.02 * _chance(seed, instance_type, zone, "step", step)
    return Decimal(repr((1 - spot_discount(instance_type)) * level))


def price_at(
    on_demand: Decimal, instance_type: str, zone: str, time: float, *, short: bool, seed: int = SEED
) -> Decimal:
    """Return the spot price of a zone at a time, at most the on-demand price.

    :param on_demand: EC2's price of an hour in that region.
    :param instance_type: e.g. ``ml.g5.xlarge``.
    :param zone: e.g. ``us-east-1a``.
    :param time: seconds since the epoch.
    :param short: whether the pool has no capacity then.
    """
    return _price(on_demand, instance_type, zone, _step(instance_type, zone, time, seed), short, seed)


@lru_cache(maxsize=65536)
def _price(on_demand: Decimal, instance_type: str, zone: str, step: int, short: bool, seed: int) -> Decimal:
    share = _share(instance_type, zone, step, seed) * (SHORTAGE if short else 1)
    return min(on_demand, (on_demand * share).quantize(_DIGITS))


@lru_cache(maxsize=4096)
def _offset(instance_type: str, zone: str, seed: int) -> float:
    """Return at which second of a step a zone's prices move: not all at once."""
    return STEP * (1 + _chance(seed, instance_type, zone, "offset")) / 2


def _step(instance_type: str, zone: str, time: float, seed: int) -> int:
    return math.floor((time - _offset(instance_type, zone, seed)) / STEP)


def history(
    on_demand: Decimal,
    instance_type: str,
    zone: str,
    *,
    start: float,
    end: float,
    short: Callable[[float], bool],
    turns: Iterable[float] = (),
    seed: int = SEED,
) -> list[PricePoint]:
    """Return the changes of a price from ``start`` to ``end``, newest first, and the one before ``start``.

    The last is what was in force at ``start``, as EC2 gives it [D].

    :param start: seconds since the epoch.
    :param end: seconds since the epoch; the latest change is not later.
    :param short: whether the pool has no capacity at a time.
    :param turns: when that changed.
    """
    offset = _offset(instance_type, zone, seed)
    first, last = (_step(instance_type, zone, time, seed) for time in (start, end))
    times = {step * STEP + offset for step in range(first - 1, last + 1)} | {turn for turn in turns if turn <= end}
    points: list[PricePoint] = []
    for time in sorted(times):
        price = price_at(on_demand, instance_type, zone, time, short=short(time), seed=seed)
        if not points or points[-1].price != price:
            points.append(PricePoint(time, price))
    before = [point for point in points if point.time <= start][-1:]
    return [*before, *(point for point in points if point.time > start)][::-1]
