"""A run's timeline as one picture: decisions, a lane for each attempt, progress and the axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from airflow_spot.render import svg
from airflow_spot.render.lanes import HEIGHT, THICK, TOP, lane
from airflow_spot.render.ledger_format import AttemptLine, Timeline
from airflow_spot.render.progress import reported
from airflow_spot.render.scale import Mark, Scale
from airflow_spot.render.segments import end_of
from airflow_spot.render.words import clean, duration, listed, number, plural

#: The newest lanes that are seen at once where there are more than :data:`MOST_LANES`.
SHOWN_LANES, MOST_LANES = 10, 12
_PROGRESS = 56


@dataclass(frozen=True)
class Row:
    """One row of the picture: its name, what stands below it, and the marks."""

    name: str
    sub: str
    picture: Markup
    kind: str = ""


@dataclass(frozen=True)
class Picture:
    """
    A generation's timeline.

    :param older: the lanes that are folded, and ``folded``, what they are.
    :param marks: whether it shows decisions, gaps, and so on, for the legend.
    """

    grid: Markup
    over: Markup
    flags: Row | None
    decisions: Row | None
    older: list[Row]
    folded: str
    lanes: list[Row]
    progress: Row | None
    axis: Markup
    legend: list[tuple[str, Markup]]


@dataclass(frozen=True)
class Moment:
    """
    From when a page looks at a run.

    :param now: in seconds after ``t0``.
    :param live: the run continues, as far as is known.
    """

    now: float
    live: bool


def scale_of(timeline: Timeline, attempts: Sequence[AttemptLine], at: Moment, *, newest: bool) -> Scale:
    """Return the span that a generation's picture shows; a live one's with its deadline and forecast."""
    t0 = timeline["t0"]
    begins = [each["created"] for each in attempts] or [min(timeline["since"], at.now)]
    ends = [end_of(each, at.now) for each in attempts] or [at.now]
    if newest and at.live:
        ends += [at.now, *(timeline["forecast"] or [])]
        ends += [timeline["deadline"]] if timeline["deadline"] is not None else []
    return Scale.over(t0 + min(begins), t0 + max([*ends, min(begins) + 1.0]))


def draw(
    timeline: Timeline,
    attempts: Sequence[AttemptLine],
    decisions: Sequence[tuple[int, float, str, str]],
    at: Moment,
    *,
    newest: bool,
) -> Picture:
    """
    Draw a generation.

    :param attempts: its own, oldest first.
    :param decisions: number, time, what and why, of this generation.
    :param newest: it is the run's newest: what is yet to come is shown too.
    """
    t0, scale = timeline["t0"], scale_of(timeline, attempts, at, newest=newest)
    ahead = newest and at.live
    rows = []
    since = None
    tries = len({each["tried_by"] for each in timeline["attempts"]}) > 1
    for attempt in attempts:
        marks = lane(attempt, scale, t0, at.now, since)
        if ahead and attempt is attempts[-1] and attempt["ended"] is None:
            marks += _forecast(timeline, scale, t0, at.now)
        rows.append(_row(attempt, marks, at.now, tries=tries))
        since = max(since or 0.0, end_of(attempt, at.now))
    fold = len(rows) - SHOWN_LANES if len(rows) > MOST_LANES else 0
    axis = scale.marks()
    progress = _progress(timeline, scale, at, ahead=ahead)
    return Picture(
        grid=svg.picture(0, [svg.line("grid", mark.x) for mark in axis], kind="behind"),
        over=svg.picture(0, _lines(timeline, scale, at) if ahead else [], kind="before"),
        flags=_flags(timeline, scale, at) if ahead else None,
        decisions=_decisions(decisions, scale, t0) if decisions else None,
        older=rows[:fold],
        folded=_folded(attempts[:fold]) if fold else "",
        lanes=rows[fold:],
        progress=progress,
        axis=_axis(axis),
        legend=_legend(attempts, timeline, at, ahead=ahead),
    )


def place(attempt: AttemptLine) -> str:
    """Return where an attempt runs: ``2 x ml.g5.xlarge``; nothing where only a list told of it."""
    if not attempt["type"]:
        return ""
    return f"{attempt['count']} x {attempt['type']}" if attempt["count"] != 1 else attempt["type"]


def market(attempt: AttemptLine) -> str:
    """Return whether an attempt is on spot; nothing where only a list told of it."""
    return "" if not attempt["type"] else "spot" if attempt["spot"] else "on-demand"


def ending(attempt: AttemptLine) -> str:
    """Return how an attempt ended, or what it does."""
    known = attempt["label"] or attempt["outcome"]
    if attempt["outcome"] is None and attempt["ended"] is not None:
        known = attempt["status"].lower()
    return clean(known or attempt["secondary_status"].lower() or "in progress")


def title(attempt: AttemptLine) -> str:
    """Return how people know an attempt: ``Attempt 2``, ``Probe 1``."""
    return f"{(attempt['role'] or 'attempt').capitalize()} {attempt['number']}"


def _row(attempt: AttemptLine, marks: list[str], now: float, *, tries: bool) -> Row:
    role = "" if attempt["role"] in ("", "attempt") else f"{attempt['role']} "
    told = (
        f"{title(attempt)} on {place(attempt)} {market(attempt)}: {ending(attempt)}, "
        f"{plural(attempt['interruptions'], 'interruption')}, trained {duration(attempt['training_seconds'])}"
    )
    by = f"try {attempt['tried_by']}" if tries and attempt["tried_by"] is not None else ""
    return Row(
        listed((f"{role}{attempt['number']}", place(attempt))),
        listed((market(attempt), ending(attempt), by)),
        svg.picture(HEIGHT, marks, told),
        "probe" if role else "",
    )


def _folded(attempts: Sequence[AttemptLine]) -> str:
    taken = sum(each["interruptions"] for each in attempts)
    trained = sum(each["training_seconds"] for each in attempts)
    parts = (plural(len(attempts), "earlier attempt"), plural(taken, "interruption"), f"trained {duration(trained)}")
    return ", ".join(parts)


def _lines(timeline: Timeline, scale: Scale, at: Moment) -> list[str]:
    """Return the upright lines across all lanes: now, and the deadline."""
    t0 = timeline["t0"]
    marks = [svg.line("now", scale.at(t0 + at.now))]
    if timeline["deadline"] is not None:
        marks.append(svg.line("dead", scale.at(t0 + timeline["deadline"])))
    return marks


def _flags(timeline: Timeline, scale: Scale, at: Moment) -> Row:
    """Return the names of those lines, in two rows where they would meet."""
    t0, now = timeline["t0"], timeline["t0"] + at.now
    flags = [(scale.at(now), "nowt", f"now {scale.clock(now)}")]
    if timeline["deadline"] is not None:
        deadline = t0 + timeline["deadline"]
        flags.append((scale.at(deadline), "deadt", f"deadline {scale.clock(deadline)}"))
    meet = len(flags) > 1 and abs(flags[0][0] - flags[1][0]) < 55
    marks = []
    for row, (x, kind, words) in enumerate(flags):
        left = x > 50
        y = 13 + (16 * row if meet else 0)
        marks.append(svg.text(kind, x, y, words, "end" if left else "start", -5 if left else 5))
    return Row("", "", svg.picture(34 if meet else 18, marks), "upper")


def _decisions(decisions: Sequence[tuple[int, float, str, str]], scale: Scale, t0: float) -> Row:
    """Return the decisions as numbers in circles, in three rows at most; where there is no room, they are told only."""
    ends = [-99.0, -99.0, -99.0]
    marks = []
    for number_, time, what, why in decisions:
        x = scale.at(t0 + time)
        row = next((row for row, end in enumerate(ends) if x - end >= 5.6), None)
        if row is None:
            continue
        ends[row] = x
        y = 11 + 21 * row
        told = escape(clean(f"{scale.clock(t0 + time)} {what}: {why}", 400))
        at = f'x="{svg.number(x)}%" y="{y + 4}"'
        marks.append(
            f'<g class="decision"><title>{told}</title><circle cx="{svg.number(x)}%" cy="{y}" r="9"/>'
            f'<text {at} text-anchor="middle">{number_}</text></g>'
        )
    rows = sum(1 for end in ends if end >= 0)
    words = f"{plural(len(decisions), 'decision')}, listed below"
    return Row("", "decisions", svg.picture(22 * max(1, rows), marks, words), "upper")


def _forecast(timeline: Timeline, scale: Scale, t0: float, now: float) -> list[str]:
    if timeline["forecast"] is None:
        return []
    early, likely, late = sorted(timeline["forecast"])
    x, to = scale.at(t0 + now), scale.at(t0 + late)
    middle = scale.at(t0 + likely)
    told = (
        f"expected to end at {scale.clock(t0 + likely)}, between {scale.clock(t0 + early)} and {scale.clock(t0 + late)}"
    )
    marks = [
        svg.bar("cast", x, max(0.0, middle - x), TOP + 5, THICK - 10, told),
        svg.bar("cast2", scale.at(t0 + early), max(0.0, to - scale.at(t0 + early)), TOP, THICK, told),
        svg.line("castl", middle, TOP - 3, TOP + THICK + 3),
    ]
    if to - x > 16:
        words = f"forecast {scale.clock(t0 + likely)}"
        marks.append(svg.text("castt", middle, TOP + 16.5, words, "end", -7))
    return marks


def _progress(timeline: Timeline, scale: Scale, at: Moment, *, ahead: bool) -> Row | None:
    """Return how far the script said that it was; None where it never did in this picture's time."""
    t0 = timeline["t0"]
    points = [(t0 + time, step) for time, step in timeline["points"] if scale.begin <= t0 + time <= scale.end]
    if len(points) < 2:
        return None
    _, total = reported(timeline)
    top = max([step for _, step in points] + ([total] if total else []))
    if top <= 0:
        return None

    def spot(time: float, step: float) -> str:
        return f"{10 * scale.at(time):.0f},{_PROGRESS - 2 - (_PROGRESS - 6) * min(1.0, max(0.0, step / top)):.1f}"

    stride = max(1, len(points) // 600)
    thinned = [*points[:-1:stride], points[-1]]
    path = " ".join(spot(*each) for each in thinned)
    begin, end = (f"{10 * scale.at(thinned[index][0]):.0f}" for index in (0, -1))
    marks = [
        f'<polygon class="proga" points="{begin},{_PROGRESS} {path} {end},{_PROGRESS}"/>',
        f'<polyline class="prog" points="{path}"/>',
    ]
    if ahead and timeline["forecast"] is not None and total:
        goal = spot(t0 + sorted(timeline["forecast"])[1], top)
        marks.append(f'<polyline class="progc" points="{spot(t0 + at.now, points[-1][1])} {goal}"/>')
    # The one picture that is stretched: a curve has no words in it, and its line keeps its thickness.
    inner = (
        f'<svg viewBox="0 0 1000 {_PROGRESS}" height="{_PROGRESS}" preserveAspectRatio="none">{"".join(marks)}</svg>'
    )
    words = f"step {number(points[-1][1])}" + (f" of {number(total)}" if total else "")
    return Row("Progress", words, svg.picture(_PROGRESS + 4, [inner], f"progress: {words}"))


def _axis(marks: Sequence[Mark]) -> Markup:
    out = []
    for index, mark in enumerate(marks):
        anchor = "start" if mark.x < 3.5 else "end" if mark.x > 96 else "middle"
        # Every second one goes where there is little room.
        out.append(svg.text("ax wide" if index % 2 else "ax", mark.x, 13, mark.label, anchor))
    return svg.picture(18, out)


def _legend(
    attempts: Sequence[AttemptLine], timeline: Timeline, at: Moment, *, ahead: bool
) -> list[tuple[str, Markup]]:
    """Return the marks that this picture has, each with its name."""

    def key(*marks: str) -> Markup:
        return svg.picture(12, marks, kind="key")

    def patch(kind: str) -> Markup:
        return key(svg.bar(kind, 0, 100, 0, 12))

    found = [("waiting for capacity", patch("W")), ("starting", patch("S")), ("training", patch("T"))]
    if any(each["again"] for each in attempts):
        found.append(("lost, trained again", patch("R")))
    if any(each["uploading"] for each in attempts):
        found.append(("uploading", patch("U")))
    if any(each["interruptions"] for each in attempts):
        found.append(("interruption", key('<path class="I" d="M3 1H15L9 11Z"/>')))
    if any(each["ticks"] for each in attempts):
        found.append(("checkpoint", key(svg.line("tick", 50, 2, 10))))
    if len(attempts) > 1:
        found.append(("no job", key(svg.across("gap", 0, 100, 6))))
    if ahead and timeline["deadline"] is not None:
        found.append(("deadline", key(svg.line("dead", 50, 0, 12))))
    if ahead and timeline["forecast"] is not None:
        found.append(("forecast, early to late", key(svg.bar("cast2", 0, 100, 0, 12), svg.bar("cast", 0, 60, 3, 6))))
    return found
