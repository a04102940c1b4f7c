"""The fleet as CSV, for a spreadsheet, which runs what looks like a formula: no cell does."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

from airflow_spot.render.fleet_facts import Fact
from airflow_spot.render.values import FleetRow
from airflow_spot.render.words import clean, moment

COLUMNS = (
    "dag_id",
    "run_id",
    "task_id",
    "map_index",
    "state",
    "airflow_state",
    "began",
    "ended",
    "instance_type",
    "instance_count",
    "spot",
    "attempts",
    "interruptions",
    "waited_seconds",
    "training_seconds",
    "billable_seconds",
    "trained_twice_seconds",
    "currency",
    "cost",
    "on_demand_cost",
    "saved",
    "deadline",
    "owners",
    "tags",
    "problem",
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "|", "%")


def write(facts: Iterable[Fact], unread: Iterable[FleetRow]) -> str:
    """Return the runs, one a line, and behind them the rows that cannot be read."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for fact in facts:
        writer.writerow([_cell(value) for value in _values(fact)])
    for row in unread:
        ids = [row.dag_id, row.run_id, row.task_id, row.map_index, "unreadable", row.state]
        empty = [""] * (len(COLUMNS) - len(ids) - 3)
        labels = [" ".join(row.owners), " ".join(row.tags), row.problem or "its summary cannot be read"]
        writer.writerow([_cell(value) for value in [*ids, *empty, *labels]])
    return out.getvalue()


def _values(fact: Fact) -> list[object]:
    row = fact.row
    return [
        row.dag_id,
        row.run_id,
        row.task_id,
        row.map_index if row.map_index >= 0 else "",
        fact.state,
        row.state,
        _time(fact.began),
        "" if fact.live else _time(fact.end),
        fact.type,
        fact.instances,
        "yes" if fact.spot else "no",
        fact.attempts,
        fact.taken,
        round(fact.waited),
        round(fact.trained),
        "" if fact.billed is None else round(fact.billed),
        "" if fact.twice is None else round(fact.twice),
        fact.currency,
        "" if fact.cost is None else fact.cost,
        "" if fact.worth is None else fact.worth,
        "" if fact.saved is None else fact.saved,
        "" if fact.deadline is None else _time(fact.deadline),
        " ".join(row.owners),
        " ".join(row.tags),
        row.problem,
    ]


def _time(seconds: float) -> str:
    return moment(seconds).strftime("%Y-%m-%dT%H:%M:%SZ")


def _cell(value: object) -> object:
    """Return a value, a text that a spreadsheet would run as a formula behind an apostrophe."""
    if not isinstance(value, str):
        return value
    text = clean(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
