"""Pages, filters and sorting that all List operations have in common."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from airflow_spot.local.errors import validation

T = TypeVar("T")


def page(items: Sequence[T], params: dict[str, Any], *, default_size: int = 10) -> tuple[list[T], dict[str, str]]:
    """One page of ``items``, and ``{"NextToken": ...}`` if there are more.

    A token holds the place in the list and the rest of the request: a token that comes with other filters is refused,
    as AWS does.

    :param params: the request, with ``MaxResults`` and ``NextToken`` if given.
    :param default_size: items a page, if the request does not say.
    :raises ServiceError: ValidationException for a token that is not one of this request's.
    """
    query = {key: value for key, value in params.items() if key not in ("NextToken", "MaxResults")}
    start = _start(params["NextToken"], query) if params.get("NextToken") else 0
    end = start + int(params.get("MaxResults") or default_size)
    token = {"NextToken": _token(end, query)} if end < len(items) else {}
    return list(items[start:end]), token


def _token(place: int, query: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps([place, query], default=str, sort_keys=True).encode()).decode()


def _start(token: str, query: dict[str, Any]) -> int:
    try:
        place, known = json.loads(base64.urlsafe_b64decode(token.encode()))
    except ValueError:
        raise validation("Invalid NextToken.") from None
    if known != json.loads(json.dumps(query, default=str, sort_keys=True)) or not isinstance(place, int):
        raise validation("Invalid NextToken: it belongs to a request with other parameters.")
    return place


def select(items: Sequence[T], params: dict[str, Any], fields: Callable[[T], dict[str, Any]]) -> list[T]:
    """Those that pass the filters that List operations share, sorted as the request says.

    :param fields: of an item: ``Name``, ``Status``, ``CreationTime`` and ``LastModifiedTime`` (seconds).
    """
    limits = [(field, seconds(params[name]), sign) for name, field, sign in _LIMITS if params.get(name) is not None]
    part, status = (params.get("NameContains") or "").lower(), params.get("StatusEquals")
    chosen = []
    for item in items:
        values = fields(item)
        if any((values[field] - limit) * sign <= 0 for field, limit, sign in limits):
            continue
        if part in values["Name"].lower() and status in (None, values.get("Status")):
            chosen.append((values, item))
    key = params.get("SortBy") or "CreationTime"
    chosen.sort(
        key=lambda pair: (pair[0][key], pair[0]["Name"]), reverse=params.get("SortOrder", "Descending") == "Descending"
    )
    return [item for _, item in chosen]


_LIMITS = (
    ("CreationTimeAfter", "CreationTime", 1),
    ("CreationTimeBefore", "CreationTime", -1),
    ("LastModifiedTimeAfter", "LastModifiedTime", 1),
    ("LastModifiedTimeBefore", "LastModifiedTime", -1),
)


def seconds(value: Any) -> float:
    """A time of a request as seconds since the epoch. The JSON protocol sends numbers; others are refused."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise validation(f"{value!r} is not a time: seconds since the epoch are expected")
    return float(value)
