"""What each event of a run changes in what is known of it: the fold that a worker and a trigger share."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from functools import singledispatch
from itertools import zip_longest

from airflow_spot.core.attempt import Attempt
from airflow_spot.core.events import (
    AttemptAttached,
    AttemptCreated,
    AttemptDecided,
    AttemptFound,
    CapacityAwaited,
    CheckpointsSeen,
    CreateRefused,
    Event,
    GenerationBegan,
    JobStopped,
    Paused,
    ProgressMissing,
    RunFailed,
    RunSucceeded,
    ScriptProgressed,
    StartEnded,
    Transitioned,
)
from airflow_spot.core.identity import JobName
from airflow_spot.core.log_messages import label_of
from airflow_spot.core.outcomes import ENDED_STATUSES, Outcome
from airflow_spot.core.starts import SAME_MOMENT, advance, newest_moment
from airflow_spot.core.stop_reasons import StopReason
from airflow_spot.core.timeline.state import (
    AGAIN_KEPT,
    POINTS_KEPT,
    Again,
    LedgerState,
    Phase,
    Tick,
    finish,
    note,
    tick,
)

#: What a run has come to where its job was stopped for that.
_ENDS = {StopReason.KILLED: "stopped", StopReason.TIMEOUT: "failed", StopReason.FAILURE: "failed"}


def fold(state: LedgerState, event: Event, now: datetime) -> LedgerState:
    """
    Return what is known of a run after an event.

    An event that is told again, as the worker tells what the trigger has told, changes nothing.

    :param now: when it is heard, by AWS's clock.
    """
    return _fold(event, state, now)


@singledispatch
def _fold(event: Event, state: LedgerState, now: datetime) -> LedgerState:
    return state  # of what the log alone tells


@_fold.register
def _(event: GenerationBegan, state: LedgerState, now: datetime) -> LedgerState:
    known = event.generation == state.generation
    return replace(state, generation=event.generation, phase=None, lost=state.lost if known else 0.0)


@_fold.register
def _(event: AttemptFound, state: LedgerState, now: datetime) -> LedgerState:
    return _with(state, event.attempt)


@_fold.register
def _(event: AttemptDecided, state: LedgerState, now: datetime) -> LedgerState:
    return replace(state, phase=Phase("pausing", now, f"attempt {event.number} is created: {event.why}"))


@_fold.register(AttemptCreated)
@_fold.register(AttemptAttached)
def _(event: AttemptCreated | AttemptAttached, state: LedgerState, now: datetime) -> LedgerState:
    return replace(_with(state, event.attempt), phase=None)


@_fold.register
def _(event: CreateRefused, state: LedgerState, now: datetime) -> LedgerState:
    refusal = event.refusal
    told = note(state, refusal.at, f"attempt {refusal.number} refused", refusal.message or refusal.outcome.label)
    return replace(told, phase=Phase("pausing", now, refusal.message or refusal.outcome.label))


@_fold.register
def _(event: Paused, state: LedgerState, now: datetime) -> LedgerState:
    since = state.phase.since if state.phase is not None and state.phase.state == "pausing" else now
    return replace(note(state, now, "pause", event.why), phase=Phase("pausing", since, event.why))


@_fold.register
def _(event: Transitioned, state: LedgerState, now: datetime) -> LedgerState:
    job = state.jobs.get(event.job_name)
    if job is None:
        foreign = JobName.parse(event.job_name) is None and not state.jobs
        return replace(state, awaited=(event.job_name, event.status)) if foreign else state
    if event.repeated or not job.live or job.status in ENDED_STATUSES:
        return state
    known = newest_moment(job.starts)
    if event.at is not None and known is not None and event.at < known - SAME_MOMENT:
        return state  # it was read from the job's description already
    starts = job.starts if event.at is None else advance(job.starts, event.status, event.at)
    lost = sum(start.lost is not None for start in starts) - sum(start.lost is not None for start in job.starts)
    moved = replace(
        job,
        secondary_status=event.status,
        status=event.status if event.status in (*ENDED_STATUSES, "Stopping") else job.status,
        starts=starts,
        interruptions=job.interruptions + lost,
        uploading=event.at if event.status == "Uploading" else job.uploading,
        ended=event.at if event.status in ENDED_STATUSES else job.ended,
    )
    over = state.phase is not None and state.phase.state == "stopping" and event.status in ENDED_STATUSES
    phase = None if over or (state.phase is not None and state.phase.state == "pausing") else state.phase
    return replace(_with(state, moved), phase=phase)


@_fold.register
def _(event: CapacityAwaited, state: LedgerState, now: datetime) -> LedgerState:
    if state.awaited is None or event.job_name != state.awaited[0]:
        return state
    return replace(state, awaited=(event.job_name, "Starting"))


@_fold.register
def _(event: CheckpointsSeen, state: LedgerState, now: datetime) -> LedgerState:
    for moment, step in zip_longest(event.at, event.steps[: len(event.at)]):
        writer = _writer(state, moment)
        state = tick(state, writer.job_name if writer else event.job_name, (Tick(moment, step),))
    return state


@_fold.register
def _(event: ScriptProgressed, state: LedgerState, now: datetime) -> LedgerState:
    found = event.found
    point = (found.at, found.step)
    points = state.points if state.points and state.points[-1] == point else (*state.points, point)[-POINTS_KEPT:]
    return replace(state, reported=found, points=points)


@_fold.register
def _(event: StartEnded, state: LedgerState, now: datetime) -> LedgerState:
    found, known = event.found, state.again.get(event.job_name, ())
    if found.newest is not None and found.lost is not None and (writer := _writer(state, found.newest)) is not None:
        state = tick(state, writer.job_name, (Tick(found.newest),))
    if any(one.start == found.start for one in known):
        return state
    state = replace(state, lost=None if state.lost is None or found.lost is None else state.lost + found.lost)
    if not found.lost:
        return state
    span = Again(found.start, found.at - timedelta(seconds=found.lost), found.at)
    return replace(state, again={**state.again, event.job_name: (*known, span)[-AGAIN_KEPT:]})


@_fold.register
def _(event: ProgressMissing, state: LedgerState, now: datetime) -> LedgerState:
    starts = f"{event.found.starts} starts in a row left nothing new in the checkpoint folder"
    return note(state, now, "no progress", starts)


@_fold.register
def _(event: JobStopped, state: LedgerState, now: datetime) -> LedgerState:
    if event.skip_reason is not None:
        return state
    told = note(state, now, f"{label_of(event.job_name)} stopped", event.why)
    if state.is_over:
        return told
    if (word := _ENDS.get(event.reason)) is not None:
        return finish(told, word, now, event.why)
    return replace(told, phase=Phase("stopping", now, event.why))


@_fold.register
def _(event: RunSucceeded, state: LedgerState, now: datetime) -> LedgerState:
    for attempt in event.attempts:
        state = _with(state, attempt)
    ended = event.attempts[-1].ended if event.attempts else None
    return finish(state, "completed", ended or now)


@_fold.register
def _(event: RunFailed, state: LedgerState, now: datetime) -> LedgerState:
    word = "stopped" if event.killed or event.outcome is Outcome.STOPPED_EXTERNALLY else "failed"
    return finish(note(state, now, word, event.why), word, now, event.why)


def _with(state: LedgerState, job: Attempt) -> LedgerState:
    return replace(state, jobs={**state.jobs, job.job_name: job}, awaited=None)


def _writer(state: LedgerState, moment: datetime) -> Attempt | None:
    """Return the attempt that wrote a checkpoint: the newest that there was then; a folder keeps those before it."""
    there = [one for one in state.attempts if one.created is not None and one.created <= moment]
    return there[-1] if there else None
