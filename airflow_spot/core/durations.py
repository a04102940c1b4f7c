"""Durations as people write them, in seconds."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

from airflow_spot.core.parameter_errors import InvalidParameterError

_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_TEXT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([smhd]?)\s*", re.IGNORECASE)


def seconds(field: str, value: Any) -> int:
    """
    Read a duration.

    :param field: the parameter's name, for the error.
    :param value: seconds (``int``, ``float`` or text), a ``timedelta``, or text with a unit: ``"90s"``,
        ``"30m"``, ``"2h"``, ``"1d"``.
    :return: whole seconds, at least 1.
    :raises InvalidParameterError: the value is no duration, or is not positive.
    """
    amount: float
    if isinstance(value, timedelta):
        amount = value.total_seconds()
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        amount = float(value)
    elif isinstance(value, str) and (match := _TEXT.fullmatch(value)):
        amount = float(match[1]) * _UNITS[match[2].lower() or "s"]
    else:
        raise InvalidParameterError(field, value, 'give seconds, a timedelta, or text such as "90s", "30m", "2h", "1d"')
    if not 1 <= amount < float("inf"):
        raise InvalidParameterError(field, value, "give at least one second")
    return int(amount)


def interval(field: str, value: Any) -> float:
    """
    Read a polling interval.

    :param field: the parameter's name, for the error.
    :param value: seconds, which need not be whole, as a number or text.
    :raises InvalidParameterError: the value is no number, or is not above 0.
    """
    try:
        amount = float("nan" if isinstance(value, bool) else value)
    except (TypeError, ValueError):
        amount = float("nan")
    if not 0 < amount < float("inf"):
        raise InvalidParameterError(field, value, "must be seconds, above 0")
    return amount


def human(amount: float) -> str:
    """Write seconds as a person reads them: ``3725`` becomes ``1 h 02 min``, ``42`` becomes ``42 s``."""
    whole = round(amount)
    if whole < 120:
        return f"{whole} s"
    if whole < 7_200:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3_600} h {whole % 3_600 // 60:02d} min"
