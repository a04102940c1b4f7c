"""Whether spot can be had by now: by what EC2 says of types, or by the clock. Values in, a verdict out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from airflow_spot.core.money.figures import Figure
from airflow_spot.core.money.market_values import SpotPrices
from airflow_spot.core.money.prices import Money
from airflow_spot.core.parameter_errors import InvalidParameterError

#: A window of which the clock leaves out every minute on one day opens on the next.
_MINUTES_LOOKED_AT = 3 * 24 * 60
_WINDOW = re.compile(r"(\d{1,2}):(\d{2})\s*-\s*(\d{1,2}):(\d{2})")


@dataclass(frozen=True)
class Verdict:
    """
    What one look came to.

    :param instance_type: the best that can be had; empty where none can.
    :param why: what decided, or what is waited for.
    :param figures: by type, what was looked at, as JSON.
    """

    instance_type: str
    why: str
    figures: Mapping[str, Any]

    @property
    def done(self) -> bool:
        """Whether one can be had."""
        return bool(self.instance_type)


@dataclass(frozen=True)
class Window:
    """
    A time of day, such as ``22:00-06:00``; it may go over midnight.

    :param zone: the time zone it is of.
    """

    begins: time
    ends: time
    zone: tzinfo = timezone.utc

    @classmethod
    def read(cls, name: str, value: Any, zone_name: str, zone: Any) -> Window:
        """
        Read a window, and the name of its time zone.

        :param name: of the parameter, and ``zone_name``: of the other one.
        :raises InvalidParameterError: it is none, or there is no such zone.
        """
        match = _WINDOW.fullmatch(str(value).strip())
        try:
            if match is None:
                raise ValueError
            begins, ends = time(int(match[1]), int(match[2])), time(int(match[3]), int(match[4]))
        except ValueError:
            raise InvalidParameterError(name, value, "must be a time of day such as 22:00-06:00") from None
        if begins == ends:
            raise InvalidParameterError(name, value, "begins when it ends: leave it out for the whole day")
        try:
            return cls(begins, ends, ZoneInfo(str(zone)))
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise InvalidParameterError(zone_name, zone, "must be a time zone such as Europe/Berlin") from None

    def is_open(self, now: datetime) -> bool:
        """Return whether it is open at a moment."""
        clock = now.astimezone(self.zone).time()
        if self.begins < self.ends:
            return self.begins <= clock < self.ends
        return clock >= self.begins or clock < self.ends

    def opens(self, now: datetime) -> datetime:
        """Return when it opens next; now where it is open."""
        return now if self.is_open(now) else self._next(now, is_open=True)

    def closes(self, now: datetime) -> datetime:
        """Return when it closes next; now where it is closed."""
        return self._next(now, is_open=False) if self.is_open(now) else now

    def _next(self, now: datetime, *, is_open: bool) -> datetime:
        """
        Return the first whole minute after now at which it is open, or closed.

        By looking at each, since the clock of a zone is turned: then a time of day comes twice, or not at all.
        """
        at = now.astimezone(timezone.utc).replace(second=0, microsecond=0)
        for _ in range(_MINUTES_LOOKED_AT):
            at += timedelta(minutes=1)
            if self.is_open(at) is is_open:
                break
        return at

    def __str__(self) -> str:
        return f"{self.begins:%H:%M}-{self.ends:%H:%M} {self.zone}"


def by_score(types: Sequence[str], scores: Mapping[str, Figure[int]], least: int) -> Verdict:
    """
    Choose the type with the highest placement score; of equal ones the first.

    :param types: in the order of preference.
    :param least: the score that it must have.
    """
    figures = {kind: _shown(scores[kind], scores[kind].value) for kind in types}
    known = [(kind, score) for kind in types if (score := scores[kind].value) is not None]
    if not known:
        return Verdict("", _none_known(types, scores), figures)
    best, score = max(known, key=lambda each: each[1])
    told = ", ".join(f"{kind} {value}" for kind, value in known)
    if score < least:
        return Verdict("", f"placement scores {told}: none is {least} or more", figures)
    return Verdict(best, f"placement score {score} of 10 ({told})", figures)


def by_price(
    types: Sequence[str],
    spot: Mapping[str, Figure[SpotPrices]],
    on_demand: Mapping[str, Figure[Money]],
    most: float,
    held: float,
    now: datetime,
) -> Verdict:
    """
    Choose the type whose spot price is the smallest part of EC2's on-demand price, and has been small for a while.

    :param types: in the order of preference.
    :param on_demand: EC2's own.
    :param most: the part that it may be, above 0, at most 1.
    :param held: for how many seconds it must have been so, in one zone without a break.
    """
    figures: dict[str, Any] = {}
    shares: list[tuple[str, float]] = []
    failing: dict[str, Figure[Any]] = {}
    for kind in types:
        price, full = spot[kind], on_demand[kind]
        if price.value is None or full.value is None or not full.value.amount:
            failing[kind] = price if price.value is None else full
            figures[kind] = _shown(failing[kind], None)
            continue
        # What was read an hour ago tells nothing of the hour since.
        share = lowest_share(price.value, full.value.amount, held, price.read or now)
        figures[kind] = _shown(price, None if share is None else round(share, 4))
        if share is not None:
            shares.append((kind, share))
    if len(failing) == len(types):
        return Verdict("", _none_known(types, failing), figures)
    good = [each for each in shares if each[1] <= most]
    told = ", ".join(f"{kind} {share:.0%}" for kind, share in shares) or "none was read for so long"
    if not good:
        return Verdict("", f"EC2's spot prices as a part of on-demand: {told}; none is {most:.0%} or less", figures)
    best, share = min(good, key=lambda each: each[1])
    return Verdict(best, f"EC2's spot price is {share:.0%} of on-demand ({told})", figures)


def lowest_share(prices: SpotPrices, on_demand: Decimal, held: float, now: datetime) -> float | None:
    """
    Return the part of the on-demand price that a zone's spot price did not exceed for a while: of the best zone.

    :param held: seconds up to now; a zone that was not read for so long does not count.
    """
    since = now - timedelta(seconds=held)
    found = []
    for changes in prices.changes.values():
        before = [price for at, price in changes if at <= since]
        if not before:
            continue
        highest = max(before[-1], *(price for at, price in changes if since < at <= now), before[-1])
        found.append(float(highest / on_demand))
    return min(found, default=None)


def _shown(figure: Figure[Any], value: Any) -> dict[str, Any]:
    read = figure.read.isoformat() if figure.read else None
    return {"value": value, "source": figure.source, "read": read, "why": figure.why if value is None else ""}


def _none_known(types: Sequence[str], figures: Mapping[str, Figure[Any]]) -> str:
    return f"nothing is known of {', '.join(types)} ({figures[types[0]].why})"
