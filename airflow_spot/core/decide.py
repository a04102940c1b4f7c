"""What to do next. A pure function: the same plan, history and time give the same action."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from airflow_spot.core.durations import human
from airflow_spot.core.history import Attempt, History, Rung
from airflow_spot.core.outcomes import Outcome


@dataclass(frozen=True)
class Limits:
    """
    How long and how often a run may try.

    :param ladder: where attempts may run, in order.
    :param give_up_at: when the task stops waiting, whatever the job does; None for never.
    :param service_faults: how many of SageMaker's own errors a try bears.
    :param pause_base: and ``pause_cap``: seconds between attempts that found no capacity: doubled each time
        up to the cap, less up to half by chance, so that a hundred tasks do not come back at once.
    """

    ladder: tuple[Rung, ...]
    give_up_at: datetime | None = None
    service_faults: int = 5
    pause_base: float = 15.0
    pause_cap: float = 900.0


@dataclass(frozen=True)
class Submit:
    """Create attempt ``number`` on ``rung``."""

    number: int
    rung: Rung
    why: str


@dataclass(frozen=True)
class Wait:
    """Wait for the live attempt to end, at most until ``until``."""

    attempt: Attempt
    until: datetime | None


@dataclass(frozen=True)
class Pause:
    """Nothing is live: look again at ``until``."""

    until: datetime
    why: str


@dataclass(frozen=True)
class Stop:
    """Stop the live attempt, then decide again."""

    attempt: Attempt
    reason: str
    why: str


@dataclass(frozen=True)
class Succeed:
    """The run is done: ``attempt`` completed."""

    attempt: Attempt


@dataclass(frozen=True)
class Fail:
    """
    The run cannot go on.

    :param attempt: the attempt that shows why; None where there is none.
    :param kind: the outcome that decided, or None where the time ran out.
    """

    attempt: Attempt | None
    kind: Outcome | None
    why: str


Action = Submit | Wait | Pause | Stop | Succeed | Fail

_NO_CAPACITY = (Outcome.NO_CAPACITY, Outcome.NO_CAPACITY_IN_TIME)

_FATAL = {
    Outcome.OUT_OF_RUN_TIME: (
        "it ran for its whole max_run. Raise max_run (at most 28 days); the next try goes on from the checkpoint"
    ),
    Outcome.SCRIPT_ERROR: "the training script failed",
    Outcome.REQUEST_ERROR: "SageMaker cannot run this request; another try would not help",
    Outcome.STOPPED_BY_PERSON: "somebody stopped it outside Airflow. Clear the task to go on from the checkpoint",
    Outcome.UNKNOWN: "it ended in a way that airflow_spot does not know",
}


def decide(limits: Limits, history: History, now: datetime, *, key: str = "") -> Action:
    """
    Choose the next action of a run.

    Attempt n+1 is submitted only after attempt n is terminal, and success needs a Completed job.

    :param limits: the run's limits and ladder.
    :param history: its attempts so far.
    :param now: the time, with a zone.
    :param key: the run key: the seed of the pauses' jitter.
    """
    if history.live is not None:
        return _watch(limits, history.live, now)
    last = history.last
    if last is not None and last.outcome is Outcome.COMPLETED:
        return Succeed(last)
    if limits.give_up_at is not None and now >= limits.give_up_at:
        return Fail(last, None, "the task's time is up, and no job is live")
    if last is None:
        return Submit(1, limits.ladder[0], "first attempt")
    mine = history.of_this_try
    if not mine:
        return Submit(
            last.number + 1, _rung(limits, 0), f"attempt {last.number} ended before this try ({last.outcome})"
        )
    return _after(limits, mine, now, key)


def _watch(limits: Limits, live: Attempt, now: datetime) -> Action:
    if limits.give_up_at is not None and now >= limits.give_up_at and live.status != "Stopping":
        return Stop(live, "timeout", "the task's time is up")
    # A job that is stopping ends by itself within minutes: waiting for that is never cut short.
    return Wait(live, None if live.status == "Stopping" else limits.give_up_at)


def _after(limits: Limits, mine: tuple[Attempt, ...], now: datetime, key: str) -> Action:
    last = mine[-1]
    if last.outcome is Outcome.OUR_STOP:
        return Submit(last.number + 1, _same(limits, last), f"attempt {last.number} was stopped by us")
    if last.outcome in _NO_CAPACITY:
        misses = sum(1 for attempt in mine if attempt.outcome in _NO_CAPACITY)
        rung = _rung(limits, misses)
        due = _pause_ends(limits, last, misses, key)
        # MaxWait has been waited for in full already: only an immediate refusal needs a pause.
        if last.outcome is Outcome.NO_CAPACITY and due is not None and now < due:
            # Never beyond the task's own end: that is then what the next look decides on.
            until = due if limits.give_up_at is None else min(due, limits.give_up_at)
            return Pause(until, f"no capacity for {last.rung}; again in {human((until - now).total_seconds())}")
        return Submit(last.number + 1, rung, f"attempt {last.number}: {last.outcome}; same checkpoint")
    if last.outcome is Outcome.SERVICE_FAULT:
        faults = sum(1 for attempt in mine if attempt.outcome is Outcome.SERVICE_FAULT)
        if faults <= limits.service_faults:
            return Submit(
                last.number + 1, _same(limits, last), f"attempt {last.number}: SageMaker's own error {faults}"
            )
        return Fail(last, last.outcome, f"SageMaker failed {faults} times by its own error")
    kind = last.outcome or Outcome.UNKNOWN
    return Fail(last, kind, _FATAL.get(kind, _FATAL[Outcome.UNKNOWN]))


def _rung(limits: Limits, misses: int) -> Rung:
    return limits.ladder[misses % len(limits.ladder)]


def _same(limits: Limits, last: Attempt) -> Rung:
    return last.rung if last.rung in limits.ladder else limits.ladder[0]


def _pause_ends(limits: Limits, last: Attempt, misses: int, key: str) -> datetime | None:
    """Once round the ladder: a pause, growing and jittered by a hash, so that it is the same at every look."""
    rounds, within = divmod(misses, len(limits.ladder))
    if within or last.ended is None:
        return None
    pause = min(limits.pause_cap, limits.pause_base * 2.0 ** min(rounds - 1, 30))
    share = hashlib.sha256(f"{key}-{last.number}".encode()).digest()[0] / 255
    return last.ended + timedelta(seconds=pause * (1 - share / 2))
