"""What to do next. A pure function: the same plan, history and time give the same action."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from math import isfinite

from airflow_spot.core.attempt import Attempt
from airflow_spot.core.backoff import Backoff
from airflow_spot.core.durations import human
from airflow_spot.core.history import History, PastEvent, Refusal
from airflow_spot.core.ladder import ON_OUT_OF_MEMORY, Rung
from airflow_spot.core.money.budget import Budget
from airflow_spot.core.outcomes import CAPACITY_OUTCOMES, QUOTA_OUTCOMES, SCRIPT_OUTCOMES, Outcome
from airflow_spot.core.policy import Move, NextRung, Policy
from airflow_spot.core.progress import ProgressRules
from airflow_spot.core.stop_reasons import StopReason


@dataclass(frozen=True)
class Limits:
    """
    How long and how often a try of a run may continue.

    Capacity and interruptions are bounded by time alone, unless ``max_attempts`` says otherwise.

    :param give_up_at: when the task stops waiting, whatever the job does; None for never.
    :param service_faults: how many of SageMaker's own errors it bears.
    :param script_errors: how many errors of the script.
    :param retry_exit_codes: of the script, that are always tried again and count for nothing.
    :param max_attempts: how many training jobs it may create; None for any number.
    :param max_run: seconds that a job may train; jobs that ``max_wait`` cuts off share them. None: any number.
    :param max_total_wait: seconds that it may be without instances, all waits together; None for no limit.
    :param max_total_run: seconds that its jobs may train together, whatever ends them; None: no limit, but a job that
        ``max_run`` cuts off is the end.
    :param backoff: the pauses between a script's errors that are always tried again; between SageMaker's own, longer
        ones.
    :param use_checkpoints: whether SageMaker keeps the checkpoints, so that an attempt resumes from the one before.
    :param progress: how many starts in a row may leave nothing new in the checkpoint folder.
    :param budget: what the run may cost; None for any amount.
    """

    give_up_at: datetime | None = None
    service_faults: int = 5
    script_errors: int = 0
    retry_exit_codes: frozenset[int] = frozenset()
    max_attempts: int | None = None
    max_run: float | None = None
    max_total_wait: float | None = None
    max_total_run: float | None = None
    backoff: Backoff = field(default_factory=Backoff)
    use_checkpoints: bool = True
    progress: ProgressRules = field(default_factory=ProgressRules)
    budget: Budget | None = None


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
    :param service_errors: how many attempts in a row ended in an internal error of SageMaker.
    """

    until: datetime
    why: str
    quota_key: str = ""
    service_errors: int = 0


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
    The run cannot continue.

    :param attempt: the attempt that shows why; None where there is none.
    :param kind: the outcome that decided, or None where the time ran out.
    """

    attempt: Attempt | None
    kind: Outcome | None
    why: str


Action = Submit | Wait | Pause | Stop | Succeed | Fail

_FATAL = {
    Outcome.MAX_RUNTIME_EXCEEDED: (
        "it ran for its whole max_run. Raise max_run (at most 28 days), or set max_total_run to resume{checkpoint} in "
        "further jobs"
    ),
    Outcome.MAX_WAIT_EXCEEDED: (
        "it reached max_wait while training, repeatedly: its jobs have trained max_run together, or keep no "
        "checkpoints. Set max_wait to max_run plus the time that it waits for capacity, or set max_total_run"
    ),
    Outcome.INVALID_REQUEST: "SageMaker cannot run this request; another try would not help",
    Outcome.STOPPED_EXTERNALLY: "somebody stopped it outside Airflow. Clear the task to resume{checkpoint}",
    Outcome.MAX_COST: "the run may cost no more than max_cost. Raise it, then clear the task to resume{checkpoint}",
    Outcome.UNKNOWN: "it ended in a way that airflow_spot does not know",
}


def decide(limits: Limits, history: History, now: datetime, policy: Policy) -> Action:
    """
    Choose the next action of a run.

    Here is what holds whatever the policy: attempt n+1 is submitted only after attempt n is terminal, success needs a
    Completed job, budgets and time are kept to, and a run that ends leaves no job of any role.

    :param limits: the run's limits.
    :param history: its jobs so far.
    :param now: the time, with a zone.
    :param policy: says which rung is next, and whether to move while a job is live.
    """
    if history.restart_requested and history.live_jobs:
        first = _not_stopping(history.live_jobs)
        if first is not None:
            return Stop(first, StopReason.RESTART, "the task was cleared to train from scratch")
        return Wait(history.live_jobs[0], None)
    if history.live is not None:
        return _watch(limits, history, history.live, now, policy)
    action = _priced(limits, history, _between_attempts(limits, history, now, policy))
    if isinstance(action, (Succeed, Fail)) and (other := _not_stopping(history.others)) is not None:
        return Stop(other, StopReason.PROBE, "the run has ended, and needs it no more")
    if isinstance(action, Submit) and action.number > 1 and not _resumes(limits, history):
        return replace(action, why=f"{action.why}; {_from_nothing(limits)}")
    return action


def _priced(limits: Limits, history: History, action: Action) -> Action:
    """Return an action, or a failure: a try knew all prices as it began, but its ladder may be another by now."""
    budget = limits.budget
    if budget is None or not isinstance(action, Submit) or not (fix := budget.unpriced(action.rung.placements)):
        return action
    return Fail(history.last, Outcome.INVALID_REQUEST, f"max_cost ({budget.max_cost}) {fix}")


def _resumes(limits: Limits, history: History) -> bool:
    """Return whether the next attempt resumes from checkpoints that SageMaker kept, as far as is known."""
    kept = [not attempt.whole or bool(attempt.checkpoint_s3_uri) for attempt in history.attempts]
    return limits.use_checkpoints and (any(kept) or not kept)


def _from_nothing(limits: Limits) -> str:
    if limits.use_checkpoints:
        return "it starts from nothing: SageMaker kept no checkpoints of the run so far (use_checkpoints was False)"
    return (
        "it starts from nothing as far as Airflow knows: the script manages its own checkpoints (use_checkpoints=False)"
    )


def _not_stopping(jobs: Sequence[Attempt]) -> Attempt | None:
    return next((job for job in jobs if job.status != "Stopping"), None)


def _watch(limits: Limits, history: History, live: Attempt, now: datetime, policy: Policy) -> Action:
    past = history.past
    # A job that is stopping ends by itself within minutes: waiting for that is never cut short.
    if live.status == "Stopping":
        return Wait(live, None)
    left = _wait_left(limits, live, past, now)
    uploads = live.secondary_status == "Uploading"  # it has trained, and what it made is on its way
    more = None if limits.max_total_run is None or uploads else limits.max_total_run - _trained(past, now)
    paid = None if limits.budget is None or uploads else limits.budget.seconds_left(history.attempts, live, now)
    if (stop := _over(limits, history, live, now, left, more)) is not None:
        return stop
    if limits.budget is not None and paid is not None and paid <= 0:
        return Stop(live, StopReason.MAX_COST, _cost(limits.budget, history, now))
    if live.placement.spot and not uploads and history.progress.is_stuck(limits.progress):
        chosen = policy.next_rung(past, earlier=history.of_earlier_tries, on_demand=True)
        goes_on = f"it moves to {chosen.rung}" if chosen else "the ladder has no on-demand rung to move to"
        return Stop(live, StopReason.NO_PROGRESS, f"{_nothing_new(history)}; {goes_on}")
    review = policy.review(live, past, now)
    if isinstance(review, Move):
        return Stop(live, review.reason, review.why)
    bounds = [bound for bound in (review.capacity_timeout, left) if bound is not None]
    ends = [limits.give_up_at] if limits.give_up_at is not None else []
    for rest, pause in ((more, _WAITING_LOOK), (paid, _WAITING_LOOK_AT_MONEY)):
        if rest is not None and isfinite(rest):
            # A job that waits uses none of it up, and is not to be looked at again and again for its last seconds.
            least = pause if live.waiting_since is not None else 0.0
            ends.append(now + timedelta(seconds=max(rest, least)))
    return Wait(live, min(ends, default=None), min(bounds) if bounds else None)


#: Seconds between looks at a job that waits for capacity, whether it has trained for ``max_total_run`` by now.
_WAITING_LOOK = 300.0
#: And whether it has cost what it may: it may have begun to train just after the look, and then trains on until the
#: next one.
_WAITING_LOOK_AT_MONEY = 60.0


def _wait_left(limits: Limits, live: Attempt, past: Sequence[PastEvent], now: datetime) -> float | None:
    if limits.max_total_wait is None:
        return None
    return max(0.0, limits.max_total_wait - seconds_without_instances(past, live.waiting_since or now))


def _over(
    limits: Limits, history: History, live: Attempt, now: datetime, left: float | None, more: float | None
) -> Stop | None:
    """Return the stop of a live job whose time, wait or training is used up; ``left`` and ``more`` are in seconds."""
    if limits.give_up_at is not None and now >= limits.give_up_at:
        return Stop(live, StopReason.TIMEOUT, "the task's time is up")
    if left is not None and live.waiting_since is not None and (now - live.waiting_since).total_seconds() >= left:
        return Stop(live, StopReason.CAPACITY_TIMEOUT, _TOTAL_WAIT.format(human(limits.max_total_wait or 0)))
    if more is not None and more <= 0:
        return Stop(live, StopReason.MAX_TOTAL_RUN, _TOTAL_RUN.format(human(limits.max_total_run or 0)))
    return None


_OUT_OF_MEMORY = (
    "it used up the memory of {}. Choose an instance type with more, a smaller batch, or give the ladder a rung with "
    'on="out_of_memory"'
)
_TOTAL_WAIT = "the run has waited for capacity for max_total_wait ({})"
_TOTAL_RUN = "its jobs have trained for max_total_run ({}): raise it"


def _cost(budget: Budget, history: History, now: datetime) -> str:
    return f"the run has cost {budget.spent_on(history.attempts, now)} of max_cost ({budget.max_cost})"


def _nothing_new(history: History) -> str:
    return f"{history.progress.barren} starts in a row left nothing new in the checkpoint folder"


def _trained(past: Sequence[PastEvent], now: datetime) -> float:
    """Return the seconds that a try's jobs have trained together."""
    return sum(event.trained_seconds(now) for event in past if isinstance(event, Attempt))


