"""Durations, money, times and states as people read them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import datetime, timezone
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import Any

MINUTE, HOUR, DAY = 60, 3_600, 86_400
#: What stands where nothing is known.
NOTHING = "–"  # noqa: RUF001 - a dash, as wide as a number
_SYMBOLS = {"USD": "$"}

#: A state of the ledger in words, and the kind of its chip.
STATES = {
    "waiting": ("Waiting for capacity", "wait"),
    "starting": ("Starting", "run"),
    "training": ("Training", "run"),
    "uploading": ("Uploading the model", "run"),
    "stopping": ("Stopping", "wait"),
    "pausing": ("Backing off, no job", "wait"),
    "completed": ("Completed", "ok"),
    "failed": ("Failed", "bad"),
    "stopped": ("Stopped", "dim"),
    "left": ("No longer waited for", "dim"),
}
#: Airflow's states of a task instance that will not change the ledger any more.
AIRFLOW_OVER = frozenset({"success", "failed", "skipped", "removed", "upstream_failed"})
_GOOD_OUTCOMES = frozenset({"completed"})
#: After these a run continues elsewhere: they are no failures.
_WAITING_OUTCOMES = frozenset(
    {"no_capacity", "capacity_timeout", "rung_timeout", "quota_exceeded", "max_wait_exceeded", "interrupted"}
)
_QUIET_OUTCOMES = frozenset({"moved", "stopped_by_operator", "stopped_externally", "stopped"})


def state_words(state: str) -> tuple[str, str]:
    """Return a state in words, and the kind of its chip; one of a newer version as it is."""
    return STATES.get(state, (state or "Unknown", "dim"))


def outcome_kind(outcome: str | None) -> str:
    """Return the kind of an outcome's chip; None is that of an attempt that is live."""
    if outcome is None:
        return "run"
    if outcome in _GOOD_OUTCOMES:
        return "ok"
    return "wait" if outcome in _WAITING_OUTCOMES else "dim" if outcome in _QUIET_OUTCOMES else "bad"


def duration(seconds: float | None) -> str:
    """Return seconds as people read them: ``1 min 24 s``, ``5 h 27 min``, ``2 d 3 h``."""
    if seconds is None:
        return NOTHING
    whole = round(abs(seconds))
    sign = "−" if seconds < 0 and whole else ""  # noqa: RUF001 - a minus
    for size, name, smaller, part in ((DAY, "d", HOUR, "h"), (HOUR, "h", MINUTE, "min"), (MINUTE, "min", 1, "s")):
        # Hours continue to two days: "30 h" is read more easily than "1 d 6 h".
        if whole >= (2 * DAY if size == DAY else size):
            rest = whole % size // smaller
            return f"{sign}{whole // size:,} {name}" + (f" {rest} {part}" if rest else "")
    return f"{sign}{whole} s"


def rough(seconds: float | None) -> str:
    """Return seconds in one or two units, for where there is little room: ``1 min``, ``5 h 27 min``."""
    if seconds is not None and 10 * MINUTE <= abs(seconds) < HOUR:
        seconds = round(seconds / MINUTE) * MINUTE
    if seconds is not None and abs(seconds) >= 10 * HOUR and abs(seconds) < 2 * DAY:
        seconds = round(seconds / HOUR) * HOUR
    return duration(seconds)


def hours(seconds: float) -> str:
    """Return seconds as hours: ``0.4 h``, ``1,039 h``; what is no tenth of one in minutes."""
    value = seconds / HOUR
    if 0 < value < 0.05:
        return duration(seconds)
    return f"{value:,.0f} h" if value >= 10 or value == 0 else f"{value:.1f} h"


def money(amount: Decimal, currency: str, *, whole: bool = False) -> str:
    """
    Return an amount: ``$3.14``, ``12.30 EUR``; small ones with four digits, so that they are not nothing.

    :param whole: leave the cents out of what is large.
    """
    size = abs(amount)
    digits = 0 if whole and size >= 100 else 2 if size >= 1 or not size else 3 if size >= Decimal("0.1") else 4
    rounded = amount.quantize(Decimal(1).scaleb(-digits), rounding=ROUND_HALF_EVEN)
    number = f"{abs(rounded):,.{digits}f}"
    sign = "−" if rounded < 0 else ""  # noqa: RUF001 - a minus
    return f"{sign}{_SYMBOLS[currency]}{number}" if currency in _SYMBOLS else f"{sign}{number} {currency}"


def read_money(value: Any) -> tuple[Decimal, str] | None:
    """Return amount and currency of the ledger's JSON; None where there is none."""
    if not isinstance(value, dict):
        return None
    amount, currency = value.get("amount"), value.get("currency")
    if not isinstance(amount, str) or len(amount) > 30 or not isinstance(currency, str) or not 0 < len(currency) <= 8:
        return None
    try:
        read = Decimal(amount)
    except InvalidOperation:
        return None
    return (read, currency) if read.is_finite() and abs(read) < Decimal(10) ** 15 else None


def money_json(value: Any, *, whole: bool = False) -> str:
    """Return an amount of the ledger's JSON in words."""
    read = read_money(value)
    return NOTHING if read is None else money(*read, whole=whole)


def percent(value: float | None) -> str:
    """Return ``62.1 %``."""
    # Rounded first: a little less than nothing has no sign.
    return NOTHING if value is None else f"{round(value, 1) + 0.0:.1f} %".replace("-", "−")  # noqa: RUF001 - a minus


def number(value: float) -> str:
    """Return a count or step: ``1,200``, and ``2.5`` where it is none."""
    return f"{value:,.0f}" if value == int(value) else f"{value:,.4g}"


def plural(count: int, one: str, many: str = "") -> str:
    """Return ``1 run``, ``3 runs``."""
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"


def listed(parts: Iterable[str]) -> str:
    """Return parts that there are, with a dot between."""
    return " · ".join(part for part in parts if part)


def clean(text: object, limit: int = 2_000) -> str:
    """Return a text that others wrote on one line, without what does not print, and cut where it is too long."""
    given = " ".join(str(text).split())
    shown = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in given[:limit])
    return shown if len(given) <= limit else f"{shown} …"


def short(text: str, limit: int = 60) -> str:
    """Return a name that may be long with its middle left out: its end is what tells it from others."""
    name = clean(text)
    half = limit // 2
    return name if len(name) <= limit else f"{name[:half]}…{name[-half:]}"


def sentence(text: str) -> str:
    """Return a text with a capital in front."""
    return text[:1].upper() + text[1:]


def moment(seconds: float) -> datetime:
    """Return a time in UTC; the nearest that a calendar has, for one that it has not."""
    if not math.isfinite(seconds):
        seconds = 0.0
    return datetime.fromtimestamp(min(max(seconds, 0.0), 253_370_764_800.0), timezone.utc)


def full_time(seconds: float) -> str:
    """Return date and time: ``28 Nov 2026, 13:04:10 UTC``."""
    at = moment(seconds)
    return f"{at.day} {at:%b %Y, %H:%M:%S} UTC"


def short_time(seconds: float, now: float) -> str:
    """Return the time of day, and its date where that is not today's."""
    at = moment(seconds)
    return f"{at:%H:%M}" if at.date() == moment(now).date() else f"{at.day} {at:%b, %H:%M}"
