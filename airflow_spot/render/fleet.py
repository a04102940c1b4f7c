"""The fleet's page: what all runs that a viewer may see do now, what they came to, and when instances are taken."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from markupsafe import Markup

from airflow_spot.render import fleet_charts, fleet_facts, pages, routes, svg
from airflow_spot.render.fleet_csv import write
from airflow_spot.render.fleet_facts import Fact
from airflow_spot.render.fleet_sums import Cell, Sums, amounts, by_day, by_hour, grouped, median_wait, total
from airflow_spot.render.tiles import Tile
from airflow_spot.render.values import FleetFilter, FleetRow, Where
from airflow_spot.render.words import (
    NOTHING,
    hours,
    listed,
    money,
    number,
    percent,
    rough,
    sentence,
    short,
    short_time,
    state_words,
)

#: What a table shows at most; CSV has all.
MOST_RUNS, MOST_NOW, MOST_GROUPS, MOST_INTERRUPTED = 20, 40, 40, 5
MOST_UNREAD = 10
_SPANS = ((1, "day"), (7, "7 days"), (30, "30 days"), (90, "90 days"), (365, "year"))
_PURPOSE = (
    "This page shows every spot training of the DAGs that you may read: what runs and waits now, what it cost and "
    "saved, and when instances are taken. There is none yet."
)
_NAMES = {"dag": "DAG", "owner": "owner", "tag": "tag", "type": "instance", "state": "state"}
_STATES = {fleet_facts.LIVE: "running or waiting", fleet_facts.AT_RISK: "at risk"}


@dataclass(frozen=True)
class FleetView:
    """
    What a fleet's page shows.

    :param facts: the runs that the filters ask for.
    :param everything: how many there are without them.
    :param unread: rows whose summary cannot be read.
    :param choices: what each filter can be set to.
    """

    wanted: FleetFilter
    now: float
    facts: list[Fact]
    everything: int
    unread: list[FleetRow]
    choices: dict[str, list[str]]
    sums: Sums
    dags: dict[str, Sums]
    types: dict[str, Sums]
    hours: dict[str, list[Cell]]


def fleet(rows: Iterable[FleetRow], wanted: FleetFilter, now: float) -> FleetView:
    """
    Sum the fleet up.

    :param rows: of the DAGs that the viewer may read, and of no others.
    :param now: in seconds since 1970.
    """
    facts, unread = fleet_facts.read(rows, now)
    chosen = fleet_facts.chosen(facts, wanted, now)
    return FleetView(
        wanted=wanted,
        now=now,
        facts=chosen,
        everything=len(facts),
        unread=unread,
        choices=fleet_facts.choices(facts),
        sums=total(chosen),
        dags=grouped(chosen, lambda fact: fact.row.dag_id),
        types=grouped(chosen, lambda fact: fact.type),
        hours=by_hour(chosen),
    )


def fleet_csv(view: FleetView) -> str:
    """Return the runs that the filters ask for as CSV, the newest first."""
    return write(sorted(view.facts, key=lambda fact: -fact.began), view.unread)


def fleet_page(view: FleetView, where: Where) -> str:
    """Return the fleet's page."""
    source = f"{routes.fleet_fragment(where.base)}" if where.live else ""
    return pages.page("Spot trainings", where, Markup(fleet_fragment(view, where)), source)  # noqa: S704 - escaped


