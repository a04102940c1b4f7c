"""What to do next. A pure function: the same plan, history and time give the same action."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from airflow_spot.core.durations import human
from airflow_spot.core.history import Attempt, History, Refusal
from airflow_spot.core.ladder import Rung
from airflow_spot.core.outcomes import Outcome
from airflow_spot.core.stop_reasons import StopReason
from airflow_spot.policies.ladder import CAPACITY_OUTCOMES, Position, backoff_until, events, position, waited


@dataclass(frozen=True)
class Limits:
    """
    How long and how often a try of a run may go on.

    Capacity and interruptions are bounded by time alone, unless ``max_attempts`` says otherwise.

    :param ladder: where attempts may run, in order.
    :param give_up_at: when the task stops waiting, whatever the job does; None for never.
    :param service_faults: how many of SageMaker's own errors it bears.
    :param script_errors: how many errors of the script.
    :param retry_exit_codes: of the script, that are always tried again and count for nothing.
    :param max_attempts: how many training jobs it may create; None for any number.
    :param max_total_wait: seconds that it may be without instances, all waits together; None for no limit.
    :param max_total_run: seconds that its jobs may train together where ``max_run`` cuts one off; None: a job that
        is cut off is the end.
    :param pause_base: and ``pause_cap``: seconds between attempts that were refused: doubled each time up to the
        cap, less up to half by chance.
    """

    ladder: tuple[Rung, ...]
    give_up_at: datetime | None = None
    service_faults: int = 5
    script_errors: int = 0
    retry_exit_codes: frozenset[int] = frozenset()
    max_attempts: int | None = None
    max_total_wait: float | None = None
    max_total_run: float | None = None
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
    """
    Wait for the live attempt to end, at most until ``until``.

    :param capacity_timeout: seconds that it may wait for capacity in one go, while and whenever it does; None for any.
    """

    attempt: Attempt
    until: datetime | None
    capacity_timeout: float | None = None


@dataclass(frozen=True)
class Pause:
    """
    Nothing is live: look again at ``until``.

    :param quota_key: the quota that is used up: whoever gives a share of it back may end the pause early.
    """

    until: datetime
    why: str
    quota_key: str = ""


@dataclass(frozen=True)
class Stop:
    """Stop the live attempt, then decide again."""

    attempt: Attempt
    reason: StopReason
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

_FATAL = {
    Outcome.MAX_RUNTIME_EXCEEDED: (
        "it ran for its whole max_run. Raise max_run (at most 28 days), or set max_total_run to go on from the "
        "checkpoint in further jobs"
    ),
    Outcome.INVALID_REQUEST: "SageMaker cannot run this request; another try would not help",
    Outcome.STOPPED_EXTERNALLY: "somebody stopped it outside Airflow. Clear the task to go on from the checkpoint",
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
    past = events(history)
    if history.live is not None and history.restart_requested and history.live.status != "Stopping":
        return Stop(history.live, StopReason.RESTART, "the task was cleared to train from scratch")
    if history.live is not None:
        return _watch(limits, history.live, past, now)
    last = history.last
    if last is not None and last.outcome is Outcome.COMPLETED:
        return Succeed(last)
    if limits.give_up_at is not None and now >= limits.give_up_at:
        return Fail(last, None, "the task's time is up, and no job is live")
    if not past:
        why = f"attempt {last.number} ended before this try ({last.label})" if last else "first attempt"
        return Submit(last.number + 1 if last else 1, limits.ladder[0], why)
    return _after(limits, history, past, now, key)


def _watch(limits: Limits, live: Attempt, past: Sequence[Attempt | Refusal], now: datetime) -> Action:
    # A job that is stopping ends by itself within minutes: waiting for that is never cut short.
    if live.status == "Stopping":
        return Wait(live, None)
    if limits.give_up_at is not None and now >= limits.give_up_at:
        return Stop(live, StopReason.TIMEOUT, "the task's time is up")
    allowed = _wait_allowed(limits, live)
    left = None
    if limits.max_total_wait is not None:
        left = max(0.0, limits.max_total_wait - waited(past, live.waiting_since or now))
    if live.waiting_since is not None:
        so_far = (now - live.waiting_since).total_seconds()
        if left is not None and so_far >= left:
            return Stop(live, StopReason.CAPACITY_TIMEOUT, _TOTAL_WAIT.format(human(limits.max_total_wait or 0)))
        if allowed is not None and so_far >= allowed:
            return Stop(
                live, StopReason.RUNG_TIMEOUT, f"it waited {human(so_far)} for capacity, as long as its rung allows"
            )
    bounds = [bound for bound in (allowed, left) if bound is not None]
    return Wait(live, limits.give_up_at, min(bounds) if bounds else None)


_TOTAL_WAIT = "the run has waited for capacity for max_total_wait ({})"


def _wait_allowed(limits: Limits, live: Attempt) -> float | None:
    """How long a job may wait on its rung. With no other rung, to stop it would only lose its place in the queue."""
    if len(limits.ladder) == 1:
        return None
    return next((rung.wait for rung in limits.ladder if str(rung) == live.rung), None)


def _after(limits: Limits, history: History, past: Sequence[Attempt | Refusal], now: datetime, key: str) -> Action:
    newest = past[-1]
    place = position(limits.ladder, past)
    why = _may_go_on(limits, newest, past)
    attempt = history.last
    kind = newest.outcome or Outcome.UNKNOWN
    if why is None:
        return Fail(attempt, kind, _end(limits, newest, past, kind))
    number = newest.number if isinstance(newest, Refusal) else newest.number + 1
    capacity = kind if kind in CAPACITY_OUTCOMES else Outcome.CAPACITY_TIMEOUT
    left = None if limits.max_total_wait is None else limits.max_total_wait - waited(past, now)
    if left is not None and left <= 0:
        return Fail(attempt, capacity, _TOTAL_WAIT.format(human(limits.max_total_wait or 0)))
    mine = history.of_this_try
    if limits.max_attempts is not None and len(mine) >= limits.max_attempts:
        return Fail(attempt, kind, f"this try has created max_attempts ({limits.max_attempts}) training jobs")
    due = _pause(limits, newest, past, place, key)
    if due is not None and now < due:
        # Never beyond an end of the task's own: that is then what the next look decides on.
        ends = [due, *([limits.give_up_at] if limits.give_up_at else [])]
        ends += [now + timedelta(seconds=left)] if left is not None else []
        until = min(ends)
        quota_key = newest.rung if kind is Outcome.QUOTA_EXCEEDED else ""
        return Pause(until, f"{why}; again in {human((until - now).total_seconds())}", quota_key)
    return Submit(number, limits.ladder[place.index], why)


_UNBOUNDED = {
    Outcome.QUOTA_EXCEEDED: "the quota for {rung} is used up",
    **dict.fromkeys(CAPACITY_OUTCOMES - {Outcome.QUOTA_EXCEEDED}, "{kind} for {rung}; same checkpoint"),
    Outcome.STOPPED_BY_OPERATOR: "it was stopped by us",
    Outcome.INTERRUPTED: "its script failed just after an interruption, for want of its peer",
}


def _may_go_on(limits: Limits, newest: Attempt | Refusal, past: Sequence[Attempt | Refusal]) -> str | None:
    """Say why another attempt is worth it; None where the budget of its kind is spent."""
    kind, why = newest.outcome, None
    if kind in _UNBOUNDED:
        why = _UNBOUNDED[kind].format(kind=kind.label, rung=newest.rung)
    elif kind is Outcome.SERVICE_ERROR:
        faults = _count(past, Outcome.SERVICE_ERROR)
        why = f"SageMaker's own error {faults}" if faults <= limits.service_faults else None
    elif kind is Outcome.SCRIPT_ERROR and isinstance(newest, Attempt):
        why = _script_may_go_on(limits, newest, past)
    elif kind is Outcome.MAX_RUNTIME_EXCEEDED and limits.max_total_run is not None:
        left = limits.max_total_run - sum(event.training_seconds for event in past if isinstance(event, Attempt))
        why = f"it ran for its whole max_run; {human(left)} of max_total_run are left" if left > 0 else None
    return None if why is None else f"attempt {newest.number}: {why}"


def _script_may_go_on(limits: Limits, newest: Attempt, past: Sequence[Attempt | Refusal]) -> str | None:
    if newest.exit_code in limits.retry_exit_codes:
        return f"exit code {newest.exit_code}, which is always tried again"
    errors = len(_script_errors(limits, past))
    return f"script error {errors} of {limits.script_errors}" if errors <= limits.script_errors else None


def _end(limits: Limits, newest: Attempt | Refusal, past: Sequence[Attempt | Refusal], kind: Outcome) -> str:
    if kind is Outcome.SERVICE_ERROR:
        return f"SageMaker failed {_count(past, Outcome.SERVICE_ERROR)} times by its own error"
    if kind is Outcome.SCRIPT_ERROR:
        times = len(_script_errors(limits, past))
        return "the training script failed" if times == 1 else f"the training script failed {times} times"
    if kind is Outcome.MAX_RUNTIME_EXCEEDED and limits.max_total_run is not None:
        return f"its jobs have trained for max_total_run ({human(limits.max_total_run)}): raise it"
    return _FATAL.get(kind, _FATAL[Outcome.UNKNOWN])


def _pause(
    limits: Limits, newest: Attempt | Refusal, past: Sequence[Attempt | Refusal], place: Position, key: str
) -> datetime | None:
    again = place.again
    if newest.outcome is Outcome.SCRIPT_ERROR:
        # A script that fails at once, with a code that is always tried again, would cost a launch a second.
        again = 0
        for event in reversed(past[:-1]):
            if event.outcome is not Outcome.SCRIPT_ERROR:
                break
            again += 1
    if again is None:
        return None
    return backoff_until(key, newest, again, limits.pause_base, limits.pause_cap)


def _count(past: Sequence[Attempt | Refusal], outcome: Outcome) -> int:
    return sum(1 for event in past if event.outcome is outcome)


def _script_errors(limits: Limits, past: Sequence[Attempt | Refusal]) -> list[Attempt]:
    return [
        event
        for event in past
        if isinstance(event, Attempt)
        and event.outcome is Outcome.SCRIPT_ERROR
        and event.exit_code not in limits.retry_exit_codes
    ]
