"""The reaper stops orphans and says what it left. How it asks Airflow is tried in tests/dags and tests/matrix."""

from __future__ import annotations

import json
import time
import uuid

import pytest

from airflow_spot import config
from airflow_spot.aws.jobs import stop
from airflow_spot.compat import task_states as compat_states
from airflow_spot.core.identity import RunIdentity
from airflow_spot.core.orphans import TaskState
from airflow_spot.core.parameter_errors import InvalidParameterError
from airflow_spot.errors import SpotTrainingError
from airflow_spot.local import LocalSageMaker
from airflow_spot.operators.reaper import SageMakerSpotReaperOperator
from tests.local.jobs import Jobs
from tests.support.ours import start_ours


@pytest.fixture
def states(monkeypatch: pytest.MonkeyPatch) -> dict[str, TaskState]:
    """A namespace of its own, in which Airflow knows these DAG runs and no others."""
    found: dict[str, TaskState] = {}
    space = uuid.uuid4().hex
    monkeypatch.setattr(config, "deployment_namespace", lambda: space)
    monkeypatch.setattr(compat_states, "in_task", lambda run: found.get(run.run_id, TaskState(False)))
    return found


def start(jobs: Jobs, run_id: str) -> str:
    return start_ours(jobs, RunIdentity(str(config.deployment_namespace()), "d", run_id, "t"))


def test_orphans_are_stopped_and_the_result_has_no_secrets(
    local: LocalSageMaker, bucket: str, states: dict[str, TaskState]
) -> None:
    jobs = Jobs(local)
    states |= {"failed": TaskState(True, "failed"), "waiting": TaskState(True, "deferred")}
    names = {run_id: start(jobs, run_id) for run_id in ("failed", "waiting", "gone")}
    time.sleep(1.1)
    told = SageMakerSpotReaperOperator(task_id="t", stop="False", grace=1).execute({})
    assert {one["job"] for one in told["orphans"]} == {names["failed"], names["gone"]}
    assert not any(one["stopped"] for one in told["orphans"])
    result = SageMakerSpotReaperOperator(task_id="t", grace="1s").execute({})
    assert all(one["stopped"] for one in result["orphans"])
    assert result["live"] >= 3
    assert "swordfish" not in json.dumps(result)
    assert jobs.end(names["failed"])["TrainingJobStatus"] == "Stopped"
    assert jobs.describe(names["waiting"])["TrainingJobStatus"] == "InProgress"
    jobs.sagemaker.stop_training_job(TrainingJobName=names["waiting"])


def test_a_job_that_ended_or_was_cleared_meanwhile_is_left(
    local: LocalSageMaker, bucket: str, states: dict[str, TaskState], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the first look and the stop."""
    jobs = Jobs(local)
    name = start(jobs, "cleared")
    time.sleep(1.1)
    answers = iter([TaskState(True, "failed"), TaskState(True, None)])
    monkeypatch.setattr(compat_states, "in_task", lambda run: next(answers))
    (orphan,) = SageMakerSpotReaperOperator(task_id="t", grace="1s").execute({})["orphans"]
    assert (orphan["job"], orphan["stopped"], orphan["reason"]) == (name, False, "its task instance is cleared")
    assert jobs.describe(name)["TrainingJobStatus"] == "InProgress"
    jobs.sagemaker.stop_training_job(TrainingJobName=name)


def test_one_that_cannot_be_stopped_fails_the_task_after_the_others(
    local: LocalSageMaker, bucket: str, states: dict[str, TaskState]
) -> None:
    jobs = Jobs(local)
    names = [start(jobs, "one"), start(jobs, "two")]
    time.sleep(1.1)
    local.set_faults("StopTrainingJob=expired:count=1")
    with pytest.raises(SpotTrainingError, match=r"1 of 2 orphans still run: \S+: .*ExpiredToken"):
        SageMakerSpotReaperOperator(task_id="t", grace="1s").execute({})
    statuses = [jobs.describe(name)["TrainingJobStatus"] for name in names]
    assert statuses.count("InProgress") == 1
    for name in names:
        stop(jobs.sagemaker, name)


@pytest.mark.parametrize(("argument", "value"), [("grace", "soon"), ("stop", "perhaps")])
def test_a_literal_is_met_at_construction(argument: str, value: str) -> None:
    with pytest.raises(InvalidParameterError, match=argument):
        SageMakerSpotReaperOperator(task_id="t", **{argument: value})
    SageMakerSpotReaperOperator(task_id="t", **{argument: "{{ params.x }}"})
