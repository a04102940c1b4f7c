"""Pages, filters and sorting that all List operations have in common."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from airflow_spot.local.api.call import Call
from airflow_spot.local.errors import ServiceError, validation

T = TypeVar("T")


Fields = Callable[[T], dict[str, Any]]
"""Of an item: ``Name``, ``Status``, ``CreationTime`` and ``LastModifiedTime`` (seconds)."""

#: SortBy and SortOrder of a request that names none [D]: from the texts of botocore's model.
DEFAULT_ORDER: Mapping[str, tuple[str, str]] = {
    "ListTrainingJobs": ("CreationTime", "Ascending"),
    "ListProcessingJobs": ("CreationTime", "Ascending"),
    "ListTransformJobs": ("CreationTime", "Descending"),
    "ListHyperParameterTuningJobs": ("Name", "Ascending"),
    "ListTrainingJobsForHyperParameterTuningJob": ("Name", "Ascending"),
    "ListModelPackageGroups": ("CreationTime", "Ascending"),
    "ListModelPackages": ("CreationTime", "Ascending"),
    "ListModels": ("CreationTime", "Descending"),
    "ListEndpointConfigs": ("CreationTime", "Descending"),
    "ListEndpoints": ("CreationTime", "Descending"),
    "Search": ("LastModifiedTime", "Descending"),
}


def order(call: Call) -> tuple[str, bool]:
    """Return what a request wants its answer to be sorted by, and whether the largest comes first."""
    by, direction = DEFAULT_ORDER[call.operation]
    return call.params.get("SortBy") or by, (call.params.get("SortOrder") or direction) == "Descending"


def page(
    items: Iterable[T],
    params: dict[str, Any],
    place: Callable[[T], tuple[Any, ...]],
    *,
    descending: bool = False,
    default_size: int = 10,
) -> tuple[list[T], dict[str, str]]:
    """Return one page of ``items``, sorted, and ``{"NextToken": ...}`` if there are more.

    A token holds the place of the page's last item and the rest of the request. So an item that comes or goes between
    two pages neither repeats nor hides another one; and a token that comes with other filters is refused, as AWS does.

    :param params: the request, with ``MaxResults`` and ``NextToken`` if given.
    :param place: what an item is sorted by: JSON values, different for each item.
    :param descending: the largest first.
    :param default_size: items a page, if the request has no MaxResults.
    :raises ServiceError: ValidationException for a token that is not one of this request's.
    """
    query = {key: value for key, value in params.items() if key not in ("NextToken", "MaxResults")}
    places = sorted(((place(item), item) for item in items), key=lambda pair: pair[0], reverse=descending)
    if params.get("NextToken"):
        last = _last(params["NextToken"], query)
        try:
            places = [pair for pair in places if (pair[0] < last if descending else pair[0] > last)]
        except TypeError:
            raise _invalid() from None
    size = int(params.get("MaxResults") or default_size)
    shown = places[:size]
    token = {"NextToken": _token(shown[-1][0], query)} if len(places) > size else {}
    return [item for _, item in shown], token


def _token(last: tuple[Any, ...], query: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps([last, query], default=str, sort_keys=True).encode()).decode()


def _last(token: str, query: dict[str, Any]) -> tuple[Any, ...]:
    try:
        place, known = json.loads(base64.urlsafe_b64decode(token.encode()))
    except (ValueError, TypeError, RecursionError):
        raise _invalid() from None
    if known != json.loads(json.dumps(query, default=str, sort_keys=True)) or not isinstance(place, list):
        raise validation("Invalid NextToken: it belongs to a request with other parameters.")
    return tuple(place)


def _invalid() -> ServiceError:
    return validation("Invalid NextToken.")


def in_order(items: Iterable[T], call: Call, fields: Fields[T]) -> tuple[list[T], dict[str, str]]:
    """Return a page of ``items``, in the request's order or its operation's default; raises as :func:`page` does."""
    by, descending = order(call)

    def place(item: T) -> tuple[Any, ...]:
        values = fields(item)
        return values[by], values["Name"]

    return page(items, call.params, place, descending=descending)


def select(items: Iterable[T], params: dict[str, Any], fields: Fields[T]) -> list[T]:
    """Return those that pass the filters that List operations share."""
    limits = [(field, seconds(params[name]), sign) for name, field, sign in _LIMITS if params.get(name) is not None]
    part, status = (params.get("NameContains") or "").lower(), params.get("StatusEquals")
    chosen = []
    for item in items:
        values = fields(item)
        if any((values[field] - limit) * sign <= 0 for field, limit, sign in limits):
            continue
        if part in values["Name"].lower() and status in (None, values.get("Status")):
            chosen.append(item)
    return chosen


_LIMITS = (
    ("CreationTimeAfter", "CreationTime", 1),
    ("CreationTimeBefore", "CreationTime", -1),
    ("LastModifiedTimeAfter", "LastModifiedTime", 1),
    ("LastModifiedTimeBefore", "LastModifiedTime", -1),
)


def seconds(value: Any) -> float:
    """Return a time of a request as seconds since the epoch. The JSON protocol sends numbers; others are refused."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise validation(f"{value!r} is not a time: seconds since the epoch are expected")
    return float(value)