def _between_attempts(limits: Limits, history: History, now: datetime, policy: Policy) -> Action:
    last, result = history.last, history.result
    if result is not None:
        return Succeed(result)
    if limits.give_up_at is not None and now >= limits.give_up_at:
        return Fail(last, None, "the task's time is up, and no job is live")
    past = history.past
    if limits.budget is not None and limits.budget.is_spent(history.attempts, now):
        why = f"{_cost(limits.budget, history, now)}. {_fatal(limits, Outcome.MAX_COST)}"
        return Fail(last, Outcome.MAX_COST, why)
    if not past:
        why = f"attempt {last.number} ended before this try ({last.label})" if last else "first attempt"
        first = policy.next_rung((), earlier=history.of_earlier_tries)
        if first is None:
            return Fail(last, None, "there is no rung")
        return Submit(last.number + 1 if last else 1, first.rung, why)
    return _after(limits, history, past, now, policy)


def _after(limits: Limits, history: History, past: Sequence[PastEvent], now: datetime, policy: Policy) -> Action:
    newest = past[-1]
    same = "; same checkpoint" if _resumes(limits, history) else ""
    why = _may_go_on(limits, newest, past, policy, same)
    attempt = history.last
    kind = newest.outcome or Outcome.UNKNOWN
    if why is None:
        return Fail(attempt, kind, _end(limits, newest, past, kind, policy))
    number = newest.number if isinstance(newest, Refusal) else newest.number + 1
    left = None if limits.max_total_wait is None else limits.max_total_wait - seconds_without_instances(past, now)
    if (spent := _spent(limits, history, kind, left, now)) is not None:
        return spent
    stuck = history.progress.is_stuck(limits.progress)
    chosen = policy.next_rung(past, earlier=history.of_earlier_tries, on_demand=stuck)
    if chosen is None:
        short = [attempt.rung for attempt in history.attempts if attempt.outcome is Outcome.OUT_OF_MEMORY]
        which = f"no rung with more memory than {short[-1]}" if short else "no rung"
        no_quota = f"{which} has a quota that is large enough. max_total_wait has it wait for a larger one"
        why, kind = (_nothing_new(history), Outcome.NO_PROGRESS) if stuck else (no_quota, kind)
        return Fail(attempt, kind, why)
    if stuck and kind is not Outcome.NO_PROGRESS:
        why = f"{why}; {_nothing_new(history)}"
    due = _due(limits, past, policy, chosen)
    if due is not None and now < due:
        # Never beyond an end of the task's own: that is then what the next look decides on.
        ends = [due, *([limits.give_up_at] if limits.give_up_at else [])]
        ends += [now + timedelta(seconds=left)] if left is not None else []
        until = min(ends)
        quota_key = newest.rung if kind in QUOTA_OUTCOMES else ""
        errors = in_a_row(past) if kind is Outcome.SERVICE_ERROR else 0
        return Pause(until, f"{why}; again in {human((until - now).total_seconds())}", quota_key, errors)
    refused = sum(1 for event in past if isinstance(event, Refusal) and event.number == number)
    return Submit(number, chosen.rung, f"after {refused} refusals: {why}" if refused > 1 else why)


