"""How a try enters a run that others have left: it answers for what still trains, and hands over what it returns."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_spot.core.decide import Limits
from airflow_spot.core.plan import Plan
from airflow_spot.core.run_state import RunState
from airflow_spot.core.stop_reasons import StopReason
from airflow_spot.local import LocalSageMaker
from airflow_spot.policies.ladder import LadderPolicy
from airflow_spot.runs.controller import Deferral, RunOptions, TrainingRun
from tests.core.cases import RUN, SPOT, tried
from tests.support.sagemaker import DictionaryHook, DictionarySageMaker
from tests.support.service import Task
from tests.support.task import TaskInstance, run_task

PLAN = Plan(RUN, {"AlgorithmSpecification": {"TrainingImage": "i"}}, "renamed", (SPOT,), "s3://bucket/c", "run")
OLDER, NEWER = f"train-afspot-{RUN.key}-1-1", PLAN.job_name(1, 2)


def run(service: DictionarySageMaker, number: int = 2) -> TrainingRun:
    """A try of the run."""
    return TrainingRun(
        DictionaryHook(service),
        PLAN,
        Limits(),
        LadderPolicy((SPOT,)),
        tried(number, 5),
        RunOptions(deferrable=True, print_log=False),
        prepare=lambda folder, first: None,
        observers=(),
        log=logging.getLogger("test"),
    )


@pytest.fixture
def service() -> DictionarySageMaker:
    """A name that changed, and a list that lagged: the older job still trains beside a newer one that has ended."""
    made = DictionarySageMaker()
    made.put(OLDER)
    made.put(NEWER, "Failed", "Failed", FailureReason="AlgorithmError: why")
    for name in (OLDER, NEWER):
        made.add_tags(made.jobs[name]["TrainingJobArn"], [{"Key": "airflow-spot:owner", "Value": "1"}])
    return made


def test_an_older_job_that_is_live_is_this_trys_to_stop(service: DictionarySageMaker) -> None:
    late = run(service)
    late.begin()
    with pytest.raises(Deferral) as wait:
        late.run()
    assert wait.value.job_name == OLDER
    assert service.tags_of(OLDER)["airflow-spot:owner"] == "2"
    late.kill()
    assert service.jobs[OLDER]["TrainingJobStatus"] == "Stopping"


def test_a_job_that_shows_only_after_a_deferral_is_this_trys_to_stop(service: DictionarySageMaker) -> None:
    late = run(service)
    late.resume(RunState(generation=1, first_of_try=1, jobs=(NEWER,)))
    late.kill()
    assert service.jobs[OLDER]["TrainingJobStatus"] == "Stopping"


def test_of_two_live_jobs_each_is_waited_for_and_answered_for(service: DictionarySageMaker) -> None:
    service.put(NEWER, "InProgress")
    late = run(service)
    late.begin()
    service.put(NEWER, "Stopped", "MaxWaitTimeExceeded")
    late._refresh(NEWER)
    with pytest.raises(Deferral) as wait:
        late.run()
    assert wait.value.job_name == OLDER
    assert service.tags_of(OLDER)["airflow-spot:owner"] == "2"
    late.stopping.stop_and_wait(StopReason.FAILURE)
    assert service.jobs[OLDER]["TrainingJobStatus"] == "Stopping"


def test_the_next_number_follows_the_newest_whichever_ended_last(service: DictionarySageMaker) -> None:
    service.put(NEWER, "Stopped", "MaxWaitTimeExceeded")
    late = run(service)
    late.begin()
    service.put(OLDER, "Stopped", "MaxWaitTimeExceeded")
    late._refresh(OLDER)
    with pytest.raises(Deferral) as wait:
        late.run()
    assert wait.value.job_name == PLAN.job_name(1, 3)
    assert service.live() == [PLAN.job_name(1, 3)]


# ---- against Local SageMaker


def test_a_clear_of_a_task_that_does_not_wait_trains_anew(
    local: LocalSageMaker, sync_task: Task, ti: TaskInstance
) -> None:
    handed = run_task(sync_task.operator(steps=2, wait_for_completion=False), ti)
    name = handed["Training"]["TrainingJobName"]
    local.client("sagemaker").get_waiter("training_job_completed_or_stopped").wait(
        TrainingJobName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 120}
    )
    again = run_task(sync_task.operator(steps=2, wait_for_completion=False), ti.cleared())
    assert again["Training"]["TrainingJobName"] != name
    assert again["Spot"]["generation"] == 2


def test_where_the_triggerer_may_not_look_the_worker_waits(
    local: LocalSageMaker, bucket: str, ti: TaskInstance
) -> None:
    """To defer again would be answered at once, again and again, for as long as the job trains."""
    operator = Task(bucket, deferrable=True).operator(steps=30, seconds=0.1)
    context: Any = {"ti": ti}
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(context)
    trigger: Any = deferred.value.trigger
    event = {
        "status": "access_denied",
        "job_name": trigger.job_name,
        "run_state": trigger.run_state,
        "message": "AccessDenied",
    }
    result = Task(bucket, deferrable=True).operator(steps=30, seconds=0.1).execute_complete(context, event)
    assert result["Training"]["TrainingJobName"] == trigger.job_name
    assert result["Training"]["TrainingJobStatus"] == "Completed"
