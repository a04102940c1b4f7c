"""Values of a row in a database, where anything may stand: read, or None."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

#: Seconds, and whatever else is counted, beyond which a value is none of ours: sums of it stay far from every limit.
_MOST = 1e9
#: The year 3000, in seconds since 1970.
_LAST_MOMENT = 32_503_680_000.0


def amount(value: Any, most: float = _MOST) -> float | None:
    """Return a number of seconds; None where it is no number, negative, not finite, or out of all proportion."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if 0 <= value <= most else None  # NaN is neither


def count(value: Any, most: float = _MOST) -> int | None:
    """Return a whole number, likewise."""
    read = amount(value, most)
    return int(read) if read is not None and read.is_integer() else None


def moment(value: Any) -> datetime | None:
    """Return a time, of seconds since 1970, likewise."""
    read = amount(value, _LAST_MOMENT)
    return None if read is None else datetime.fromtimestamp(read, timezone.utc)
