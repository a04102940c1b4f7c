"""Search, for training jobs.

The expression's meaning is that of the API reference (SearchExpression, Filter, NestedFilters). Assumed: texts are
compared with their case, ``Contains`` without; a property that a job has not satisfies only NotExists and NotEquals.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from typing import Any

from airflow_spot.local.api.call import Call
from airflow_spot.local.api.pagination import order, page
from airflow_spot.local.api.tagging import to_list
from airflow_spot.local.backend import Backend, Operations
from airflow_spot.local.errors import not_implemented, validation
from airflow_spot.local.training.snapshots import snapshots

MAX_LEAVES = 20
_LISTS = {"Tags": ("Key", "Value"), "Metrics": ("MetricName", "Value")}
"""Lists whose entries a property names by key, as in ``Tags.owner``."""


def search(backend: Backend, call: Call) -> dict[str, Any]:
    params = call.params
    if params["Resource"] != "TrainingJob":
        raise not_implemented(f"Search for {params['Resource']}")
    expression = params.get("SearchExpression", {})
    if _leaves(expression) > MAX_LEAVES:
        raise validation(f"SearchExpression has more than {MAX_LEAVES} conditions")
    matches = _expression(expression)
    records = [record for record in _records(backend, call.region) if matches(record)]
    by, descending = order(call)

    def place(record: dict[str, Any]) -> tuple[Any, ...]:
        value = next(values(record, by), None)
        # Those that have none come last, in either order.
        return ((value is not None) is descending, *_sortable(value), record["TrainingJobName"])

    items, token = page(records, params, place, descending=descending)
    total = {"Value": len(records), "Relation": "EqualTo"}
    return {"Results": [{"TrainingJob": record} for record in items], "TotalHits": total, **token}


def _records(backend: Backend, region: str) -> Iterator[dict[str, Any]]:
    for job, record in snapshots(backend, region, "Search", full=True):
        yield {**record, "Tags": to_list(backend.store.tags.get(job.arn, {}))}


def _sortable(value: Any) -> tuple[int, float, str]:
    number = _number(value)
    # NaN, which a hyperparameter may be, has no place among numbers.
    return (0, number, "") if number is not None and math.isfinite(number) else (1, 0.0, str(value))


Predicate = Callable[[dict[str, Any]], bool]


def _leaves(expression: dict[str, Any]) -> int:
    nested = sum(len(entry["Filters"]) for entry in expression.get("NestedFilters", ()))
    inner = sum(_leaves(entry) for entry in expression.get("SubExpressions", ()))
    return len(expression.get("Filters", ())) + nested + inner


def _expression(expression: dict[str, Any]) -> Predicate:
    parts = [_filter(entry) for entry in expression.get("Filters", ())]
    parts += [_nested(entry) for entry in expression.get("NestedFilters", ())]
    parts += [_expression(entry) for entry in expression.get("SubExpressions", ())]
    if not parts:
        return lambda record: True
    combine = any if expression.get("Operator", "And") == "Or" else all
    return lambda record: combine(part(record) for part in parts)


def _nested(nested: dict[str, Any]) -> Predicate:
    """Return whether all filters hold for one and the same entry of a list, e.g. of ``InputDataConfig``."""
    name = nested["NestedPropertyName"]
    filters = []
    for entry in nested["Filters"]:
        if not entry["Name"].startswith(f"{name}."):
            raise validation(f"NestedFilters of {name!r} has a filter for {entry['Name']!r}, which is not below it")
        filters.append(_filter({**entry, "Name": entry["Name"][len(name) + 1 :]}))

    def matches(record: dict[str, Any]) -> bool:
        entries = [item for value in values(record, name) for item in (value if isinstance(value, list) else [value])]
        return any(all(part(entry) for part in filters) for entry in entries if isinstance(entry, dict))

    return matches


def _filter(entry: dict[str, Any]) -> Predicate:
    name, wanted = entry["Name"], entry.get("Value")
    operator = entry.get("Operator", "Equals" if wanted is not None else "Exists")
    if operator in ("Exists", "NotExists"):
        if wanted is not None:
            raise validation(f"The filter for {name!r} has the operator {operator}, which takes no Value")
        exists = operator == "Exists"
        return lambda record: (next(values(record, name), None) is not None) == exists
    if wanted is None:
        raise validation(f"The filter for {name!r} has the operator {operator}, which needs a Value")
    if operator == "NotEquals":
        return lambda record: not any(_equal(value, wanted) for value in values(record, name))
    compare = _OPERATORS[operator]
    return lambda record: any(compare(value, wanted) for value in values(record, name))


def values(record: Any, name: str) -> Iterator[Any]:
    """Return what a property's dotted name finds in a record; more than one value if lists are on the way."""
    if isinstance(record, list):
        for entry in record:
            yield from values(entry, name)
        return
    if not isinstance(record, dict):
        return
    first, _, rest = name.partition(".")
    if first == "Metrics":
        record = {"Metrics": record.get("FinalMetricDataList")}
    if first in _LISTS and rest:
        key, value = _LISTS[first]
        yield from (entry[value] for entry in record.get(first) or () if entry.get(key) == rest)
        return
    # A hyperparameter's or variable's own name may have dots.
    if name in record:
        yield record[name]
    elif first in record and rest:
        yield from values(record[first], rest)


def _number(value: Any) -> float | None:
    """Return a value as a number; texts that are times count as theirs."""
    if isinstance(value, bool):
        return None
    with contextlib.suppress(TypeError, ValueError):
        return float(value)
    with contextlib.suppress(TypeError, ValueError):
        moment = datetime.fromisoformat(str(value).replace("Z", "+00:00"))
        return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()
    return None


def _equal(value: Any, wanted: str) -> bool:
    if isinstance(value, bool):
        return str(value).lower() == wanted.lower()
    if isinstance(value, (int, float)):
        return _number(value) == _number(wanted)
    return str(value) == wanted


def _ordered(check: Callable[[float, float], bool]) -> Callable[[Any, str], bool]:
    def compare(value: Any, wanted: str) -> bool:
        left, right = _number(value), _number(wanted)
        return left is not None and right is not None and check(left, right)

    return compare


_OPERATORS: dict[str, Callable[[Any, str], bool]] = {
    "Equals": _equal,
    "In": lambda value, wanted: any(_equal(value, item.strip()) for item in wanted.split(",")),
    "Contains": lambda value, wanted: isinstance(value, str) and wanted.lower() in value.lower(),
    "GreaterThan": _ordered(lambda left, right: left > right),
    "GreaterThanOrEqualTo": _ordered(lambda left, right: left >= right),
    "LessThan": _ordered(lambda left, right: left < right),
    "LessThanOrEqualTo": _ordered(lambda left, right: left <= right),
}

OPERATIONS: Operations = {"Search": search}
