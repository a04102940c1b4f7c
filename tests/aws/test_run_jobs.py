"""What a run's past costs: a list, and a look at what may have changed. Nothing that may train is overlooked."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from airflow_spot.core.attempt import Attempt
from airflow_spot.core.history import History
from airflow_spot.core.outcomes import Outcome
from airflow_spot.core.plan import Plan
from airflow_spot.core.run_state import RunState
from tests.core.cases import RUN, SPOT, tried
from tests.support.sagemaker import DictionaryHook, DictionarySageMaker

BEGAN = datetime(2026, 11, 1, tzinfo=timezone.utc)
PLAN = Plan(
    run=RUN,
    request={},
    prefix="train",
    ladder=(SPOT,),
    checkpoint_base="s3://bucket/checkpoints",
    checkpoint_scope="run",
)


@pytest.fixture
def service() -> DictionarySageMaker:
    return DictionarySageMaker()


@pytest.fixture
def hook(service: DictionarySageMaker) -> DictionaryHook:
    return DictionaryHook(service)


def had(
    service: DictionarySageMaker, count: int, *, live: bool = False, plan: Plan = PLAN, generation: int = 1
) -> None:
    """Have a run with so many attempts, an hour each, for want of capacity; the last may train."""
    for number in range(1, count + 1):
        trains = live and number == count
        request = plan.request_for(generation, number, SPOT, tried(1, 0))
        request.pop("Tags")
        service.put(
            request.pop("TrainingJobName"),
            *(("InProgress", "Training") if trains else ("Stopped", "MaxWaitTimeExceeded")),
            CreationTime=BEGAN + timedelta(hours=number),
            TrainingEndTime=None if trains else BEGAN + timedelta(hours=number, minutes=59),
            **request,
        )


def deferred(found: tuple[Attempt, ...], first_of_try: int = 1, *jobs: str) -> RunState:
    """What a run with these attempts carries, read back as a resume does."""
    history = History.of(1, found, first_of_try=first_of_try)
    state = RunState.of(history, tried(1, 0), "ns", jobs, None)
    return RunState.from_json(state.to_json())


def calls(service: DictionarySageMaker) -> dict[str, int]:
    found = {operation: service.calls.count(operation) for operation in dict.fromkeys(service.calls)}
    service.calls.clear()
    return found


def test_a_start_costs_the_same_after_thirty_attempts_and_after_three_hundred(
    hook: DictionaryHook, service: DictionarySageMaker
) -> None:
    costs = []
    for count in (30, 100, 300):
        had(service, count, live=True)
        found = hook.jobs_of(PLAN)
        assert [attempt.number for attempt in found] == list(range(1, count + 1))
        assert [attempt.number for attempt in found if attempt.live] == [count]
        costs.append(calls(service))
        service.jobs.clear()
    # Ten that have ended, the live one, and the two names that may be next.
    assert costs[0] == {"ListTrainingJobs": 1, "DescribeTrainingJob": 13, "ListTags": 11}
    assert costs[1] == costs[0]
    assert costs[2] == {**costs[0], "ListTrainingJobs": 3}


def test_what_is_not_read_is_known_as_far_as_the_list_tells(hook: DictionaryHook, service: DictionarySageMaker) -> None:
    had(service, 20)
    first, *_, last = hook.jobs_of(PLAN)
    assert (first.whole, last.whole) == (False, True)
    assert (first.outcome, first.created) == (Outcome.CAPACITY_TIMEOUT, BEGAN + timedelta(hours=1))
    assert first.ended == BEGAN + timedelta(hours=1, minutes=59)
    assert first.rung == "" and first.created_by is None
    whole = hook.read_ended(first)
    assert whole is not None
    assert (whole.rung, whole.outcome, whole.created_by) == (str(SPOT), Outcome.CAPACITY_TIMEOUT, tried(1, 0))


def test_a_resume_reads_what_it_waited_for_and_nothing_else(hook: DictionaryHook, service: DictionarySageMaker) -> None:
    """The attempts of this try are carried, those before it only counted."""
    costs = []
    for count in (3, 30, 300):
        had(service, count, live=True)
        waited_for = PLAN.job_name(1, count)
        for first_of_try in (1, count):
            whole = tuple(hook.as_attempt(service.jobs[name]) for name in service.jobs)
            state = deferred(whole, first_of_try, waited_for)
            service.put(waited_for, "Stopped", "MaxWaitTimeExceeded")
            calls(service)
            found = DictionaryHook(service).jobs_of(PLAN, state=state)  # each resume is another process
            costs.append(calls(service))
            assert [attempt.number for attempt in found if attempt.whole] == [count]
            service.put(waited_for)
        service.jobs.clear()
    assert costs[0] == {"ListTrainingJobs": 1, "DescribeTrainingJob": 3, "ListTags": 1}
    assert costs[:4] == [costs[0]] * 4
    assert costs[4:] == [{**costs[0], "ListTrainingJobs": 3}] * 2


def test_a_state_of_an_older_version_has_the_trys_attempts_read(
    hook: DictionaryHook, service: DictionarySageMaker
) -> None:
    had(service, 20, live=True)
    found = hook.jobs_of(PLAN, state=RunState.from_json({"generation": 1, "first_of_try": 5}))
    assert [attempt.number for attempt in found if not attempt.whole] == [1, 2, 3, 4]
    assert calls(service)["ListTags"] == 16


def test_a_carried_attempt_is_not_lost_with_its_job(hook: DictionaryHook, service: DictionarySageMaker) -> None:
    """It counts for its try's budgets as before; with its job gone there is nothing more to read of it."""
    had(service, 4, live=True)
    state = deferred(hook.jobs_of(PLAN))
    del service.jobs[PLAN.job_name(1, 2)]
    found = hook.jobs_of(PLAN, state=state)
    assert [attempt.number for attempt in found] == [1, 2, 3, 4]
    assert DictionaryHook(service).read_ended(found[1]) is None