def fleet_fragment(view: FleetView, where: Where) -> str:
    """Return the part of the page that changes. What it says of live runs changes with time too."""
    here = _Here(view, where)
    live = [fact for fact in view.facts if fact.live]
    every = pages.EVERY * 2 if where.live else 0
    unread = view.unread[:MOST_UNREAD]
    if not view.everything:
        return pages.fragment(
            "empty.html",
            every=every,
            heading="Spot trainings",
            ids="",
            trail=[],
            notices=[{"kind": "bad", "head": f"{_ids(row)}:", "text": sentence(row.problem)} for row in unread],
            purpose=_PURPOSE,
            start="A task that is a SageMakerTrainingOperator becomes one by its import:",
        )
    return pages.fragment(
        "fleet.html",
        every=every,
        csv=f"{routes.fleet_csv(where.base)}?{_query(view.wanted)}",
        action=routes.fleet(where.base),
        spans=[(name, here.link(days=days), days == view.wanted.days) for days, name in _SPANS],
        hidden=_hidden(view.wanted),
        filters=_filters(view),
        reset=here.link(dag="", owner="", tag="", type="", state=""),
        filtered=any(getattr(view.wanted, name) for name in _NAMES),
        tiles=_tiles(view, live),
        now=_now(here, live),
        more_now=max(0, len(live) - MOST_NOW),
        margins=any(fact.margin is not None for fact in live),
        days=_days(view),
        heat=fleet_charts.by_hour(dict(list(view.hours.items())[:MOST_GROUPS])) if view.hours else "",
        shades=fleet_charts.shades(),
        tables=[_types(here), _dags(here)],
        interrupted=_interrupted(here),
        runs=_runs(here),
        legend=_legend(),
        unread=[(_ids(row), row.problem or "Its summary cannot be read.") for row in unread],
        more_unread=len(view.unread) - len(unread),
    )


class _Here:
    """A view and where it is shown, for its links."""

    def __init__(self, view: FleetView, where: Where) -> None:
        self.view, self.where = view, where

    def link(self, **change: Any) -> str:
        """Return the address of this page with other filters."""
        return f"{routes.fleet(self.where.base)}?{_query(replace(self.view.wanted, **change))}"

    def task(self, row: FleetRow) -> str:
        """Return the address of a run's page."""
        return routes.task(self.where.base, row.dag_id, row.run_id, row.task_id, row.map_index)


def _hidden(wanted: FleetFilter) -> dict[str, str]:
    """Return what a form of the filters keeps."""
    return {"days": str(wanted.days), **({"sort": wanted.sort} if wanted.sort else {})}


def _query(wanted: FleetFilter) -> str:
    set_ = {name: getattr(wanted, name) for name in _NAMES}
    return urlencode({**_hidden(wanted), **{name: value for name, value in set_.items() if value}})


def _filters(view: FleetView) -> list[dict[str, Any]]:
    found = []
    for name, label in _NAMES.items():
        values = view.choices[name]
        chosen = getattr(view.wanted, name)
        if chosen and chosen not in values:  # the address may ask for what is not there
            values = [*values, chosen]
        if not values:
            continue
        words = {each: _STATES.get(each) or state_words(each)[0].lower() for each in values} if name == "state" else {}
        options = [(each, words.get(each, each), each == chosen) for each in values[:500]]
        found.append({"name": name, "label": label, "options": options})
    return found


def _tiles(view: FleetView, live: Sequence[Fact]) -> list[Tile]:
    sums = view.sums
    waits = sum(1 for fact in live if fact.state in ("waiting", "pausing"))
    risk = sum(1 for fact in live if fact.at_risk)
    now = listed((f"{waits} waiting" if waits else "", f"{risk} at risk" if risk else "")) or (
        "none waits" if live else "nothing runs"
    )
    share = percent(sums.savings)
    if sums.rate is not None:
        rate = f"{sums.rate:.1f} in 100 h of training"
    else:
        rate = "in less than an hour of training" if sums.taken else "none"
    over = f"{100 * sums.completed / sums.over:.1f} % completed" if sums.over else "none has ended"
    saved = f"{share} of {amounts(sums.worth)}" if sums.worth else "against on-demand"
    return [
        Tile("Now", number(len(live)), now, "bad" if risk else ""),
        Tile("Saved", amounts(sums.saved) if sums.saved else share, saved),
        Tile(
            "Spent", amounts(sums.cost), sums.unknown or ("for what was billed" if sums.cost else "nothing billed yet")
        ),
        Tile("Interruptions", number(sums.taken), rate),
        Tile("Runs", number(sums.runs), over),
        Tile("Waited", rough(median_wait(view.facts)), "median of a run"),
    ]


