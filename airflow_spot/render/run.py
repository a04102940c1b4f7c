"""The page of a run: one task instance in whole, or the small lanes of several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from airflow_spot.render import attempts, pages, routes
from airflow_spot.render.ledger_format import OVER, AttemptLine, Timeline
from airflow_spot.render.picture import MOST_LANES, SHOWN_LANES, Moment, Picture, draw, ending, scale_of
from airflow_spot.render.reading import read_timeline
from airflow_spot.render.several import several
from airflow_spot.render.story import Line, story
from airflow_spot.render.tiles import run_tiles
from airflow_spot.render.values import Actions, Viewed, Where
from airflow_spot.render.words import (
    AIRFLOW_OVER,
    clean,
    duration,
    full_time,
    listed,
    plural,
    rough,
    sentence,
    short_time,
    state_words,
)

_PURPOSE = (
    "This tab shows the spot training of a task: when it waited for capacity, when its instances were taken, what it "
    "resumed from, what it cost, and why everything was done."
)
_START = "A task that is a SageMakerTrainingOperator becomes one by its import:"


#: The newest lines of the story that are seen at once where there are more than the latter.
SHOWN_LINES, MOST_LINES = 30, 40


@dataclass(frozen=True)
class Notice:
    """What is to be seen first."""

    head: str
    text: str = ""
    kind: str = ""


@dataclass(frozen=True)
class Act:
    """What a viewer may ask for: by a button, or by a command to copy."""

    name: str
    label: str
    text: str
    button: str = ""
    path: str = ""
    command: str = ""
    go: bool = False


@dataclass(frozen=True)
class Generation:
    """One generation of a run: all attempts since it was cleared, or since its beginning."""

    number: int
    note: str
    summary: str
    picture: Picture
    older: list[attempts.Line]
    lines: list[attempts.Line]
    sum: attempts.Line | None
    earlier: list[Line]
    story: list[Line]
    left_out: str


def run_page(views: Sequence[Viewed], where: Where, actions: Actions, now: float) -> str:
    """
    Return the page of what is given: nothing, one task instance, or several.

    :param now: in seconds since 1970.
    """
    title = f"Spot training of {views[0].task_id}" if views else "Spot training"
    path = _path(views, where)
    source = routes.fragment(where.base, path) if path and where.live else ""
    return pages.page(clean(title), where, Markup(run_fragment(views, where, actions, now)), source)  # noqa: S704


def run_fragment(views: Sequence[Viewed], where: Where, actions: Actions, now: float) -> str:
    """
    Return the part of the page that changes. What it says of a live run changes with ``now`` too.

    :param now: in seconds since 1970.
    """
    if len(views) > 1:
        return several(views, where, now)
    if not views:
        return pages.fragment(
            "empty.html", heading="Spot training", ids="", trail=[], notices=[], **_nothing("", where)
        )
    view = views[0]
    read = read_timeline(view.timeline) if view.timeline is not None else view.problem
    if isinstance(read, str):
        return _unread(view, read or view.problem, where)
    return _one(view, read, where, actions, now)


def _path(views: Sequence[Viewed], where: Where) -> str:
    if not views:
        return ""
    first = views[0]
    if len(views) == 1:
        return routes.task(where.base, first.dag_id, first.run_id, first.task_id, first.map_index)
    return routes.run(where.base, first.dag_id, first.run_id)


def _nothing(state: str, where: Where, *, start: bool = True) -> dict[str, Any]:
    return {
        "purpose": _PURPOSE,
        "start": _START if start else "",
        "every": pages.EVERY if where.live and may_follow(state) else 0,
    }


def _unread(view: Viewed, problem: str, where: Where) -> str:
    """Return the page of a task instance that has no ledger, or none that can be read."""
    notices = [Notice("The run's record cannot be shown.", sentence(clean(problem)), "bad")] if problem else []
    if not problem:
        state = f" (in Airflow: {view.state})" if view.state else ""
        notices = [Notice("No spot training to show.", f"This task has none, or has not begun it yet{state}.")]
    return pages.fragment(
        "empty.html",
        heading=f"Spot training of {view.task_id}",
        ids=_ids(view),
        trail=pages.trail(where, view.dag_id, view.run_id),
        notices=notices,
        **_nothing(view.state, where, start=not problem),
    )


def _ids(view: Viewed, *more: str) -> str:
    mapped = f"map index {view.map_index}" if view.map_index >= 0 else ""
    return listed((mapped, *more))


def moment(timeline: Timeline, airflow_state: str, now: float) -> Moment:
    """
    Return from when a run is looked at. Where Airflow's task is over, what the ledger says last is all that will come.

    :param now: in seconds since 1970.
    """
    over = timeline["state"] in OVER
    if over or airflow_state in AIRFLOW_OVER:
        return Moment(timeline["updated"], live=False)
    return Moment(max(now - timeline["t0"], timeline["updated"]), live=True)


def may_follow(airflow_state: str) -> bool:
    """Return whether Airflow's task is not over: of a ledger that is, a retry makes a new one."""
    return bool(airflow_state) and airflow_state not in AIRFLOW_OVER


