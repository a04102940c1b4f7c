"""Several task instances on one page, of a DAG run or of a mapped task: a small lane each, on one scale."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from markupsafe import Markup

from airflow_spot.render import pages, routes, svg
from airflow_spot.render.lanes import MINI, mini
from airflow_spot.render.ledger_format import OVER, AttemptLine, Timeline
from airflow_spot.render.picture import Moment, market, place
from airflow_spot.render.reading import read_timeline
from airflow_spot.render.scale import Scale
from airflow_spot.render.segments import end_of
from airflow_spot.render.tiles import Tile, figure, plus
from airflow_spot.render.values import Viewed, Where
from airflow_spot.render.words import (
    AIRFLOW_OVER,
    NOTHING,
    duration,
    full_time,
    listed,
    money,
    money_json,
    number,
    percent,
    plural,
    read_money,
    rough,
    short,
    state_words,
)

#: So many rows are shown, and summed up; each has its own page, and the fleet's page has them all.
MOST_ROWS = 150


@dataclass(frozen=True)
class Row:
    """One task instance of the table."""

    name: str
    path: str
    state: str
    kind: str
    problem: str = ""
    picture: Markup | str = ""
    place: str = ""
    attempts: str = ""
    interruptions: str = ""
    waited: str = ""
    trained: str = ""
    saved: str = ""
    cost: str = ""


@dataclass(frozen=True)
class Group:
    """The task instances of one task."""

    name: str
    note: str
    rows: list[Row]
    axis: str
    legend: list[tuple[str, Markup]]


@dataclass(frozen=True)
class _Known:
    view: Viewed
    timeline: Timeline | None
    problem: str
    at: Moment


def several(views: Sequence[Viewed], where: Where, now: float) -> str:
    """
    Return the fragment of several task instances.

    :param now: in seconds since 1970.
    """
    known = [_know(view, now) for view in sorted(views, key=lambda one: (one.task_id, one.map_index))]
    shown = known[:MOST_ROWS]
    live = any(
        one.view.state not in AIRFLOW_OVER if one.view.state else one.at.live
        for one in known
        if one.timeline is not None or not one.problem
    )
    tasks: dict[str, list[_Known]] = {}
    for one in shown:
        tasks.setdefault(one.view.task_id, []).append(one)
    first = views[0]
    left = len(known) - len(shown)
    return pages.fragment(
        "several.html",
        every=pages.EVERY if where.live and live else 0,
        heading="Spot trainings of this run" if len(tasks) > 1 else f"Spot trainings of {first.task_id}",
        trail=pages.trail(where, first.dag_id, first.run_id)[:1],
        ids=listed((first.run_id, plural(len(known), "task instance"))),
        tiles=_tiles(shown),
        groups=[_group(name, members, where) for name, members in tasks.items()],
        more=f"{plural(left, 'more task instance')} not shown here, nor in the sums." if left else "",
    )


def _know(view: Viewed, now: float) -> _Known:
    read = read_timeline(view.timeline) if view.timeline is not None else view.problem
    over = view.state in AIRFLOW_OVER
    if isinstance(read, str):
        return _Known(view, None, read, Moment(0.0, live=not over))
    if over or read["state"] in OVER:
        return _Known(view, read, view.problem, Moment(read["updated"], live=False))
    return _Known(view, read, view.problem, Moment(max(now - read["t0"], read["updated"]), live=True))


def _group(name: str, members: Sequence[_Known], where: Where) -> Group:
    scale = _scale(members)
    states: dict[str, int] = {}
    for one in members:
        words = state_words(one.timeline["state"])[0] if one.timeline else "no training to show"
        states[words] = states.get(words, 0) + 1
    patches = [(words, svg.picture(12, [svg.bar(kind, 0, 100, 0, 12)], kind="key")) for kind, words in _LEGEND]
    taken = svg.picture(12, [svg.line("taken", 50, 0, 12)], kind="key")
    begin, end = full_time(scale.begin), full_time(scale.end)
    return Group(
        name=name,
        note=listed(f"{count} {words.lower()}" for words, count in states.items()),
        rows=[_row(one, scale, where) for one in members],
        axis=f"All timelines are on one scale, from {begin} to {end}." if any(one.timeline for one in members) else "",
        legend=[*patches, ("interruption", taken)],
    )


_LEGEND = (
    ("W", "waiting for capacity"),
    ("S", "starting"),
    ("T", "training"),
    ("R", "lost, trained again"),
    ("U", "uploading"),
)


def _scale(members: Iterable[_Known]) -> Scale:
    begins, ends = [], []
    for one in members:
        if one.timeline is None:
            continue
        t0 = one.timeline["t0"]
        for attempt in _newest(one.timeline):
            begins.append(t0 + attempt["created"])
            ends.append(t0 + end_of(attempt, one.at.now))
        if one.at.live:
            ends.append(t0 + one.at.now)
    begin = min(begins, default=0.0)
    return Scale.over(begin, max([*ends, begin + 1.0]))


def _newest(timeline: Timeline) -> list[AttemptLine]:
    """Return the attempts of a run's newest generation: an earlier one may be days older."""
    generation = max((each["generation"] for each in timeline["attempts"]), default=timeline["generation"])
    return [each for each in timeline["attempts"] if each["generation"] == generation]