def test_a_resume_lists_no_further_back_than_its_first_job(hook: DictionaryHook, service: DictionarySageMaker) -> None:
    """Whatever is known of the DAG run: after a backfill of 2019 that is nothing."""
    for number in range(1, 2_001):
        name = PLAN.job_name(1, number).replace(RUN.key, "zzzzzzzzzz")
        service.put(name, "Completed", "Completed", CreationTime=BEGAN - timedelta(days=1))
    service.filters_late = True
    had(service, 2, live=True)
    state = deferred(tuple(job for job in hook.jobs_of(PLAN)), 1, PLAN.job_name(1, 2))
    assert calls(service)["ListTrainingJobs"] == 21
    assert state.since == BEGAN + timedelta(hours=1)
    assert [attempt.number for attempt in hook.jobs_of(PLAN, state=state)] == [1, 2]
    assert calls(service)["ListTrainingJobs"] <= 2
    bounded = replace(PLAN, run=replace(RUN, since=BEGAN - timedelta(hours=1)))
    assert [attempt.number for attempt in hook.jobs_of(bounded)] == [1, 2]
    assert calls(service)["ListTrainingJobs"] <= 2


def test_the_generation_that_was_deferred_is_not_lost_with_its_first_jobs(
    hook: DictionaryHook, service: DictionarySageMaker
) -> None:
    had(service, 3, generation=2, live=True)
    del service.jobs[PLAN.job_name(2, 1)]
    state = RunState(2, 1, jobs=(PLAN.job_name(2, 3),))
    service.denied.add("ListTrainingJobs")
    assert [attempt.number for attempt in hook.jobs_of(PLAN, state=state)] == [2, 3]
    paused = RunState(3, 1)
    assert hook.jobs_of(PLAN, state=paused) == ()


def test_the_live_ones_of_a_generation_cost_a_look_each(hook: DictionaryHook, service: DictionarySageMaker) -> None:
    had(service, 60, live=True)
    assert hook.live_of_generation(PLAN, 1) == [PLAN.job_name(1, 60)]
    assert calls(service) == {"ListTrainingJobs": 1, "DescribeTrainingJob": 2, "ListTags": 1}


# ---- what hides a job


@pytest.mark.parametrize("deleted", [[2], [1, 2], [2, 3, 4, 5]])
def test_without_a_list_deleted_jobs_hide_no_live_one(
    hook: DictionaryHook, service: DictionarySageMaker, deleted: list[int]
) -> None:
    """A second live job would come of it."""
    service.denied.add("ListTrainingJobs")
    had(service, 6, live=True)
    for number in deleted:
        del service.jobs[PLAN.job_name(1, number)]
    assert [attempt.number for attempt in hook.jobs_of(PLAN) if attempt.live] == [6]
    assert hook.live_of_generation(PLAN, 1) == [PLAN.job_name(1, 6)]


def test_without_a_list_a_resume_knows_what_it_waited_for(hook: DictionaryHook, service: DictionarySageMaker) -> None:
    """However many were deleted before it: a start tries some names behind the first gap, and no more."""
    service.denied.add("ListTrainingJobs")
    had(service, 20, live=True)
    for number in range(1, 20):
        del service.jobs[PLAN.job_name(1, number)]
    state = RunState(1, 1, jobs=(PLAN.job_name(1, 20),))
    assert [attempt.number for attempt in hook.jobs_of(PLAN, state=state)] == [20]


def test_without_a_list_a_deleted_first_job_hides_no_generation(
    hook: DictionaryHook, service: DictionarySageMaker
) -> None:
    service.denied.add("ListTrainingJobs")
    had(service, 2)
    had(service, 3, generation=2, live=True)
    del service.jobs[PLAN.job_name(2, 1)], service.jobs[PLAN.job_name(2, 2)]
    assert [(job.name.generation, job.number) for job in hook.jobs_of(PLAN)] == [(2, 3)]


def test_a_job_that_the_list_still_shows_as_live_is_looked_at(
    hook: DictionaryHook, service: DictionarySageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list lags: it may say of a job that has ended that it trains, but never the other way round."""
    had(service, 30, live=True)
    listed = service.list_training_jobs
    early = PLAN.job_name(1, 3)

    def lags(**request: Any) -> dict[str, Any]:
        page = listed(**request)
        lines = [
            {**line, "TrainingJobStatus": "InProgress"} if line["TrainingJobName"] == early else line
            for line in page["TrainingJobSummaries"]
        ]
        return {**page, "TrainingJobSummaries": lines}

    monkeypatch.setattr(service, "list_training_jobs", lags)
    found = {attempt.job_name: attempt for attempt in hook.jobs_of(PLAN)}
    assert found[early].outcome is Outcome.CAPACITY_TIMEOUT
    assert found[early].whole


def test_a_status_that_is_newer_than_this_package_is_of_a_live_job(
    hook: DictionaryHook, service: DictionarySageMaker
) -> None:
    had(service, 20)
    service.put(PLAN.job_name(1, 2), "Hibernating", "Hibernating")
    assert [attempt.number for attempt in hook.jobs_of(PLAN) if attempt.live] == [2]
    assert hook.live_of_generation(PLAN, 1) == [PLAN.job_name(1, 2)]
