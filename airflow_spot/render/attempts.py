"""The table of attempts: where each ran, how it ended, its seconds and its money."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from airflow_spot.render.ledger_format import AttemptLine, Timeline
from airflow_spot.render.picture import Moment, ending, market, place
from airflow_spot.render.segments import waited
from airflow_spot.render.tiles import figure, plus
from airflow_spot.render.words import (
    NOTHING,
    clean,
    duration,
    listed,
    money_json,
    number,
    outcome_kind,
    percent,
)


@dataclass(frozen=True)
class Line:
    """One line of the table; ``url`` is the job's page, empty where none is known."""

    number: str
    job: str
    url: str
    why: str
    place: str
    rung: str
    outcome: str
    kind: str
    interruptions: str
    waited: str
    trained: str
    billed: str
    saved: str
    cost: str


def lines(
    timeline: Timeline, attempts: Sequence[AttemptLine], at: Moment, links: Sequence[tuple[str, str]]
) -> list[Line]:
    """
    Return a line for each attempt.

    :param at: from when the run is looked at.
    :param links: of the page: that of the newest job tells how those of the others are made.
    """
    newest = timeline["attempts"][-1]["job"] if timeline["attempts"] else ""
    pattern = next((url for name, url in links if newest and "job" in name.lower() and newest in url), "")
    tries = len({each["tried_by"] for each in timeline["attempts"]}) > 1
    return [
        _line(timeline, each, at, _page_of(each["job"], newest, pattern) if pattern else "", tries=tries)
        for each in attempts
    ]


def _page_of(job: str, newest: str, pattern: str) -> str:
    """Return a job's page, by the newest job's; empty where it would be another site's, or a script: names are text."""
    url = pattern.replace(newest, job)
    try:
        return url if urlsplit(url)[:2] == urlsplit(pattern)[:2] else ""
    except ValueError:
        return ""


def _line(timeline: Timeline, one: AttemptLine, at: Moment, url: str, *, tries: bool) -> Line:
    role = "" if one["role"] in ("", "attempt") else f"{one['role']} "
    # Only one attempt of a run is live, so that the run's state is its own.
    goes_on = one["ended"] is None and one["outcome"] is None and one["role"] in ("", "attempt")
    trained = plus(one["training_seconds"], timeline, at, "training") if goes_on else one["training_seconds"]
    time = duration(waited(one, at.now))
    return Line(
        number=f"{role}{one['number']}",
        job=one["job"],
        url=url,
        why=listed((clean(one["why"]), f"try {one['tried_by']}" if tries and one["tried_by"] is not None else "")),
        place=f"{place(one)} {market(one)}".strip() or NOTHING,
        rung=clean(one["rung"]) if one["rung"] and one["type"] not in one["rung"] else "",
        outcome=ending(one),
        kind=outcome_kind(one["outcome"] or (one["status"].lower() if one["ended"] is not None else None)),
        interruptions=number(one["interruptions"]),
        waited=f"over {time}" if one["more_starts"] else time,
        trained=duration(trained),
        billed=duration(one["billable_seconds"]),
        saved=percent(_discount(one["training_seconds"], one["billable_seconds"])),
        cost=money_json(one["cost"]),
    )


def total(timeline: Timeline, at: Moment) -> Line:
    """Return the line of the sums, as the run's ledger has them."""
    totals = timeline["totals"]
    trained, billed = figure(totals, "training_seconds"), figure(totals, "billable_seconds")
    trained = plus(trained, timeline, at, "training")
    return Line(
        number="",
        job="all",
        url="",
        why="",
        place="",
        rung="",
        outcome="",
        kind="",
        interruptions=number(figure(totals, "interruptions") or 0),
        waited=duration(plus(figure(totals, "waited_seconds"), timeline, at, "waiting")),
        trained=duration(trained),
        billed=duration(billed),
        saved=percent(_discount(trained, billed)),
        cost=money_json(totals.get("cost")),
    )


def _discount(trained: float | None, billed: float | None) -> float | None:
    """Return AWS's own figure, as its console has it."""
    return None if not trained or billed is None else 100 * (1 - billed / trained)
