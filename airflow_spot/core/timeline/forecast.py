"""When a run that has a deadline is expected to end: by the pace of its attempt, as its script tells it."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise

from airflow_spot.core.timeline.phase import phase_of
from airflow_spot.core.timeline.state import LedgerState

#: Beyond so many seconds nothing is said: a pace of next to nothing has no end.
_FARTHEST = 400 * 86_400.0
#: So long a span tells a pace.
_LEAST = 60.0


def expected_end(state: LedgerState, now: datetime) -> tuple[datetime, datetime, datetime] | None:
    """
    Return the earliest, likely and latest moment at which the training is done; None where that cannot be told.

    Likely is the pace of this attempt so far, with its waits and what it lost; early is the pace without them. Late is
    the pace of all attempts of the generation, where it is slower.

    :param now: by AWS's clock.
    """
    job, reported = state.live, state.reported
    if state.deadline is None or job is None or job.created is None or state.is_over:
        return None
    if reported is None or reported.total is None or reported.step >= reported.total:
        return None
    begun = min(each.created for each in state.attempts if each.created is not None)
    whole = [point for point in state.points if point[0] >= begun]
    points = [point for point in whole if point[0] >= job.created]
    likely = _pace(points[:1], points[-1:])
    if likely is None:
        return None
    rises = [pair for pair in pairwise(points) if pair[1][1] > pair[0][1]]
    seconds = sum((after[0] - before[0]).total_seconds() for before, after in rises)
    trained = sum(after[1] - before[1] for before, after in rises) / seconds if seconds > 0 else likely
    # While it does not train, the clock goes on and the work does not.
    since = reported.at if phase_of(state).state == "training" else max(now, reported.at)
    left = reported.total - reported.step
    paces = [each for each in (trained, likely, _pace(whole[:1], points[-1:])) if each is not None]
    spans = (left / max(paces), left / likely, left / min(paces))
    if spans[2] > _FARTHEST:
        return None
    early, middle, late = (since + timedelta(seconds=span) for span in spans)
    return early, middle, late


def _pace(first: list[tuple[datetime, int]], last: list[tuple[datetime, int]]) -> float | None:
    """Return steps a second from one report to another; None where there is none."""
    if not first or not last:
        return None
    seconds, steps = (last[0][0] - first[0][0]).total_seconds(), last[0][1] - first[0][1]
    return steps / seconds if seconds >= _LEAST and steps > 0 else None
