"""Jobs of other roles beside the attempt: none is waited for in its place, and none outlives the run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from airflow_spot.core.attempt import Attempt
from airflow_spot.core.decide import Fail, Pause, Stop, Submit, Succeed, Wait, decide
from airflow_spot.core.history import History, begin_try
from airflow_spot.core.identity import JobName
from airflow_spot.core.outcomes import Outcome
from airflow_spot.core.roles import Role
from airflow_spot.core.stop_reasons import StopReason
from airflow_spot.core.try_marks import TryMark
from tests.core.cases import NOW, RUN, attempt, killed, limits, tried


def probe(outcome: Outcome | None = None, number: int = 1, **more: Any) -> Attempt:
    name = JobName("train", RUN.key, more.pop("generation", 1), number, Role.PROBE)
    return replace(attempt(number, outcome, **more), name=name, job_name=str(name))


def act(past: History, **more: Any) -> Any:
    case = limits(**more)
    return decide(case.limits, past, NOW, case.policy)


def test_a_probe_is_no_attempt() -> None:
    past = History.of(1, [probe(number=7), attempt(1, Outcome.CAPACITY_TIMEOUT), probe(Outcome.COMPLETED, 6)])
    assert [job.number for job in past.attempts] == [1]
    assert [job.number for job in past.others] == [7]  # only what is live
    action = act(past)
    assert isinstance(action, Submit) and action.number == 2


def test_the_attempt_is_waited_for_and_not_the_probe() -> None:
    past = History.of(1, [attempt(1, None), probe()])
    assert past.live == past.attempts[0]
    assert past.live_jobs == (past.attempts[0], past.others[0])
    action = act(past)
    assert isinstance(action, Wait) and action.attempt == past.attempts[0]


@pytest.mark.parametrize(
    ("outcome", "more"),
    [(Outcome.COMPLETED, {}), (Outcome.SCRIPT_ERROR, {}), (Outcome.NO_CAPACITY, {"give_up_at": NOW})],
)
def test_a_run_that_ends_stops_its_probe_first(outcome: Outcome, more: dict[str, Any]) -> None:
    past = History.of(1, [attempt(1, outcome), probe()])
    action = act(past, **more)
    assert isinstance(action, Stop)
    assert (action.attempt, action.reason) == (past.others[0], StopReason.PROBE)
    stopping = History.of(1, [attempt(1, outcome), probe(status="Stopping")])
    assert isinstance(act(stopping, **more), Succeed if outcome is Outcome.COMPLETED else Fail)


def test_a_pause_between_attempts_leaves_the_probe() -> None:
    assert isinstance(act(History.of(1, [attempt(1, Outcome.NO_CAPACITY), probe()])), Pause)


def test_a_restart_stops_every_job_before_the_next_generation() -> None:
    past = begin_try([attempt(1, None, created_by=tried(1, 2)), probe()], tried(2, 3), resume=False)
    assert past.restart_requested
    first = act(past)
    assert isinstance(first, Stop) and (first.attempt, first.reason) == (past.attempts[0], StopReason.RESTART)
    ended = replace(past, attempts=(attempt(1, Outcome.STOPPED_BY_OPERATOR),))
    assert ended.next_generation_if_idle() is ended
    second = act(ended)
    assert isinstance(second, Stop) and second.attempt == past.others[0]
    assert replace(ended, others=()).next_generation_if_idle() == History(2)


def test_a_probe_makes_no_generation_and_is_adopted_at_a_tries_begin() -> None:
    past = begin_try([attempt(1, Outcome.NO_CAPACITY), probe(), probe(generation=5)], tried(2, 2))
    assert (past.generation, past.first_of_try, len(past.others)) == (1, 2, 1)


def test_a_delivered_run_that_is_cleared_ends_its_probe_before_it_begins_again() -> None:
    done = attempt(1, Outcome.COMPLETED, created_by=tried(1, 0), delivered_by=tried(1, 0))
    past = begin_try([done, probe()], tried(2, 1))
    assert past.restart_requested
    assert isinstance(act(past), Stop)
    assert begin_try([done, probe(Outcome.COMPLETED)], tried(2, 1)) == History(2)


@pytest.mark.parametrize("generation", [1, 2])
def test_the_folder_of_a_generation_is_its_newest_attempts(generation: int) -> None:
    jobs = [
        attempt(1, Outcome.CAPACITY_TIMEOUT, generation=generation, checkpoint_s3_uri="s3://bucket/a"),
        attempt(2, Outcome.CAPACITY_TIMEOUT, generation=generation, checkpoint_s3_uri="s3://bucket/b"),
        attempt(3, Outcome.NO_CAPACITY, generation=generation, checkpoint_s3_uri=""),
    ]
    assert History.of(generation, jobs).checkpoint_s3_uri == "s3://bucket/b"
    assert History(generation).checkpoint_s3_uri == ""


def test_a_restart_waits_for_what_is_still_stopping() -> None:
    done = attempt(1, Outcome.COMPLETED, created_by=tried(1, 0), delivered_by=tried(1, 0))
    past = begin_try([done, probe(status="Stopping")], tried(2, 1))
    action = act(past)
    assert isinstance(action, Wait) and action.attempt == past.others[0]


@pytest.mark.parametrize("status", ["Stopping", "Stopped"])
def test_a_clear_of_a_running_task_restarts_where_its_job_was_stopped_for_it(status: str) -> None:
    """With resume=False: max_tries is unchanged, and the kill's mark is on the job, which still stops for minutes."""
    outcome = None if status == "Stopping" else Outcome.STOPPED_BY_OPERATOR
    job = attempt(1, outcome, status=status, stop=killed(1), created_by=TryMark(1, 2, 2, 0))
    now = TryMark(2, 2, 2, 1)
    past = begin_try([job], now, resume=False)
    assert past.restart_requested if outcome is None else past == History(2)
    assert begin_try([job], now, resume=True).generation == 1
    assert begin_try([job], TryMark(2, 2, 2, 0), resume=False).generation == 1  # nothing was cleared: a drained worker