def _one(view: Viewed, timeline: Timeline, where: Where, actions: Actions, now: float) -> str:
    at = moment(timeline, view.state, now)
    links = pages.safe_links(view.links)
    numbers = sorted({each["generation"] for each in timeline["attempts"]} | {timeline["generation"]}, reverse=True)
    generations = [_generation(timeline, number, at, links, newest=index == 0) for index, number in enumerate(numbers)]
    newest = [each for each in timeline["attempts"] if each["generation"] == numbers[0]]
    words, kind = state_words(timeline["state"])
    if at.live:
        words = listed((words, rough(max(0.0, at.now - timeline["since"]))))
    elif timeline["state"] not in OVER:
        words, kind = f"Last seen: {words.lower()}", "dim"
    tried = f"try {timeline['try_number']}" if timeline["try_number"] > 1 else ""
    return pages.fragment(
        "run.html",
        every=pages.EVERY if where.live and (at.live or may_follow(view.state)) else 0,
        heading=f"Spot training of {view.task_id}",
        state=words,
        state_kind=kind,
        links=links,
        acts=_acts(view, timeline, where, actions) if at.live else [],
        trail=pages.trail(where, view.dag_id, view.run_id),
        ids=_ids(view, tried, f"run {timeline['key']}" if timeline["key"] else ""),
        notices=_notices(view, timeline, at, now),
        tiles=run_tiles(timeline, newest, at, scale_of(timeline, newest, at, newest=True)),
        generations=generations,
    )


def _generation(
    timeline: Timeline, number: int, at: Moment, links: Sequence[tuple[str, str]], *, newest: bool
) -> Generation:
    its = [each for each in timeline["attempts"] if each["generation"] == number]
    decisions = [one for one in _numbered(timeline) if _generation_at(timeline, one[1]) == number]
    scale = scale_of(timeline, its, at, newest=newest)
    note = f"times in UTC, from {full_time(scale.begin).rsplit(',', 1)[0]}"
    if newest and at.live:
        note += f" · refreshes every {pages.EVERY} s"
    left_out = [
        (timeline["more_attempts"] if newest else 0, "older attempt"),
        (timeline["more_decisions"] if newest else 0, "older decision"),
        (sum(each["more_starts"] for each in its), "older start"),
    ]
    last = its[-1] if its else None
    lines = attempts.lines(timeline, its, at, links)
    told = story(timeline, its, decisions, at, scale)
    # An earlier generation is folded as a whole.
    fold = len(lines) - SHOWN_LANES if newest and len(lines) > MOST_LANES else 0
    hidden = len(told) - SHOWN_LINES if newest and len(told) > MOST_LINES else 0
    return Generation(
        number=number,
        note=note,
        summary=listed(
            (
                plural(len(its), "attempt"),
                ending(last) if last else "no attempt yet",
                f"trained {duration(sum(each['training_seconds'] for each in its))}",
                f"from {full_time(scale.begin)}",
            )
        ),
        picture=draw(timeline, its, decisions, at, newest=newest),
        older=lines[:fold],
        lines=lines[fold:],
        sum=attempts.total(timeline, at) if newest and len(its) > 1 else None,
        earlier=told[:hidden],
        story=told[hidden:],
        left_out=", ".join(f"{plural(count, what)} left out" for count, what in left_out if count),
    )


def _numbered(timeline: Timeline) -> list[tuple[int, float, str, str]]:
    first = 1 + timeline["more_decisions"]
    return [(first + index, *decision) for index, decision in enumerate(timeline["decisions"])]


def _generation_at(timeline: Timeline, time: float) -> int:
    """
    Return the generation that a decision is of.

    One is decided on up to a minute before its first job is there, but not before the generation before it has ended.
    """
    found: int | None = None
    over = float("-inf")
    for number in sorted({each["generation"] for each in timeline["attempts"]}):
        its = [each for each in timeline["attempts"] if each["generation"] == number]
        begin = min(each["created"] for each in its)
        if found is None or time >= begin or time > max(over, begin - 60.0):
            found = number
        over = max(each["ended"] if each["ended"] is not None else each["created"] for each in its)
    return timeline["generation"] if found is None else found


def _notices(view: Viewed, timeline: Timeline, at: Moment, now: float) -> list[Notice]:
    found = []
    state, reason = timeline["state"], clean(timeline["reason"])
    if state == "failed":
        found.append(Notice("Failed:" if reason else "Failed.", reason, "bad"))
    elif state in ("stopped", "left"):
        words, _ = state_words(state)
        found.append(Notice(f"{words}:" if reason else f"{words}.", reason))
    elif state in ("waiting", "pausing") and reason not in ("", "capacity") and at.live:  # the state says that much
        found.append(Notice("Waiting:", reason, "wait"))
    if state not in OVER and not at.live:
        as_of = short_time(timeline["t0"] + timeline["updated"], now)
        found.append(
            Notice(
                f"Airflow's task is over: {clean(view.state)}.", f"This is what was known of the run at {as_of} UTC."
            )
        )
    if view.problem:
        found.append(Notice(sentence(clean(view.problem))))
    return found


def _acts(view: Viewed, timeline: Timeline, where: Where, actions: Actions) -> list[Act]:
    if not actions.allowed:
        return []
    if actions.commands:
        text = "Airflow's web server does not reach AWS. This command does it, where there are credentials:"
        return [Act(f"c{index}", name, text, command=command) for index, (name, command) in enumerate(actions.commands)]
    path = routes.task(where.base, view.dag_id, view.run_id, view.task_id, view.map_index)
    newest: AttemptLine | None = timeline["attempts"][-1] if timeline["attempts"] else None
    found = []
    if newest is None or newest["spot"]:
        text = (
            "The job is stopped, its checkpoint stays, and the run resumes from it on the first on-demand rung of its "
            "ladder: that costs more, and is not interrupted. Without such a rung it continues where it was."
        )
        to = routes.action(where.base, path, routes.ON_DEMAND)
        found.append(Act(routes.ON_DEMAND, "Go to on-demand now", text, "Go to on-demand", to, go=True))
    text = "The job is stopped and the task fails. The checkpoint stays: clear the task to resume from it."
    to = routes.action(where.base, path, routes.STOP)
    found.append(Act(routes.STOP, "Stop, keep the checkpoint", text, "Stop the training", to))
    return found
