"""Where on its ladder a try stands, and how long it has waited: read from its attempts and refusals alone."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from airflow_spot.core.history import Attempt, History, Refusal
from airflow_spot.core.ladder import Rung
from airflow_spot.core.outcomes import Outcome

#: Nothing to train on where the attempt was: the next rung's turn.
CAPACITY_OUTCOMES = frozenset(
    {Outcome.NO_CAPACITY, Outcome.CAPACITY_TIMEOUT, Outcome.RUNG_TIMEOUT, Outcome.QUOTA_EXCEEDED}
)
#: And those that are known at once, so that to try again without a pause would hammer.
_AT_ONCE = frozenset({Outcome.NO_CAPACITY, Outcome.QUOTA_EXCEEDED})


@dataclass(frozen=True)
class Position:
    """
    Where a try stands.

    :param index: the rung that is next.
    :param again: how many pauses in a row have gone before, for the next one's length; None where none is due.
    """

    index: int = 0
    again: int | None = None


def events(history: History) -> tuple[Attempt | Refusal, ...]:
    """Put what counts for this try in order: a refused create comes before the attempt that took its number."""
    mixed: list[Attempt | Refusal] = [*history.refusals, *history.of_this_try]
    return tuple(sorted(mixed, key=lambda event: (event.number, isinstance(event, Attempt))))


def position(ladder: Sequence[Rung], past: Sequence[Attempt | Refusal]) -> Position:
    """
    Go along the ladder once more, as the outcomes say.

    A rung is left after as many misses as it has ``attempts``; after one where a quota is the reason, since that
    does not change by asking again. Behind the last rung is the first. Whatever else ended an attempt, the next
    one is on the same rung. Once round, and before the same rung is asked again, a pause is due; each is longer
    than the last until something trains.
    """
    names = {str(rung): index for index, rung in enumerate(ladder)}
    index = used = pauses = 0
    due: int | None = None
    for event in past:
        at = names.get(event.rung)
        if at is not None and at != index:
            index, used = at, 0
        if isinstance(event, Attempt) and event.trained:
            pauses = 0
        due = None
        if event.outcome not in CAPACITY_OUTCOMES:
            continue
        used += 1
        before, rounded = index, False
        if used >= int(ladder[index].attempts) or event.outcome is Outcome.QUOTA_EXCEEDED:
            index, used = (index + 1) % len(ladder), 0
            rounded = index == 0
        # A wait that was had in full is pause enough.
        if (rounded or index == before) and event.outcome in _AT_ONCE:
            due, pauses = pauses, pauses + 1
    return Position(index, due)


def backoff_until(key: str, last: Attempt | Refusal, again: int, base: float, cap: float) -> datetime | None:
    """
    Say when the pause after the newest event is over.

    It doubles each time up to the cap, less up to half by a hash of the run: so that a hundred tasks do not come
    back at once, and every look at the same history gives the same moment.

    :param again: how many pauses in a row have gone before.
    :param base: and ``cap``: seconds.
    :return: None where it cannot be told from when it counts, or its turn has come.
    """
    since = last.at if isinstance(last, Refusal) else last.ended
    if since is None or (isinstance(last, Refusal) and last.waited):
        return None
    pause = min(cap, base * 2.0 ** min(again, 30))
    share = hashlib.sha256(f"{key}-{last.number}-{again}".encode()).digest()[0] / 255
    return since + timedelta(seconds=pause * (1 - share / 2))


def waited(past: Sequence[Attempt | Refusal], now: datetime) -> float:
    """Sum up the seconds since a try's first attempt in which no job of it had its instances."""
    begun = [moment for event in past if (moment := _begun(event)) is not None]
    if not begun:
        return 0.0
    worked = 0.0
    for event in past:
        if isinstance(event, Attempt):
            worked += event.active_seconds
            if event.working_since is not None:
                worked += max(
                    0.0, (((None if event.live else event.ended) or now) - event.working_since).total_seconds()
                )
    return max(0.0, (now - min(begun)).total_seconds() - worked)


def _begun(event: Attempt | Refusal) -> datetime | None:
    return event.at if isinstance(event, Refusal) else event.created
