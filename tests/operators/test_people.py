"""What people do to jobs, and to tasks: a job is deleted or stopped, a task changed and cleared."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_spot.errors import (
    NonRetryableSpotError,
    RequestError,
    StoppedExternallyError,
)
from airflow_spot.runs import controller
from tests.operators.scene import Shy, cleared, deferred, operator, resume, ti
from tests.support.sagemaker import DictionarySageMaker, error
from tests.support.task import TaskInstance

pytestmark = pytest.mark.usefixtures("short_pauses")

# ---- a success


def test_retention_comes_before_delivery(service: DictionarySageMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that is lost while checkpoints are deleted leaves a result that the next try takes, and pays no more."""
    trigger = deferred(service, ti())
    service.put(trigger.job_name, "Completed", "Completed")
    marked: list[bool] = []

    def retention(*_: Any) -> None:
        marked.append("airflow-spot:delivered" in service.tags_of(trigger.job_name))

    monkeypatch.setattr("airflow_spot.runs.delivery.apply_retention", retention)
    resume(operator(service, checkpoint_retention="30d"), ti(), trigger, "terminal")
    assert marked == [False]
    assert "airflow-spot:delivered" in service.tags_of(trigger.job_name)


@pytest.mark.parametrize(
    ("choice", "name"), [(None, "-1-2"), ("resume", "-1-2"), ("restart", "-2-1"), ("fail", RequestError)]
)
def test_a_result_that_nobody_got_is_not_that_of_a_task_changed_and_cleared(
    service: DictionarySageMaker, choice: str | None, name: Any
) -> None:
    trigger = deferred(service, ti())
    service.put(trigger.job_name, "Completed", "Completed")
    changed = {"config": {"HyperParameters": {"steps": "99"}}, "on_config_change": choice}
    if isinstance(name, str):
        again = deferred(service, cleared(), **changed)
        assert again.job_name.endswith(name)
        service.put(again.job_name, "Failed", "Failed", FailureReason="InternalServerError: sorry")
        assert deferred(service, cleared(), **changed).job_name != trigger.job_name
    else:
        context: Any = {"ti": cleared()}
        with pytest.raises(name):
            operator(service, **changed).execute(context)
        assert len(service.jobs) == 1


@pytest.mark.parametrize(("this", "config"), [(ti(2, 1), {"HyperParameters": {"steps": "99"}}), (cleared(), {})])
def test_a_result_that_nobody_got_is_a_retrys_and_an_unchanged_tasks(
    service: DictionarySageMaker, this: TaskInstance, config: dict[str, Any]
) -> None:
    trigger = deferred(service, ti(1, 1))
    service.put(trigger.job_name, "Completed", "Completed")
    context: Any = {"ti": this}
    assert operator(service, config=config).execute(context)["Training"]["TrainingJobName"] == trigger.job_name
    assert len(service.jobs) == 1


def test_a_refused_create_after_a_result_that_is_not_wanted_does_not_bring_it_back(
    service: DictionarySageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    trigger = deferred(service, ti())
    service.put(trigger.job_name, "Completed", "Completed")
    changed: dict[str, Any] = {"config": {"HyperParameters": {"steps": "99"}}}
    create = service.create_training_job

    def refused(**_: Any) -> Any:
        raise error("ResourceLimitExceeded", "The account-level service limit is 0 Instances", "CreateTrainingJob")

    monkeypatch.setattr(service, "create_training_job", refused)
    monkeypatch.setattr(controller, "SHORT_PAUSE_SECONDS", 0.0)
    pause = deferred(service, cleared(), **changed)
    assert pause.job_name is None
    monkeypatch.setattr(service, "create_training_job", create)
    with pytest.raises(TaskDeferred) as again:
        resume(operator(service, **changed), cleared(), pause, "quota_available")
    made: Any = again.value.trigger
    assert made.job_name.endswith("-1-2")


# ---- what people do to jobs


@pytest.mark.parametrize("how", ["resume", "sync"])
def test_a_job_that_a_person_deletes_is_not_trained_again(
    service: DictionarySageMaker, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    def delete() -> None:
        service.jobs.clear()

    with pytest.raises(StoppedExternallyError, match="was deleted outside Airflow"):
        if how == "resume":
            trigger = deferred(service, ti(1, 3))
            delete()
            resume(operator(service), ti(1, 3), trigger, "not_found")
        else:
            monkeypatch.setattr("airflow_spot.runs.controller.interruptible_sleep", lambda *_: delete())
            context: Any = {"ti": ti(1, 3)}
            operator(service, deferrable=False).execute(context)
    assert service.calls.count("CreateTrainingJob") == 1
    assert deferred(service, cleared(4)).job_name.endswith("-1-1")


def test_one_answer_without_the_job_is_not_its_deletion(service: DictionarySageMaker) -> None:
    shy = Shy()
    trigger = deferred(shy, ti(1, 3))
    shy.looks = 2
    with pytest.raises(TaskDeferred):
        resume(operator(shy), ti(1, 3), trigger, "not_found")
    assert shy.calls.count("CreateTrainingJob") == 1


def test_a_job_that_completed_and_is_deleted_is_told_of(
    service: DictionarySageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    trigger = deferred(service, ti(1, 3))
    service.put(trigger.job_name, "Completed", "Completed")
    made, decide = operator(service), controller.decide

    def and_delete(*args: Any) -> Any:
        service.jobs.clear()
        made.hook._ended = None  # as where the list alone has told of it
        return decide(*args)

    monkeypatch.setattr(controller, "decide", and_delete)
    with pytest.raises(NonRetryableSpotError, match="completed, and was deleted"):
        resume(made, ti(1, 3), trigger, "terminal")


def test_a_clear_while_the_job_stops_waits_for_its_end_and_goes_on(
    service: DictionarySageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = deferred(service, ti()).job_name
    service.stop_training_job(name)  # by a person, who then clears the task
    trigger = deferred(service, cleared())
    assert trigger.job_name == name
    service.put(name, "Stopped", "Stopped")
    with pytest.raises(TaskDeferred) as again:
        resume(operator(service), cleared(), trigger, "terminal")
    made: Any = again.value.trigger
    assert made.job_name.endswith("-1-2")
    service.stop_training_job(made.job_name)  # and once more: that one is this try's
    service.put(made.job_name, "Stopped", "Stopped")
    with pytest.raises(StoppedExternallyError):
        resume(operator(service), cleared(), made, "terminal")