def _now(here: _Here, live: Sequence[Fact]) -> list[dict[str, Any]]:
    """Return the rows of what runs now: at risk first, then what waits."""

    def order(fact: Fact) -> tuple[float, ...]:
        return (not fact.at_risk, fact.state not in ("waiting", "pausing"), fact.since)

    return [
        {
            **_named(here, fact),
            "at_risk": fact.at_risk,
            "since": rough(max(0.0, here.view.now - fact.since)),
            "attempts": number(fact.attempts),
            "progress": NOTHING if fact.progress is None else f"{fact.progress:.0f} %",
            "margin": NOTHING if fact.margin is None else rough(fact.margin),
        }
        for fact in sorted(live, key=order)[:MOST_NOW]
    ]


def _named(here: _Here, fact: Fact) -> dict[str, Any]:
    """Return what every row of a run has."""
    row = fact.row
    words, kind = state_words(fact.state)
    count = f"{fact.instances} x " if fact.instances != 1 else ""
    index = f" [{row.map_index}]" if row.map_index >= 0 else ""
    return {
        "path": here.task(row),
        "name": f"{short(row.dag_id)} / {short(row.task_id)}{index}",
        "whole": f"{row.dag_id} / {row.task_id}{index}, {row.run_id}",
        "run": short(row.run_id),
        "state": words,
        "kind": kind,
        "place": f"{count}{fact.type} {'spot' if fact.spot else 'on-demand'}",
        "picture": fleet_charts.mini(fact),
        "taken": number(fact.taken),
        "waited": rough(fact.waited),
        "trained": rough(fact.trained),
        "took": rough(fact.took),
        "began": short_time(fact.began, here.view.now),
        "saved": percent(fact.savings),
        "cost": NOTHING if fact.cost is None else money(fact.cost, fact.currency),
    }


def _days(view: FleetView) -> list[dict[str, Any]]:
    """Return a picture for each currency."""
    found = []
    for currency in sorted(view.sums.cost):
        bars = by_day(view.facts, currency, view.wanted.days, view.now)
        name = "week" if bars and bars[0].days > 1 else "day"
        only = f" in {currency}" if len(view.sums.cost) > 1 else ""
        found.append({"name": f"Spent and saved{only}, by {name}", "picture": fleet_charts.by_day(bars, currency)})
    return found


def _legend() -> list[tuple[str, Markup]]:
    def key(mark: str) -> Markup:
        return svg.picture(12, [mark], kind="key")

    return [
        ("ran", key(svg.bar("ran", 0, 100, 0, 12))),
        ("interruption", key(svg.line("taken", 50, 0, 12))),
        ("now: waiting", key(svg.bar("W", 0, 100, 0, 12))),
        ("now: training", key(svg.bar("T", 0, 100, 0, 12))),
    ]


#: A column: its name in the address, its head, its value to sort by, and whether a narrow screen leaves it out.
_Column = tuple[str, str, Callable[[Any], Any], bool]
_GROUP: tuple[_Column, ...] = (
    ("runs", "runs", lambda item: item[1].runs, True),
    ("trained", "trained", lambda item: item[1].trained, True),
    ("taken", "taken per 100 h", lambda item: item[1].rate or 0.0, False),
    ("wait", "wait for one", lambda item: item[1].wait or 0.0, False),
    ("spent", "spent", lambda item: sum(item[1].cost.values()), True),
    ("money", "saved", lambda item: sum(item[1].saved.values()), True),
    ("saved", "saved, %", lambda item: item[1].savings or 0.0, False),
)
_RUN: tuple[_Column, ...] = (
    ("state", "state", lambda fact: fact.state, False),
    ("type", "where", lambda fact: fact.type, False),
    ("began", "began", lambda fact: fact.began, False),
    ("took", "took", lambda fact: fact.took, False),
    ("taken", "interruptions", lambda fact: fact.taken, False),
    ("waited", "waited", lambda fact: fact.waited, False),
    ("trained", "trained", lambda fact: fact.trained, False),
    ("saved", "saved", lambda fact: fact.savings or 0.0, False),
    ("cost", "cost", lambda fact: fact.cost or 0, False),
)