def _spent(limits: Limits, history: History, kind: Outcome, left: float | None, now: datetime) -> Fail | None:
    """Return the failure of a run that may continue as its newest attempt ended, and has used up another limit."""
    attempt = history.last
    # Of a job that was stopped for it SageMaker's figure may come short by moments: no further job for these.
    stopped = attempt is not None and attempt.stop is not None and attempt.stop.reason == StopReason.MAX_TOTAL_RUN
    if limits.max_total_run is not None and (stopped or _trained(history.past, now) >= limits.max_total_run):
        return Fail(attempt, Outcome.MAX_RUNTIME_EXCEEDED, _TOTAL_RUN.format(human(limits.max_total_run)))
    if left is not None and left <= 0:
        capacity = kind if kind in CAPACITY_OUTCOMES else Outcome.CAPACITY_TIMEOUT
        return Fail(attempt, capacity, _TOTAL_WAIT.format(human(limits.max_total_wait or 0)))
    if limits.max_attempts is not None and len(history.of_this_try) >= limits.max_attempts:
        return Fail(attempt, kind, f"this try has created max_attempts ({limits.max_attempts}) training jobs")
    return None


_UNBOUNDED = {
    Outcome.QUOTA_EXCEEDED: "the quota for {rung} is used up",
    Outcome.QUOTA_TOO_SMALL: "the quota for {rung} is below what a job needs",
    **dict.fromkeys(CAPACITY_OUTCOMES - QUOTA_OUTCOMES, "{kind} for {rung}{same}"),
    Outcome.STOPPED_BY_OPERATOR: "it was stopped by Airflow",
    Outcome.MOVED: "it was moved from {rung}{same}",
    Outcome.NO_PROGRESS: "it was stopped, since start after start left nothing new in the checkpoint folder",
    Outcome.INTERRUPTED: "its script failed just after an interruption took a peer",
}


