"""The lane of one attempt: what it did, to scale, with its interruptions above and its checkpoints below."""

from __future__ import annotations

from collections.abc import Sequence

from airflow_spot.render import svg
from airflow_spot.render.ledger_format import AttemptLine
from airflow_spot.render.scale import Scale
from airflow_spot.render.segments import NAMES, Interruption, Segment, end_of, interruptions, segments
from airflow_spot.render.words import duration, number, rough

#: Of a lane, in pixels.
HEIGHT, TOP, THICK = 50, 12, 24
#: Of a lane in a list: nothing but its spans.
MINI = 14
#: Spans narrower than this, in percent, are drawn so wide; where there are more of them, each place is of one kind.
SLIVER, MOST_SLIVERS, CELL = 0.16, 40, 0.25
#: Interruptions nearer to each other than this are one mark.
_APART = 0.5
#: Spans narrower than this have no words over them.
_TOLD = 0.6
#: Kinds that have words in them where there is room.
_LETTERS = ("W", "T", "U")


def lane(attempt: AttemptLine, scale: Scale, t0: float, now: float, since: float | None = None) -> list[str]:
    """
    Return the marks of an attempt's lane.

    :param t0: the timeline's.
    :param now: in seconds after ``t0``, as all that follows.
    :param since: when the attempt before it ended, if there was one.
    """
    begin, end = scale.at(t0 + attempt["created"]), scale.at(t0 + end_of(attempt, now))
    marks = []
    if since is not None and attempt["created"] > since:
        marks += _gap(scale.at(t0 + since), begin, attempt["created"] - since)
    marks.append(svg.bar("track", begin, max(0.0, end - begin), TOP, THICK))
    spans = segments(attempt, now)
    marks += bars(spans, scale, t0, TOP, THICK, told=True)
    marks += _words(spans, scale, t0)
    marks += _ticks(attempt, scale, t0)
    marks += _taken(attempt, scale, t0)
    return marks


def bars(
    spans: Sequence[Segment], scale: Scale, t0: float, y: float, height: float, *, told: bool = False
) -> list[str]:
    """
    Return the marks of spans.

    :param told: what they are is shown over those that are wide enough.
    """
    placed = [(each, scale.at(t0 + each.begin), scale.at(t0 + each.end)) for each in spans]
    if sum(1 for _, x, to in placed if to - x < SLIVER) > MOST_SLIVERS:
        return _crowded(placed, y, height)
    marks = []
    for each, x, to in placed:
        width = max(to - x, min(SLIVER, 100.0 - x))
        title = ""
        if told and width >= _TOLD:
            span = f"{scale.clock(t0 + each.begin)} to {scale.clock(t0 + each.end)}"
            title = f"{NAMES[each.kind]}, {span}, {duration(each.seconds)}"
        marks.append(svg.bar(each.kind, x, width, y, height, title))
    return marks


def _crowded(placed: Sequence[tuple[Segment, float, float]], y: float, height: float) -> list[str]:
    """Return spans of which most are narrower than can be seen: in each place, the kind that takes most of it."""
    shares: dict[int, dict[str, float]] = {}
    for each, x, to in placed:
        for cell in range(int(x / CELL), int(to / CELL) + 1):
            share = min(to, (cell + 1) * CELL) - max(x, cell * CELL)
            kinds = shares.setdefault(cell, {})
            kinds[each.kind] = kinds.get(each.kind, 0.0) + max(share, 0.0) + 1e-9
    marks: list[str] = []
    run: tuple[str, int, int] | None = None
    for cell in sorted(shares):
        kind = max(shares[cell], key=lambda one: shares[cell][one])
        if run is not None and run[0] == kind and run[2] == cell:
            run = (kind, run[1], cell + 1)
            continue
        marks += _cells(run, y, height)
        run = (kind, cell, cell + 1)
    return marks + _cells(run, y, height)


def _cells(run: tuple[str, int, int] | None, y: float, height: float) -> list[str]:
    if run is None:
        return []
    x = min(100.0, run[1] * CELL)
    return [svg.bar(run[0], x, max(0.0, min(100.0, run[2] * CELL) - x), y, height)]


def _words(spans: Sequence[Segment], scale: Scale, t0: float) -> list[str]:
    """Return the words in spans that have room for them."""
    marks = []
    for each in spans:
        x = scale.at(t0 + each.begin)
        width = scale.at(t0 + each.end) - x
        if each.kind not in _LETTERS:
            continue
        time = rough(each.seconds)
        full = f"{NAMES[each.kind]} {time}"
        words = full if width >= _room(full, 350) else time
        if width < _room(words, 620):
            continue
        kind = f"in{each.kind}" + ("" if width >= _room(words, 350) else " wide")
        marks.append(svg.clipped(x, width, TOP, THICK, svg.text(kind, 0, 16.5, words, dx=7)))
    return marks


def _room(words: str, pixels: int) -> float:
    """Return how much of a picture words take, in percent, where it is so wide."""
    return 100 * (7.2 * len(words) + 12) / pixels


def _taken(attempt: AttemptLine, scale: Scale, t0: float) -> list[str]:
    """Return the interruptions; those that are too near to each other for two marks share one, which counts them."""
    places: list[tuple[float, list[Interruption]]] = []
    for each in interruptions(attempt):
        x = scale.at(t0 + each.at)
        if places and x - places[-1][0] < _APART:
            places[-1][1].append(each)
        else:
            places.append((x, [each]))
    marks = []
    for x, taken in places:
        told = f"interrupted at {scale.clock(t0 + taken[0].at)}"
        if len(taken) > 1:
            told = f"{len(taken)} interruptions from {scale.clock(t0 + taken[0].at)} on"
        elif taken[0].trained is not None:
            told += f", after {duration(taken[0].trained)} of training"
        marks.append(svg.triangle(x, told))
    return marks


def _ticks(attempt: AttemptLine, scale: Scale, t0: float) -> list[str]:
    marks = []
    last = -1.0
    for at, step in attempt["ticks"]:
        x = scale.at(t0 + at)
        if x - last < SLIVER:
            continue
        of = "" if step is None else f" of step {number(step)}"
        # Where they stand close, a word over each would be most of the page.
        told = f"checkpoint{of}, {scale.clock(t0 + at)}" if x - last >= _APART else ""
        last = x
        marks.append(svg.line("tick", x, TOP + THICK + 2, TOP + THICK + 9, told))
    return marks


def _gap(x: float, to: float, seconds: float) -> list[str]:
    """Return the time between two attempts, in which no job was there."""
    middle, words = TOP + THICK / 2, f"no job {rough(seconds)}"
    marks = [svg.across("gap", x, to, middle, f"no job for {duration(seconds)}")]
    if to - x > 11:
        marks.append(svg.text("gapt wide", (x + to) / 2, middle - 6, words, "middle"))
    return marks


def mini(attempts: Sequence[AttemptLine], scale: Scale, t0: float, now: float, height: float = MINI) -> list[str]:
    """Return all attempts of a run in one small lane: interruptions are marks across it."""
    marks = []
    for attempt in attempts:
        begin, end = scale.at(t0 + attempt["created"]), scale.at(t0 + end_of(attempt, now))
        marks.append(svg.bar("track", begin, max(0.0, end - begin), 0, height))
        marks += bars(segments(attempt, now), scale, t0, 0, height)
        last = -1.0
        for each in interruptions(attempt):
            x = scale.at(t0 + each.at)
            if x - last >= SLIVER:
                marks.append(svg.line("taken", x, -1, height + 1))
                last = x
    return marks