def _sorted(
    here: _Here, table: str, columns: Sequence[_Column], first: _Column, items: Iterable[Any], default: str
) -> Any:
    """
    Return a table's heads, with the links that sort it, and its items in that order.

    :param table: its name in the address: ``sort=-types.taken``.
    :param default: the column that it is sorted by where the address names none.
    """
    sort = here.view.wanted.sort
    prefix, _, column = sort.removeprefix("-").partition(".")
    every = [first, *columns]
    keys = {name: key for name, _, key, _ in every}
    if prefix != table or column not in keys:
        sort, column = default, default.removeprefix("-")
    down = sort.startswith("-")
    heads = []
    for name, label, _, hide in every:
        is_this = name == column
        other = f"{'' if is_this and down else '-'}{table}.{name}"
        order = ("descending" if down else "ascending") if is_this else ""
        heads.append({"name": label, "path": here.link(sort=other), "order": order, "hide": hide, "key": name})
    return heads, sorted(items, key=keys[column], reverse=down)


def _group(here: _Here, table: str, name: str, groups: dict[str, Sums]) -> dict[str, Any]:
    first: _Column = ("name", name, lambda item: item[0], False)
    heads, items = _sorted(here, table, _GROUP, first, groups.items(), "-trained")
    rows = []
    for key, sums in items[:MOST_GROUPS]:
        rate = NOTHING if sums.rate is None else f"{sums.rate:.1f}"
        values = [number(sums.runs), hours(sums.trained), rate, rough(sums.wait)]
        values += [amounts(sums.cost), amounts(sums.saved), percent(sums.savings)]
        rows.append(
            {
                "name": key,
                "shown": short(key),
                "note": sums.unknown,
                "cells": list(zip(values, [c[3] for c in _GROUP], strict=True)),
            }
        )
    return {"id": table, "heads": heads, "rows": rows, "more": max(0, len(items) - MOST_GROUPS)}


def _types(here: _Here) -> dict[str, Any]:
    found = _group(here, "types", "type", here.view.types)
    for row in found["rows"]:
        row["path"] = here.link(type=row["name"])
    return {"title": "By instance type", **found}


def _dags(here: _Here) -> dict[str, Any]:
    found = _group(here, "dags", "DAG", here.view.dags)
    for row in found["rows"]:
        row["path"] = here.link(dag=row["name"])
    return {"title": "By DAG", **found}


def _interrupted(here: _Here) -> list[dict[str, Any]]:
    most = sorted((fact for fact in here.view.facts if fact.taken), key=lambda fact: (-fact.taken, -fact.began))
    return [_named(here, fact) for fact in most[:MOST_INTERRUPTED]]


def _runs(here: _Here) -> dict[str, Any]:
    first: _Column = ("task", "task", lambda fact: (fact.row.dag_id, fact.row.task_id, fact.row.run_id), False)
    heads, facts = _sorted(here, "runs", _RUN, first, here.view.facts, "-began")
    rows = [_named(here, fact) for fact in facts[:MOST_RUNS]]
    return {"heads": heads, "rows": rows, "shown": len(rows), "all": len(facts)}


def _ids(row: FleetRow) -> str:
    return f"{row.dag_id} / {row.task_id}, {row.run_id}"


__all__ = ["FleetView", "fleet", "fleet_csv", "fleet_fragment", "fleet_page"]