def _gets_more_memory(past: Sequence[PastEvent], policy: Policy) -> bool:
    """Return whether the newest attempt used up its memory, and the policy has a rung with more for the next."""
    if past[-1].outcome is not Outcome.OUT_OF_MEMORY:
        return False
    chosen = policy.next_rung(past)
    return chosen is not None and chosen.rung.on == ON_OUT_OF_MEMORY and str(chosen.rung) != past[-1].rung


def _may_go_on(limits: Limits, newest: PastEvent, past: Sequence[PastEvent], policy: Policy, same: str) -> str | None:
    """Return why another attempt is worth it, and what it resumes from; None where its kind's budget is spent."""
    kind, why = newest.outcome, None
    if kind in _UNBOUNDED:
        why = _UNBOUNDED[kind].format(kind=kind.label, rung=newest.rung, same=same)
    elif kind is Outcome.SERVICE_ERROR:
        faults = _count(past, Outcome.SERVICE_ERROR)
        why = f"SageMaker internal error {faults}" if faults <= limits.service_faults else None
    elif _gets_more_memory(past, policy):
        why = f"it used up the memory of {newest.rung}{same}"
    elif kind in SCRIPT_OUTCOMES and isinstance(newest, Attempt):
        why = _script_may_go_on(limits, newest, past, policy)
    elif kind is Outcome.MAX_WAIT_EXCEEDED:
        why = _out_of_wait_may_go_on(limits, past, same)
    elif kind is Outcome.MAX_RUNTIME_EXCEEDED and limits.max_total_run is not None:
        left = limits.max_total_run - sum(event.training_seconds for event in past if isinstance(event, Attempt))
        why = f"it ran for its whole max_run; {human(max(0.0, left))} of max_total_run are left"
    return None if why is None else f"attempt {newest.number}: {why}"


