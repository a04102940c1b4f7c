"""A run with a long past: told from what was read, summed up over all of it, and read once."""

from __future__ import annotations

import json
import logging
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from airflow_spot.core.decide import Limits
from airflow_spot.core.events import AttemptFound, Event, RunFailed, RunSucceeded
from airflow_spot.core.outcomes import Outcome
from airflow_spot.core.plan import Plan
from airflow_spot.core.result import build_result
from airflow_spot.core.run_state import RunState
from airflow_spot.core.try_marks import TryMark
from airflow_spot.errors import SpotTrainingError
from airflow_spot.policies.ladder import LadderPolicy
from airflow_spot.runs.controller import Deferral, RunOptions, TrainingRun
from tests.core.cases import NOW, RUN, SPOT
from tests.support.sagemaker import DictionaryHook, DictionarySageMaker, error

PLAN = Plan(RUN, {"AlgorithmSpecification": {"TrainingImage": "i"}}, "train", (SPOT,), "s3://bucket/c", "run")
NAMES = {number: PLAN.job_name(1, number) for number in range(1, 400)}


@pytest.fixture
def service() -> DictionarySageMaker:
    return DictionarySageMaker()


def worker(
    service: DictionarySageMaker, this_try: TryMark, heard: list[Event] | None = None, **limits: Any
) -> TrainingRun:
    made = TrainingRun(
        DictionaryHook(service),
        PLAN,
        Limits(**limits),
        LadderPolicy((SPOT,)),
        this_try,
        RunOptions(deferrable=True, print_log=False),
        prepare=lambda folder, first: None,
        observers=(heard.append,) if heard is not None else (),
        log=logging.getLogger("test"),
    )
    made.hook.job_log = lambda name: type("Log", (), {"tail": lambda self, limit: []})()  # type: ignore
    return made


def waits(run: TrainingRun, enter: Any) -> RunState:
    """Let a worker continue until it has to wait; return what comes back from Airflow's database."""
    enter()
    with pytest.raises(Deferral) as wait:
        run.run()
    return RunState.from_json(json.loads(json.dumps(wait.value.run_state.to_json())))


def end(service: DictionarySageMaker, number: int, **more: Any) -> None:
    """Let an attempt end: it had its instances for 90 seconds, and then there was no capacity any more."""
    made = service.jobs[NAMES[number]]["CreationTime"]
    spans = [
        {"Status": "Starting", "StartTime": made, "EndTime": made + timedelta(seconds=10)},
        {
            "Status": "Training",
            "StartTime": made + timedelta(seconds=10),
            "EndTime": made + timedelta(seconds=100),
        },
    ]
    fields = {
        "status": "Stopped",
        "secondary": "MaxWaitTimeExceeded",
        "TrainingEndTime": made + timedelta(seconds=100),
        "SecondaryStatusTransitions": spans,
        "TrainingTimeInSeconds": 90,
        "BillableTimeInSeconds": 30,
        **more,
    }
    service.put(NAMES[number], **fields)


def tried_often(service: DictionarySageMaker, count: int) -> RunState:
    """Have one try of a run make so many attempts, the last of which trains."""
    run = worker(service, TryMark(1, 3))
    state = waits(run, run.begin)
    for number in range(1, count):
        end(service, number)
        run = worker(service, TryMark(1, 3))
        state = waits(run, lambda run=run, state=state: run.resume(state))
    return state


def test_each_resume_of_a_try_costs_the_same(service: DictionarySageMaker) -> None:
    costs = []
    state = tried_often(service, 2)
    for number in range(2, 40):
        end(service, number)
        service.calls.clear()
        run = worker(service, TryMark(1, 3))
        state = waits(run, lambda run=run, state=state: run.resume(state))
        costs.append(Counter(service.calls))
    assert costs[-1] == costs[0]
    assert sum(costs[0].values()) == 8
    assert list(service.jobs) == [NAMES[number] for number in range(1, 41)]
    assert service.live() == [NAMES[40]]


