"""Runs that the tests of the timeline are made of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any

from airflow_spot.core.attempt import Attempt
from airflow_spot.core.events import AttemptCreated, Event, Transitioned
from airflow_spot.core.outcomes import Outcome
from airflow_spot.core.starts import Start
from airflow_spot.core.timeline.fold import fold
from airflow_spot.core.timeline.state import LedgerState
from tests.core.cases import NOW, RUN, attempt, later


def begun(**more: Any) -> LedgerState:
    """A run of which nothing is known yet."""
    return replace(LedgerState.begin(RUN, 1, NOW, region="eu-west-1"), **more)


def created(number: int = 1, at: float = 0.0, **more: Any) -> Attempt:
    """An attempt that was just created, so many seconds after NOW."""
    moment = later(seconds=at)
    return attempt(number, None, created=moment, starts=(Start(moment),), why="first attempt", **more)


def heard(state: LedgerState, *events: Event, now: datetime = NOW) -> LedgerState:
    """A run after events."""
    for event in events:
        state = fold(state, event, now)
    return state


def passed(job: Attempt, *spans: tuple[str, float]) -> tuple[Event, ...]:
    """The transitions of a job, each at so many seconds after NOW."""
    return tuple(Transitioned(job.job_name, "attempt", status, later(seconds=at)) for status, at in spans)


def twice_interrupted() -> tuple[LedgerState, Attempt]:
    """A run whose job was interrupted twice and trains again, as a trigger hears it."""
    job = created()
    story = passed(
        job,
        *(("Starting", 1), ("Downloading", 10), ("Training", 20), ("Interrupted", 120), ("Starting", 121)),
        *(("Downloading", 150), ("Training", 160), ("Interrupted", 260), ("Starting", 261), ("Downloading", 300)),
        ("Training", 310),
    )
    return heard(begun(), AttemptCreated(job), *story), job


def large(attempts: int, starts: int, ticks: int = 0) -> LedgerState:
    """A run of so many attempts with so many starts and ticks each, all over but the last."""
    from airflow_spot.core.timeline.state import Tick, take_in, tick

    jobs = []
    for number in range(1, attempts + 1):
        begin = (number - 1) * starts * 1000.0
        spans = tuple(_start(begin + place * 1000.7) for place in range(starts))
        over = {} if number == attempts else {"training_seconds": starts * 900, "billable_seconds": starts * 300}
        made = attempt(
            number,
            None if number == attempts else Outcome.NO_CAPACITY,
            created=later(seconds=begin),
            ended=later(seconds=begin + starts * 1000),
            starts=spans,
            interruptions=starts,
            why=f"attempt {number - 1}: no capacity for ml.g5.xlarge spot; same checkpoint",
            failure_reason="" if number == attempts else "CapacityError: Unable to provision requested ML compute.",
            **over,
        )
        jobs.append(made)
    state = take_in(begun(), jobs, 1, lost=1234.5)
    for job in jobs:
        state = tick(state, job.job_name, (Tick(later(seconds=60.0 * each), each) for each in range(ticks)))
    return state


def _start(at: float) -> Start:
    return Start(*(later(seconds=at + more) for more in (0, 93.417, 121.903, 987.6 + at % 7.13, 987.6 + at % 7.13)))


def names(jobs: Iterable[Attempt]) -> list[int]:
    """The numbers of jobs."""
    return [job.number for job in jobs]
