"""Thinning a timeline to the size that is kept of one: the oldest goes first, and is counted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from airflow_spot.render.ledger_format import MAX_TIMELINE_BYTES, Timeline

#: What a count, and a separator, may add to the size.
_SLACK = 24


def size_of(value: Any) -> int:
    """Return the bytes of a value as Airflow's database has it at most: JSON in ASCII, with spaces."""
    return len(json.dumps(value))


def thinned(timeline: Timeline, most: int = MAX_TIMELINE_BYTES) -> Timeline:
    """
    Return a timeline of at most so many bytes: without its oldest starts, then ticks, then decisions, then attempts.

    The newest start of each attempt stays, as does the newest attempt.
    """
    over = size_of(timeline) - most
    for step in (_drop_starts, _drop_ticks, _drop_points, _drop_again, _drop_decisions, _drop_attempts):
        if over <= 0:
            break
        step(timeline, over)
        over = size_of(timeline) - most
    return timeline


def _take(over: int, counts: Iterator[int]) -> int:
    """Return how many of some pieces, each of so many bytes, make up for what is too much."""
    taken = 0
    for size in counts:
        if over <= -_SLACK:
            break
        over, taken = over - size - 2, taken + 1
    return taken


def _drop_starts(timeline: Timeline, over: int) -> None:
    for line in timeline["attempts"]:
        starts = line["starts"]
        gone = _take(over, (size_of(one) for one in starts[:-1]))
        over -= sum(size_of(one) + 2 for one in starts[:gone])
        line["starts"], line["more_starts"] = starts[gone:], line["more_starts"] + gone
        if over <= -_SLACK:
            return


def _drop_ticks(timeline: Timeline, over: int) -> None:
    for line in timeline["attempts"]:
        ticks = line["ticks"]
        gone = _take(over, (size_of(one) for one in ticks))
        over -= sum(size_of(one) + 2 for one in ticks[:gone])
        line["ticks"], line["more_ticks"] = ticks[gone:], line["more_ticks"] + gone
        if over <= -_SLACK:
            return


def _drop_points(timeline: Timeline, over: int) -> None:
    points = timeline["points"]
    timeline["points"] = points[_take(over, (size_of(one) for one in points)) :]


def _drop_again(timeline: Timeline, over: int) -> None:
    for line in timeline["attempts"]:
        gone = _take(over, (size_of(one) for one in line["again"]))
        over -= sum(size_of(one) + 2 for one in line["again"][:gone])
        line["again"] = line["again"][gone:]
        if over <= -_SLACK:
            return


def _drop_decisions(timeline: Timeline, over: int) -> None:
    decisions = timeline["decisions"]
    gone = _take(over, (size_of(one) for one in decisions[:-1]))
    timeline["decisions"], timeline["more_decisions"] = decisions[gone:], timeline["more_decisions"] + gone


def _drop_attempts(timeline: Timeline, over: int) -> None:
    attempts = timeline["attempts"]
    gone = _take(over, (size_of(one) for one in attempts[:-1]))
    timeline["attempts"], timeline["more_attempts"] = attempts[gone:], timeline["more_attempts"] + gone
