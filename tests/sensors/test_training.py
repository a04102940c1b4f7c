"""The sensor against Local SageMaker, in its three ways of waiting."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowRescheduleException, AirflowSensorTimeout, AirflowSkipException

from airflow_spot.errors import RequestError, ScriptError, StoppedExternallyError
from airflow_spot.local import LocalSageMaker
from airflow_spot.sensors.training import SageMakerSpotTrainingSensor
from tests.support.sagemaker import DictionaryHook, DictionarySageMaker
from tests.support.service import Task
from tests.support.task import TaskInstance, run_task


def sensor(job_name: str, **parameters: Any) -> SageMakerSpotTrainingSensor:
    defaults: dict[str, Any] = {"task_id": "wait", "poke_interval": 0.5, "timeout": 60}
    return SageMakerSpotTrainingSensor(job_name=job_name, **{**defaults, **parameters})


def start(task: Task, ti: TaskInstance, **parameters: Any) -> str:
    result = run_task(task.operator(wait_for_completion=False, **parameters), ti)
    return str(result["Training"]["TrainingJobName"])


@pytest.mark.parametrize("deferrable", [False, True])
def test_waits_until_it_has_completed(sync_task: Task, ti: TaskInstance, deferrable: bool) -> None:
    name = start(sync_task, ti, steps=10, seconds=0.1)
    training = run_task(sensor(name, deferrable=deferrable), ti)["Training"]
    assert training["TrainingJobName"] == name
    assert training["TrainingJobStatus"] == "Completed"
    assert not {"HyperParameters", "Environment"} & set(training)


@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.parametrize("soft", ["soft_fail", "never_fail"])
def test_a_failure_that_is_to_be_soft_skips(soft: str, deferrable: bool) -> None:
    waiting = sensor("never-was", deferrable=deferrable, **{soft: True})
    waiting.__dict__["hook"] = DictionaryHook(DictionarySageMaker())
    with pytest.raises(AirflowSkipException):
        run_task(waiting, TaskInstance("wait"))


def test_reschedules(sync_task: Task, ti: TaskInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = sensor(start(sync_task, ti, steps=1000, seconds=0.1), mode="reschedule")
    # When the task was first rescheduled: Airflow asks its API server for it.
    monkeypatch.setattr(ti, "get_first_reschedule_date", lambda context: None, raising=False)
    monkeypatch.setattr(ti, "start_date", datetime.now(timezone.utc), raising=False)
    with pytest.raises(AirflowRescheduleException):
        run_task(waiting, ti)


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_failed_job_is_a_typed_error(sync_task: Task, ti: TaskInstance, deferrable: bool) -> None:
    name = start(sync_task, ti, hyperparameters={"fail-at": 2, "exit-code": 3})
    with pytest.raises(ScriptError, match="AlgorithmError: ExecuteUserScriptError:\nExitCode 3\n"):
        run_task(sensor(name, deferrable=deferrable), ti)


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_stopped_job_is_a_failure(local: LocalSageMaker, sync_task: Task, ti: TaskInstance, deferrable: bool) -> None:
    name = start(sync_task, ti, steps=1000, seconds=0.1)
    local.client("sagemaker").stop_training_job(TrainingJobName=name)
    with pytest.raises(StoppedExternallyError):
        run_task(sensor(name, deferrable=deferrable), ti)


@pytest.mark.parametrize("deferrable", [False, True])
def test_its_timeout_leaves_the_job_alone(
    local: LocalSageMaker, sync_task: Task, ti: TaskInstance, deferrable: bool
) -> None:
    name = start(sync_task, ti, steps=1000, seconds=0.1)
    with pytest.raises(AirflowSensorTimeout):
        run_task(sensor(name, deferrable=deferrable, timeout=1), ti)
    job = local.client("sagemaker").describe_training_job(TrainingJobName=name)
    assert job["TrainingJobStatus"] == "InProgress"


def test_no_such_job(sync_task: Task, ti: TaskInstance) -> None:
    with pytest.raises(RequestError, match="There is no training job nothing-of-the-kind"):
        run_task(sensor("nothing-of-the-kind"), ti)


def test_why_a_job_failed_is_told_without_its_values() -> None:
    """A framework container writes the script's command line into the FailureReason."""
    service = DictionarySageMaker()
    reason = 'AlgorithmError: ExecuteUserScriptError:\nCommand "python train.py --password hunter2", exit code: 1'
    service.put("job", "Failed", "Failed", FailureReason=reason, HyperParameters={"password": "hunter2"})
    waiting = sensor("job")
    waiting.__dict__["hook"] = DictionaryHook(service)
    context: Any = {}
    with pytest.raises(ScriptError, match=r"--password \*\*\*") as failed:
        waiting.execute(context)
    assert "hunter2" not in str(failed.value)