def _out_of_wait_may_go_on(limits: Limits, past: Sequence[PastEvent], same: str) -> str | None:
    """Jobs that max_wait cuts off may train together as long as one that max_run cuts off: else they would for ever."""
    cut_off = [event for event in past if isinstance(event, Attempt) and event.outcome is Outcome.MAX_WAIT_EXCEEDED]
    allowed = limits.max_run if limits.max_total_run is None else None  # which bounds all that a try trains
    trained = sum(event.training_seconds for event in cut_off)
    if (allowed is not None and trained >= allowed) or (not same and len(cut_off) > 1):
        return None
    return f"it trained until max_wait was over{same}"


def _script_may_go_on(limits: Limits, newest: Attempt, past: Sequence[PastEvent], policy: Policy) -> str | None:
    if newest.exit_code in limits.retry_exit_codes:
        return f"exit code {newest.exit_code}, which is always tried again"
    errors = len(_script_errors(limits, past, policy))
    return f"script error {errors} of {limits.script_errors}" if errors <= limits.script_errors else None


def _end(limits: Limits, newest: PastEvent, past: Sequence[PastEvent], kind: Outcome, policy: Policy) -> str:
    if kind is Outcome.SERVICE_ERROR:
        return f"SageMaker had {_count(past, Outcome.SERVICE_ERROR)} internal errors"
    if kind is Outcome.OUT_OF_MEMORY:
        return _OUT_OF_MEMORY.format(newest.rung)
    if kind is Outcome.SCRIPT_ERROR:
        times = len(_script_errors(limits, past, policy))
        return "the training script failed" if times == 1 else f"the training script failed {times} times"
    return _fatal(limits, kind)


def _fatal(limits: Limits, kind: Outcome) -> str:
    checkpoint = " from the checkpoint" if limits.use_checkpoints else ""
    return _FATAL.get(kind, _FATAL[Outcome.UNKNOWN]).format(checkpoint=checkpoint)


#: How many times as long as others the pauses are after SageMaker's own errors: each costs a launch, and checkpoints
#: that it cannot restore are there the next time too.
_SERVICE_PAUSES = 4.0


def _due(limits: Limits, past: Sequence[PastEvent], policy: Policy, chosen: NextRung) -> datetime | None:
    """Return when the next attempt may be created; None for at once."""
    newest = past[-1]
    if newest.outcome is Outcome.SERVICE_ERROR:
        backoff = replace(limits.backoff, base=_SERVICE_PAUSES * limits.backoff.base)
        return backoff.until(newest, in_a_row(past) - 1)
    script_failed = newest.outcome in SCRIPT_OUTCOMES and not _gets_more_memory(past, policy)
    return _script_backoff(limits, past) if script_failed else chosen.not_before


def _script_backoff(limits: Limits, past: Sequence[PastEvent]) -> datetime | None:
    """Return the end of the pause: a script that fails at once, and is always tried again, would cost a launch each."""
    step = 0
    for event in reversed(past[:-1]):
        if event.outcome not in SCRIPT_OUTCOMES:
            break
        step += 1
    return limits.backoff.until(past[-1], step)


def in_a_row(past: Sequence[PastEvent]) -> int:
    """Return how many of the newest attempts ended alike, one after the other; refused creates do not count."""
    ends = [event.outcome for event in past if isinstance(event, Attempt)]
    return next((n for n, outcome in enumerate(reversed(ends)) if outcome is not ends[-1]), len(ends))


def _count(past: Sequence[PastEvent], outcome: Outcome) -> int:
    return sum(1 for event in past if event.outcome is outcome)


def _script_errors(limits: Limits, past: Sequence[PastEvent], policy: Policy) -> list[Attempt]:
    return [
        event
        for place, event in enumerate(past, 1)
        if isinstance(event, Attempt)
        and event.outcome in SCRIPT_OUTCOMES
        and event.exit_code not in limits.retry_exit_codes
        and not _gets_more_memory(past[:place], policy)
    ]


def seconds_without_instances(past: Sequence[PastEvent], now: datetime) -> float:
    """Return the seconds since a try's first attempt in which no job of it had its instances."""
    began = [moment for event in past if (moment := _began(event)) is not None]
    if not began:
        return 0.0
    active = 0.0
    for event in past:
        if isinstance(event, Attempt):
            active += event.active_seconds
            if event.working_since is not None:
                until = (None if event.live else event.ended) or now
                active += max(0.0, (until - event.working_since).total_seconds())
    return max(0.0, (now - min(began)).total_seconds() - active)


def _began(event: PastEvent) -> datetime | None:
    return event.at if isinstance(event, Refusal) else event.created
