"""The default policy: along a ladder of rungs, one after the other, and round again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from airflow_spot.core.attempt import Attempt
from airflow_spot.core.backoff import Backoff
from airflow_spot.core.durations import human
from airflow_spot.core.history import PastEvent
from airflow_spot.core.ladder import ON_OUT_OF_MEMORY, Rung
from airflow_spot.core.marks import RequestMark
from airflow_spot.core.outcomes import CAPACITY_OUTCOMES, Outcome
from airflow_spot.core.policy import Move, NextRung, Stay
from airflow_spot.core.stop_reasons import StopReason

#: Refusals that are known at once, so that to try again without a pause would hammer.
_AT_ONCE = frozenset({Outcome.NO_CAPACITY, Outcome.QUOTA_EXCEEDED, Outcome.QUOTA_TOO_SMALL})
#: After which to ask the same rung again changes nothing.
_LEAVES_AT_ONCE = frozenset({Outcome.QUOTA_EXCEEDED, Outcome.QUOTA_TOO_SMALL})


@dataclass(frozen=True)
class Position:
    """
    Where a try stands on its ladder.

    :param index: the rung that is next.
    :param rungs: the indices of those that it goes round: none that is for another's memory, before one was used up.
    :param backoff_step: how many pauses in a row have gone before, for the next one's length; None where none is due.
    """

    index: int
    rungs: tuple[int, ...]
    backoff_step: int | None = None


@dataclass(frozen=True)
class LadderPolicy:
    """
    Goes down a ladder where there is no capacity, and leaves a rung where the wait for it is over.

    :param ladder: where attempts may run, in order.
    :param backoff: the pauses once round the ladder.
    :param waits_for_quota: whether a quota that is too small is waited for like one that is used up: it may be raised.
    :param fingerprint: of what is trained: with another, earlier tries tell nothing of the memory that it takes.
    """

    ladder: tuple[Rung, ...]
    backoff: Backoff = field(default_factory=Backoff)
    waits_for_quota: bool = False
    fingerprint: str = ""

    def next_rung(
        self, past: Sequence[PastEvent], *, earlier: Sequence[Attempt] = (), on_demand: bool = False
    ) -> NextRung | None:
        """
        Return the rung that is next, and until when it has to wait; None where no quota is large enough for any.

        :param earlier: of earlier tries: a retry does not begin where memory was used up.
        :param on_demand: the next on-demand rung; None also where there is none.
        """
        same = [attempt for attempt in earlier if attempt.fingerprint in ("", self.fingerprint)]
        place = position(self.ladder, past, earlier=same, waits_for_quota=self.waits_for_quota, on_demand=on_demand)
        if place is None:
            return None
        due = None if place.backoff_step is None else self.backoff.until(past[-1], place.backoff_step)
        return NextRung(self.ladder[place.index], due)

    def review(self, live: Attempt, past: Sequence[PastEvent], now: datetime) -> Stay | Move:
        """Move on where a job has waited for capacity as long as its rung allows; a job that trains stays."""
        allowed = self._wait_allowed(live, past)
        if allowed is not None and live.waiting_since is not None:
            so_far = (now - live.waiting_since).total_seconds()
            if so_far >= allowed:
                why = f"it waited {human(so_far)} for capacity, as long as its rung allows"
                return Move(StopReason.RUNG_TIMEOUT, why)
        return Stay(allowed)

    def _wait_allowed(self, live: Attempt, past: Sequence[PastEvent]) -> float | None:
        """Return how long a job may wait. With no other rung, a stop would only lose its place in the queue."""
        place = position(self.ladder, past, waits_for_quota=self.waits_for_quota)
        if place is None or len(place.rungs) == 1:
            return None
        return next((rung.wait for rung in self.ladder if str(rung) == live.rung), None)


def position(
    ladder: Sequence[Rung],
    past: Sequence[PastEvent],
    *,
    earlier: Sequence[Attempt] = (),
    waits_for_quota: bool = False,
    on_demand: bool = False,
) -> Position | None:
    """
    Go along the ladder once more, as the outcomes say.

    A rung is left after as many misses as it has ``attempts``; after one where a quota is the reason, since that
    does not change by asking again. Behind the last rung is the first. A move leaves its rung too, for the one that a
    person asked for, else for the next. What used up its memory continues to the rungs that are there for it, and does
    not come back from them. Whatever else ended an attempt, the next one is on the same rung. Once round, and before
    the same rung is asked again, a pause is due; each is longer than the last until something trains. A rung whose
    quota is below what a job needs is left for good; None where all are. With ``on_demand``, spot rungs are passed by.
    """
    closed: set[int] = set()
    names = {str(rung): index for index, rung in enumerate(ladder)}
    larger = tuple(place for place, rung in enumerate(ladder) if rung.on == ON_OUT_OF_MEMORY)
    usual = tuple(place for place in range(len(ladder)) if place not in larger)
    rungs = _with_memory_for(earlier, names, larger) or usual
    index, used, pauses = rungs[0], 0, 0
    due: int | None = None
    for event in past:
        at = names.get(event.rung)
        if at is not None and at != index:
            index, used = at, 0
        if at is not None and at not in rungs:
            rungs = larger[larger.index(at) :] if at in larger else usual
        if isinstance(event, Attempt) and event.trained:
            pauses = 0
        due = None
        if event.outcome is Outcome.MOVED and isinstance(event, Attempt):
            index, used = _asked_for(ladder, rungs, index, event.request, event.number), 0
            index = index if index not in closed else _after(index, rungs, closed)[0]
            continue
        if event.outcome is Outcome.OUT_OF_MEMORY and at is not None:
            more = tuple(place for place in larger if place not in closed and (at not in larger or place > at))
            if more:
                rungs, index, used = more, more[0], 0
            continue
        if event.outcome not in CAPACITY_OUTCOMES:
            continue
        used += 1
        before, rounded = index, False
        if event.outcome is Outcome.QUOTA_TOO_SMALL and not waits_for_quota:
            closed.add(index)
            if closed.issuperset(rungs):
                return None
        if used >= int(ladder[index].attempts) or event.outcome in _LEAVES_AT_ONCE:
            index, rounded = _after(index, rungs, closed)
            used = 0
        # A wait that was had in full is pause enough.
        if (rounded or index == before) and event.outcome in _AT_ONCE:
            due, pauses = pauses, pauses + 1
    return Position(index, rungs, due) if not on_demand else _on_demand(ladder, Position(index, rungs, due), closed)


def _with_memory_for(earlier: Sequence[Attempt], names: Mapping[str, int], larger: tuple[int, ...]) -> tuple[int, ...]:
    """Return the rungs for memory that earlier tries had come to, as their newest attempt tells; none where to none."""
    for attempt in reversed(earlier):
        at = names.get(attempt.rung)
        if at is None:
            continue
        if attempt.outcome is Outcome.OUT_OF_MEMORY:
            return tuple(place for place in larger if at not in larger or place > at) or tuple(
                place for place in larger if place == at
            )
        return larger[larger.index(at) :] if at in larger else ()
    return ()


def _on_demand(ladder: Sequence[Rung], place: Position, closed: set[int]) -> Position | None:
    """Return the on-demand rung that is next from a place on, round the ladder; None where there is none."""
    open_ = [each for each in place.rungs if not ladder[each].on_spot and each not in closed]
    following = next((each for each in open_ if each >= place.index), open_[0] if open_ else None)
    return None if following is None else replace(place, index=following)


def _after(index: int, rungs: Sequence[int], closed: set[int]) -> tuple[int, bool]:
    """Return the next rung that is not closed, and whether they begin again with it."""
    left = [place for place in rungs if place not in closed]
    following = next((place for place in left if place > index), left[0])
    return following, following <= index


def _asked_for(
    ladder: Sequence[Rung], rungs: Sequence[int], index: int, request: RequestMark | None, number: int
) -> int:
    """Return the rung after a move. A request holds for the attempt that it was made of, so it is obeyed once."""
    if request is not None and request.attempt == number and request.what == "on-demand":
        on_demand = [place for place in rungs if not ladder[place].on_spot]
        return on_demand[0] if on_demand else index
    return _after(index, rungs, set())[0]
