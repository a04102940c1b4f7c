"""
JSON from an XCom to the ledger's values, or to a sentence that says why it is none. Nothing here raises.

An XCom may be of another version, of somebody else's under the same key, or edited by hand.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any, cast

from airflow_spot.render.ledger_format import VERSION, Summary, Timeline
from airflow_spot.render.words import clean, read_money

#: Times and durations beyond this are none.
_MOST_SECONDS = 1e11
_MOST_NUMBER = 1e15
_MOST_ITEMS = 20_000
_TEXT = 4_000

_Check = Callable[[Any], Any]


class _Odd(Exception):
    """A value is not what the format has there."""

    def __init__(self, what: str, *path: str) -> None:
        super().__init__(what)
        self.path = list(path)


def read_timeline(value: Any) -> Timeline | str:
    """Return a timeline, with what the format does not know left out; or why it cannot be read, as a sentence."""
    return cast("Timeline | str", _read(value, _TIMELINE, "timeline"))


def read_summary(value: Any) -> Summary | str:
    """Return a summary, with what the format does not know left out; or why it cannot be read, as a sentence."""
    return cast("Summary | str", _read(value, _SUMMARY, "summary"))


def _read(value: Any, shape: Mapping[str, _Check], name: str) -> dict[str, Any] | str:
    try:
        if isinstance(value, (str, bytes)):
            value = json.loads(value)
        if not isinstance(value, Mapping):
            return f"This is not an airflow_spot {name}."
        version = value.get("v")
        if isinstance(version, int) and not isinstance(version, bool) and version > VERSION:
            return (
                f"This {name} is of version {version}, written by a newer airflow_spot; this one reads version "
                f"{VERSION}. Update airflow_spot where Airflow's web server runs."
            )
        if version != VERSION:
            return f"This is not an airflow_spot {name}: it has no version."
        return dict(_object(shape)(value))
    except _Odd as odd:
        where = ".".join(odd.path).replace(".[", "[")
        return f"This {name} cannot be read: {clean(where, 80)} {odd}."
    except (ValueError, RecursionError, TypeError, OverflowError, AttributeError):
        return f"This is not an airflow_spot {name}."


def _object(shape: Mapping[str, _Check]) -> _Check:
    def check(value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise _Odd("is no object")
        read = {}
        for key, each in shape.items():
            try:
                if key not in value:
                    raise _Odd("is missing")
                read[key] = each(value[key])
            except _Odd as odd:
                odd.path.insert(0, key)
                raise
        return read

    return check


def _list(each: _Check, most: int = _MOST_ITEMS) -> _Check:
    def check(value: Any) -> list[Any]:
        if not isinstance(value, (list, tuple)) or len(value) > most:
            raise _Odd("is no list, or too long")
        read = []
        for index, item in enumerate(value):
            try:
                read.append(each(item))
            except _Odd as odd:
                odd.path.insert(0, f"[{index}]")
                raise
        return read

    return check


def _row(*columns: _Check) -> _Check:
    """Check a list of so many values."""

    def check(value: Any) -> list[Any]:
        if not isinstance(value, (list, tuple)) or len(value) != len(columns):
            raise _Odd(f"is no list of {len(columns)}")
        return [column(item) for column, item in zip(columns, value, strict=True)]

    return check


def _or_none(each: _Check) -> _Check:
    def check(value: Any) -> Any:
        return None if value is None else each(value)

    return check


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise _Odd("is no text")
    if not value.isascii():  # half of a pair of surrogates is JSON, and no text that can be sent
        value = value.encode(errors="replace").decode()
    return value if len(value) <= _TEXT else f"{value[:_TEXT]} …"


def _bool(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _Odd("is neither true nor false")
    return value


def _number(value: Any, most: float = _MOST_NUMBER) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or abs(value) > most:
        raise _Odd("is no number")
    return value


def _time(value: Any) -> float:
    return float(_number(value, _MOST_SECONDS))


def _count(value: Any) -> int:
    return int(_number(value))


def _amount(value: Any) -> int:
    """Check a number of seconds or of things: none is below nothing."""
    return max(0, _count(value))


def _money(value: Any) -> dict[str, str]:
    if read_money(value) is None:
        raise _Odd("is no amount of money")
    return {"amount": value["amount"], "currency": value["currency"]}


def _loose(value: Any, depth: int = 0) -> dict[str, Any]:
    """Check an object of which numbers, texts and money are read, each where it is one, and such objects in it."""
    if not isinstance(value, Mapping):
        raise _Odd("is no object")
    read: dict[str, Any] = {}
    for key, item in list(value.items())[:100]:
        is_number = isinstance(item, (int, float)) and not isinstance(item, bool)
        if item is None:
            read[str(key)] = None
        elif is_number and math.isfinite(item) and abs(item) <= _MOST_NUMBER:
            read[str(key)] = item
        elif isinstance(item, str):
            read[str(key)] = _text(item)
        elif read_money(item) is not None:
            read[str(key)] = _money(item)
        elif isinstance(item, Mapping) and depth < 1:
            read[str(key)] = _loose(item, depth + 1)
    return read


_maybe_time, _maybe_money = _or_none(_time), _or_none(_money)
_ATTEMPT: dict[str, _Check] = {
    "generation": _count,
    "number": _count,
    "role": _text,
    "job": _text,
    "type": _text,
    "count": _count,
    "spot": _bool,
    "rung": _text,
    "why": _text,
    "tried_by": _or_none(_count),
    "created": _time,
    "ended": _maybe_time,
    "status": _text,
    "secondary_status": _text,
    "outcome": _or_none(_text),
    "label": _text,
    "reason": _text,
    "exit_code": _or_none(_count),
    "interruptions": _amount,
    "training_seconds": _amount,
    "billable_seconds": _or_none(_amount),
    "cost": _maybe_money,
    "checkpoint_s3_uri": _or_none(_text),
    "starts": _list(_row(*[_maybe_time] * 5)),
    "uploading": _or_none(_row(_maybe_time, _maybe_time)),
    "ticks": _list(_row(_time, _or_none(_number))),
    "again": _list(_row(_time, _time)),
    "more_starts": _amount,
    "more_ticks": _amount,
}
_TIMELINE: dict[str, _Check] = {
    "v": _count,
    "key": _text,
    "dag_id": _text,
    "run_id": _text,
    "task_id": _text,
    "map_index": _count,
    "try_number": _count,
    "region": _text,
    "partition": _text,
    "t0": _time,
    "updated": _time,
    "state": _text,
    "since": _time,
    "reason": _text,
    "generation": _count,
    "attempts": _list(_object(_ATTEMPT), 2_000),
    "more_attempts": _amount,
    "decisions": _list(_row(_time, _text, _text)),
    "more_decisions": _amount,
    "progress": _or_none(_loose),
    "points": _list(_row(_time, _number)),
    "model": _or_none(_text),
    "deadline": _maybe_time,
    "forecast": _or_none(_row(_time, _time, _time)),
    "totals": _loose,
}
_SUMMARY: dict[str, _Check] = {
    "v": _count,
    "key": _text,
    "state": _text,
    "since": _time,
    "began": _time,
    "updated": _time,
    "ended": _maybe_time,
    "job": _text,
    "type": _text,
    "count": _count,
    "spot": _bool,
    "generation": _count,
    "attempts": _amount,
    "interruptions": _amount,
    "interrupted": _list(_row(_time, _text), 1_000),
    "waited": _amount,
    "trained": _amount,
    "billed": _or_none(_amount),
    "twice": _or_none(_amount),
    "cost": _maybe_money,
    "on_demand_cost": _maybe_money,
    "saved": _maybe_money,
    "progress": _or_none(_row(_number, _number)),
    "deadline": _maybe_time,
    "forecast": _or_none(_row(_time, _time, _time)),
}