def test_the_result_is_of_all_attempts_and_each_is_read_once_for_it(service: DictionarySageMaker) -> None:
    heard: list[Event] = []
    state = tried_often(service, 30)
    end(service, 30, status="Completed", secondary="Completed")
    run = worker(service, TryMark(1, 3), heard)
    run.resume(state)
    service.calls.clear()
    description, history = run.run()
    assert Counter(service.calls)["DescribeTrainingJob"] == 29  # those before it: the result's is known by then
    assert Counter(service.calls)["ListTags"] == 0
    spot = build_result(description, history, RUN.key, NOW)["Spot"]
    assert (spot["training_seconds"], spot["billable_seconds"], spot["waited_seconds"]) == (2700, 900, 300)
    assert [one["outcome"] for one in spot["attempts"]] == ["max_wait_exceeded"] * 29 + ["completed"]
    assert {one["instance_type"] for one in spot["attempts"]} != {"unknown"}
    (told,) = [event for event in heard if isinstance(event, RunSucceeded)]
    assert told.totals.attempts == 30 and all(attempt.whole for attempt in told.attempts)


def test_a_clear_after_many_attempts_reads_the_newest_and_trains_on(
    service: DictionarySageMaker, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[Event] = []
    tried_often(service, 30)
    end(service, 30, secondary="Stopped")  # a person's stop
    caplog.set_level(logging.INFO, "test")
    service.calls.clear()
    run = worker(service, TryMark(2, 5), heard)
    state = waits(run, run.begin)
    assert state.jobs == (NAMES[31],)
    assert (state.first_of_try, state.ended) == (31, ())
    assert [event.attempt.number for event in heard if isinstance(event, AttemptFound)] == list(range(21, 31))
    assert "20 earlier attempts" in caplog.text
    assert len(service.calls) <= 34
    end(service, 31, status="Failed", secondary="Failed", FailureReason="AlgorithmError: exit code: 1")
    run = worker(service, TryMark(2, 5), heard)
    run.resume(state)
    with pytest.raises(SpotTrainingError):
        run.run()
    (failed,) = [event for event in heard if isinstance(event, RunFailed)]
    assert (failed.totals.attempts, failed.totals.training_seconds) == (31, 31 * 90)
    # How a stopped one ended, its tags may say: a person's stop is still one.
    assert run.history.attempts[29].outcome is Outcome.STOPPED_EXTERNALLY


def test_an_older_one_that_trains_has_all_that_came_after_it_read(service: DictionarySageMaker) -> None:
    """A list lagged, and its name had changed: what this try answers for begins with it."""
    tried_often(service, 30)
    end(service, 30)
    service.put(NAMES[5], "InProgress", "Training")
    run = worker(service, TryMark(2, 3))
    run.begin()
    assert run.history.first_of_try == 5
    assert all(attempt.whole for attempt in run.history.of_this_try)
    assert [attempt.number for attempt in run.history.attempts if not attempt.whole] == [1, 2, 3, 4]


def test_a_success_does_not_fail_for_its_sums(service: DictionarySageMaker, caplog: pytest.LogCaptureFixture) -> None:
    state = tried_often(service, 5)
    end(service, 5, status="Completed", secondary="Completed")
    run = worker(service, TryMark(1, 3))
    run.resume(state)
    describe = service.describe_training_job

    def refuses(TrainingJobName: str) -> dict[str, Any]:
        if TrainingJobName in (NAMES[2], NAMES[3]):
            raise error("ThrottlingException", "Rate exceeded", "DescribeTrainingJob")
        return describe(TrainingJobName)

    service.describe_training_job = refuses  # type: ignore[method-assign]
    description, history = run.run()
    spot = build_result(description, history, RUN.key, NOW)["Spot"]
    assert description["TrainingJobStatus"] == "Completed"
    assert [one["outcome"] for one in spot["attempts"]] == ["max_wait_exceeded"] * 4 + ["completed"]
    # What was billed is not known: not guessed, and not zero.
    assert (spot["billable_seconds"], spot["savings_percent"], spot["cost"]) == (None, None, None)
    assert "could not be read (ThrottlingException at DescribeTrainingJob)" in caplog.text


def test_one_that_was_deleted_is_left_out_of_the_sums(service: DictionarySageMaker) -> None:
    state = tried_often(service, 5)
    end(service, 5, status="Completed", secondary="Completed")
    run = worker(service, TryMark(1, 3))
    run.resume(state)
    del service.jobs[NAMES[2]]
    _, history = run.run()
    assert [attempt.number for attempt in history.attempts] == [1, 3, 4, 5]
    assert history.last is not None and history.last.outcome is Outcome.COMPLETED