def _row(one: _Known, scale: Scale, where: Where) -> Row:
    view, timeline = one.view, one.timeline
    name = short(view.task_id) + (f" [{view.map_index}]" if view.map_index >= 0 else "")
    path = routes.task(where.base, view.dag_id, view.run_id, view.task_id, view.map_index)
    words, kind = state_words(timeline["state"]) if timeline else ("No training to show", "dim")
    row = Row(name=name, path=path, state=words, kind=kind, problem=one.problem)
    if timeline is None:
        return replace(row, problem=one.problem or (f"in Airflow: {view.state}" if view.state else ""))
    totals = timeline["totals"]
    its = _newest(timeline)
    marks = mini(its, scale, timeline["t0"], one.at.now)
    taken = figure(totals, "interruptions")
    trained = plus(figure(totals, "training_seconds"), timeline, one.at, "training")
    told = f"{words}, {plural(int(taken or 0), 'interruption')}, trained {duration(trained)}"
    since = rough(max(0.0, one.at.now - timeline["since"])) if one.at.live else ""
    return replace(
        row,
        state=listed((words, since)),
        problem=one.problem or (timeline["reason"] if timeline["state"] in ("failed", "stopped") else ""),
        picture=svg.picture(MINI, marks, told),
        place=f"{place(its[-1])} {market(its[-1])}" if its else "",
        attempts=number(len(its)),
        interruptions=number(taken or 0),
        waited=rough(plus(figure(totals, "waited_seconds"), timeline, one.at, "waiting")),
        trained=rough(trained),
        saved=percent(figure(totals, "savings_percent")),
        cost=money_json(totals.get("cost")),
    )


def _tiles(known: Sequence[_Known]) -> list[Tile]:
    timelines = [one.timeline for one in known if one.timeline is not None]
    over = sum(1 for each in timelines if each["state"] == "completed")
    failed = sum(1 for each in timelines if each["state"] == "failed")

    def together(key: str) -> float:
        return sum(figure(each["totals"], key) or 0 for each in timelines)

    def seconds(key: str, state: str) -> float:
        found = ((one, one.timeline) for one in known)
        return sum(plus(figure(each["totals"], key), each, one.at, state) or 0 for one, each in found if each)

    taken = sum(1 for each in timelines if figure(each["totals"], "interruptions"))
    return [
        Tile(
            "Completed",
            f"{over} of {len(known)}",
            f"{failed} failed" if failed else "none failed",
            "bad" if failed else "",
        ),
        Tile("Interruptions", number(together("interruptions")), f"in {plural(taken, 'training')}"),
        Tile("Waited", rough(seconds("waited_seconds", "waiting")), "for capacity, together"),
        Tile("Trained", rough(seconds("training_seconds", "training")), "together"),
        _money_tile("Saved", timelines, "saved"),
        _money_tile("Cost", timelines, "cost"),
    ]


def _money_tile(name: str, timelines: Sequence[Timeline], key: str) -> Tile:
    """Return a sum of money, and of how many it is known. Currencies are never added."""
    sums: dict[str, Decimal] = {}
    count = 0
    for each in timelines:
        if (read := read_money(each["totals"].get(key))) is not None:
            count += 1
            sums[read[1]] = sums.get(read[1], Decimal(0)) + read[0]
    if not sums:
        return Tile(name, NOTHING, "no price is known")
    note = "of what was billed" if key == "cost" else "against on-demand"
    known = note if count == len(timelines) else f"known of {count} of {len(timelines)}"
    return Tile(name, " + ".join(money(amount, currency) for currency, amount in sorted(sums.items())), known)
