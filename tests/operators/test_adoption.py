"""A job that the stock operator started, and that still trains when the import changes, is taken over."""

from __future__ import annotations

import json
import re
import uuid
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_spot.core.parameter_errors import InvalidParameterError
from airflow_spot.errors import RequestError, RunKilledError, SpotTrainingError, StoppedExternallyError
from airflow_spot.local import LocalSageMaker
from airflow_spot.runs.staging import InputStager
from tests.operators.scene import operator, ti
from tests.operators.test_sent_anew import archive
from tests.operators.test_training import job_names, output
from tests.support.requests import SCRIPTS, stock_config
from tests.support.sagemaker import DictionarySageMaker
from tests.support.service import Task
from tests.support.task import TaskInstance, run_task

pytestmark = pytest.mark.usefixtures("short_pauses")

#: A DAG run that was there before the job: that is this one's then, whether it still trains or has ended.
BEGAN = SimpleNamespace(run_after=datetime.now(timezone.utc) - timedelta(hours=1), start_date=None, clear_number=0)


@pytest.fixture
def stagers(monkeypatch: pytest.MonkeyPatch) -> list[InputStager]:
    """What stages the inputs of each try, in order."""
    made: list[InputStager] = []

    class Kept(InputStager):
        def __init__(self, *what: Any, **how: Any) -> None:
            super().__init__(*what, **how)
            made.append(self)

    monkeypatch.setattr("airflow_spot.operators._run_maker.InputStager", Kept)
    return made


def stock_job(local: LocalSageMaker, bucket: str, **hyperparameters: Any) -> str:
    """Start a job as the stock operator does, with checkpoints where a config of the stock operator has them."""
    name = f"digits-{uuid.uuid4().hex[:8]}"
    body = archive({"steps.py": (SCRIPTS / "steps.py").read_bytes()}, 1)
    local.client("s3").put_object(Bucket=bucket, Key="code/sourcedir.tar.gz", Body=body)
    config = stock_config(bucket, name, **hyperparameters)
    config["HyperParameters"] |= {
        "sagemaker_program": json.dumps("steps.py"),
        "sagemaker_submit_directory": json.dumps(f"s3://{bucket}/code/sourcedir.tar.gz"),
    }
    config["CheckpointConfig"] = {"S3Uri": f"s3://{bucket}/output/checkpoints"}
    local.client("sagemaker").create_training_job(**config)
    return name


def test_its_model_is_the_result_and_no_other_run_takes_it(
    local: LocalSageMaker, task: Task, ti: TaskInstance, bucket: str, said: list[str]
) -> None:
    name = stock_job(local, bucket, steps=10, seconds=0.2)
    result = run_task(task.operator(adopt_job=name), ti, dag_run=BEGAN)
    assert result["Training"]["TrainingJobName"] == name
    assert result["Spot"]["model_artifacts"].endswith(f"{name}/output/model.tar.gz")
    assert job_names(local, ti) == []
    assert any(line.startswith(f"Training job {name} completed. Other tasks take") for line in said)
    # A retry returns it again, another DAG run trains for itself, and so does this one after a clear.
    assert run_task(task.operator(adopt_job=name), ti.retried(), dag_run=BEGAN)["Training"]["TrainingJobName"] == name
    other = TaskInstance("train", run_id=f"manual__{uuid.uuid4()}")
    assert run_task(task.operator(adopt_job=name), other, dag_run=BEGAN)["Training"]["TrainingJobName"] != name
    assert any(line.startswith(f"Training job {name} was already adopted by run") for line in said)
    again = run_task(task.operator(adopt_job=name), ti.retried().cleared(), dag_run=BEGAN)
    assert job_names(local, ti) == [again["Training"]["TrainingJobName"]]


def test_training_goes_on_from_its_checkpoints_where_it_fails(
    local: LocalSageMaker, sync_task: Task, ti: TaskInstance, bucket: str
) -> None:
    name = stock_job(local, bucket, steps=8, seconds=0.1, **{"fail-once-at": 5})
    result = run_task(sync_task.operator(adopt_job=name, steps=8), ti, dag_run=BEGAN)
    (job,) = job_names(local, ti)
    assert result["Training"]["TrainingJobName"] == job
    assert "starting after step 4" in output(local, job)
    # Its folder lies in that of the stock operator's job: nothing of runs is copied with it.
    keys = [item["Key"] for item in local.client("s3").list_objects_v2(Bucket=bucket, Prefix="output/")["Contents"]]
    assert len([key for key in keys if key.endswith("step.json")]) == 2


def execute(service: DictionarySageMaker, number: int = 1, **parameters: Any) -> Any:
    context: Any = {"ti": ti(number, 2), "dag_run": BEGAN}
    return operator(service, **parameters).execute(context)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("unknown", "adopt_job is 'unknown': there is no such training job"),
        ("train-afspot-abcdefghij-1-1", "a job of this operator's"),
    ],
)
def test_what_cannot_be_taken_over_is_refused(service: DictionarySageMaker, name: str, says: str) -> None:
    with pytest.raises(RequestError, match=rf"{re.escape(says)}.*Nothing was sent to SageMaker"):
        execute(service, adopt_job=name)
    assert not service.jobs
    service.put("theirs")
    service.denied.add("AddTags")
    with pytest.raises(RequestError, match="adopt_job needs sagemaker:AddTags"):
        execute(service, adopt_job="theirs")


@pytest.mark.parametrize(
    ("wrong", "fix"),
    [
        ("arn:aws:sagemaker:us-east-1:123456789012:training-job/x", "the part of it behind training-job/"),
        ("no name!", "letters, digits and hyphens"),
        (5, "give a training job's name"),
    ],
)
def test_what_is_no_name_is_refused_when_the_dag_is_parsed(service: DictionarySageMaker, wrong: Any, fix: str) -> None:
    with pytest.raises(InvalidParameterError, match=f"adopt_job is .*{fix}"):
        operator(service, adopt_job=wrong)


@pytest.mark.parametrize("keeps", [True, False])
def test_its_checkpoints_are_promised_only_where_sagemaker_keeps_some(
    service: DictionarySageMaker, said: list[str], keeps: bool
) -> None:
    service.put("theirs", CheckpointConfig={"S3Uri": "s3://bucket/theirs"})
    with pytest.raises(TaskDeferred):
        execute(service, adopt_job="theirs", use_checkpoints=keeps)
    service.put("theirs", "Failed", "Failed", FailureReason="AlgorithmError: Exit Code: 1")
    made = operator(service, adopt_job="theirs", use_checkpoints=keeps)
    context: Any = {"ti": ti(2, 2), "dag_run": BEGAN}
    with pytest.raises(TaskDeferred):
        made.execute(context)
    (line,) = [line for line in said if line.startswith("Adopted training job theirs ended")]
    after = "from its checkpoints in s3://bucket/theirs" if keeps else "from nothing: use_checkpoints=False"
    assert line.endswith(f"training continues {after}")


def test_one_that_ended_before_the_dag_run_is_another_runs(service: DictionarySageMaker, said: list[str]) -> None:
    before = datetime.now(timezone.utc) - timedelta(days=1)
    service.put("theirs", "Completed", "Completed", CreationTime=before)
    with pytest.raises(TaskDeferred):
        execute(service, adopt_job="theirs")
    assert "Training job theirs ended before this DAG run: not adopted" in said
    assert len(service.live()) == 1


def test_a_deferred_task_stops_it_when_it_is_killed_and_goes_on_when_a_person_does_not(
    service: DictionarySageMaker,
) -> None:
    service.put("theirs")
    with pytest.raises(TaskDeferred) as wait:
        execute(service, adopt_job="theirs")
    trigger = wait.value.trigger
    assert (trigger.job_name, trigger.stop_on_kill) == ("theirs", True)
    event = {"status": "terminal", "job_name": "theirs", "run_state": trigger.run_state}
    # Nothing has happened yet: it waits on.
    context: Any = {"ti": ti(1, 2), "dag_run": BEGAN}
    with pytest.raises(TaskDeferred):
        operator(service, adopt_job="theirs").execute_complete(context, event)
    service.put("theirs", "Stopped", "Stopped")
    with pytest.raises(StoppedExternallyError, match="theirs, which this task had adopted, was stopped"):
        operator(service, adopt_job="theirs").execute_complete(context, event)
    assert list(service.jobs) == ["theirs"]
    with pytest.raises(TaskDeferred):  # the next try trains on
        execute(service, 2, adopt_job="theirs")
    assert len(service.live()) == 1


@pytest.mark.parametrize("moment", [1, 2, 3])
@pytest.mark.parametrize("runs", [("first", "second"), ("second", "first")])
def test_of_two_runs_at_the_same_moment_one_has_it(
    service: DictionarySageMaker, runs: tuple[str, str], moment: int
) -> None:
    """The second begins between a read and a write of the first: a kill of one would stop the job of both."""
    service.put("theirs")
    reads = service.pages
    waits: list[str] = []

    def begins(run_id: str) -> None:
        context: Any = {"ti": TaskInstance("train", run_id=run_id, try_number=1, max_tries=2), "dag_run": BEGAN}
        try:
            operator(service, adopt_job="theirs").execute(context)
        except TaskDeferred as wait:
            waits.extend([run_id] if wait.trigger.job_name == "theirs" else [])
        except SpotTrainingError as error:
            assert "wants to take it over too" in str(error)

    def pages(operation: str, **asked: Any) -> Any:
        found = list(reads(operation, **asked))
        pages.seen += 1  # type: ignore[attr-defined]
        if pages.seen == moment:  # type: ignore[attr-defined]
            begins(runs[1])
        return iter(found)

    pages.seen = 0  # type: ignore[attr-defined]
    service.pages = pages  # type: ignore[method-assign]
    begins(runs[0])
    assert len(waits) == 1


@pytest.mark.parametrize("moment", [1, 2, 3])
def test_one_that_is_killed_before_it_has_it_keeps_no_other_from_it(service: DictionarySageMaker, moment: int) -> None:
    """It waits for seconds between its claim and the next look."""
    service.put("theirs")
    task = operator(service, adopt_job="theirs", deferrable=False)
    reads = service.pages
    seen: list[str] = []

    def pages(operation: str, **asked: Any) -> Any:
        seen.append(operation)
        if len(seen) == moment:
            task.on_kill()
        return reads(operation, **asked)

    service.pages = pages  # type: ignore[method-assign]
    context: Any = {"ti": TaskInstance("train", run_id="killed", try_number=1, max_tries=2), "dag_run": BEGAN}
    with pytest.raises(RunKilledError) as ended:
        task.execute(context)
    service.pages = reads  # type: ignore[method-assign]
    if "airflow-spot:adopted" in service.tags_of("theirs"):
        assert service.jobs["theirs"]["TrainingJobStatus"] == "Stopping"
        return
    assert "before it adopted training job theirs, which was left alone" in str(ended.value)
    with pytest.raises(TaskDeferred) as wait:
        execute(service, adopt_job="theirs")
    assert wait.value.trigger.job_name == "theirs"


def test_one_that_is_deleted_while_the_task_waits_is_said(service: DictionarySageMaker) -> None:
    service.put("theirs")
    with pytest.raises(TaskDeferred) as wait:
        execute(service, adopt_job="theirs")
    del service.jobs["theirs"]
    event = {"status": "terminal", "job_name": "theirs", "run_state": wait.value.trigger.run_state}
    context: Any = {"ti": ti(1, 2), "dag_run": BEGAN}
    with pytest.raises(StoppedExternallyError, match=r"theirs, .* was deleted while it waited .* Remove adopt_job"):
        operator(service, adopt_job="theirs").execute_complete(context, event)
    assert not service.jobs


def test_where_its_tags_may_not_be_read_it_is_left_alone(service: DictionarySageMaker) -> None:
    service.put("theirs")
    service.denied.add("ListTags")
    with pytest.raises(RequestError, match=r"adopt_job needs sagemaker:ListTags.*Nothing was sent to SageMaker"):
        execute(service, adopt_job="theirs")
    assert service.tags_of("theirs") == {}
    assert list(service.jobs) == ["theirs"]


def test_a_clear_beside_the_live_job_makes_no_second_one(service: DictionarySageMaker) -> None:
    service.put("theirs", CreationTime=datetime.now(timezone.utc))
    execute(service, adopt_job="theirs", wait_for_completion=False)
    context: Any = {"ti": ti(2, 3), "dag_run": BEGAN}  # cleared: max_tries has grown
    operator(service, adopt_job="theirs", wait_for_completion=False).execute(context)
    assert list(service.jobs) == ["theirs"]


def ended(service: DictionarySageMaker, **fields: Any) -> None:
    service.put("theirs", "Stopped", "Stopped", TrainingEndTime=datetime.now(timezone.utc), **fields)


def test_a_clear_with_resume_false_stops_it_and_trains_from_scratch(
    service: DictionarySageMaker, said: list[str], stagers: list[Any]
) -> None:
    began = datetime.now(timezone.utc)
    service.put("theirs", CreationTime=began, CheckpointConfig={"S3Uri": "s3://bucket/theirs"})
    with pytest.raises(TaskDeferred):
        execute(service, adopt_job="theirs", resume=False)
    context: Any = {"ti": ti(2, 4), "dag_run": BEGAN}  # cleared: max_tries has grown
    with pytest.raises(TaskDeferred) as wait:
        operator(service, adopt_job="theirs", resume=False).execute(context)
    assert service.jobs["theirs"]["TrainingJobStatus"] == "Stopping"
    assert service.tags_of("theirs")["airflow-spot:stop"] == "restart 2"
    trigger = wait.value.trigger
    assert (trigger.job_name, list(service.jobs)) == ("theirs", ["theirs"])
    ended(service)
    event = {"status": "terminal", "job_name": "theirs", "run_state": trigger.run_state}
    made = operator(service, adopt_job="theirs", resume=False)
    with pytest.raises(TaskDeferred):
        made.execute_complete(context, event)
    assert stagers[-1]._resume_from is None
    assert len(service.live()) == 1
    assert "The task was cleared to train from scratch: nothing of training job theirs is used" in said


@pytest.mark.parametrize(
    ("retries", "mark", "seeds"),
    [(2, "killed 1", True), (4, "killed 1", False), (4, "", False), (2, "", True)],
    ids=["retry", "clear of what was killed", "clear after it failed", "retry after it failed"],
)
def test_resume_false_is_for_a_clear_and_not_for_a_retry(
    service: DictionarySageMaker, stagers: list[Any], retries: int, mark: str, seeds: bool
) -> None:
    service.put("theirs", CheckpointConfig={"S3Uri": "s3://bucket/theirs"})
    with pytest.raises(TaskDeferred):
        execute(service, adopt_job="theirs", resume=False)
    if mark:
        service.marks[service.jobs["theirs"]["TrainingJobArn"]]["airflow-spot:stop"] = mark
        ended(service)
    else:
        service.put("theirs", "Failed", "Failed", FailureReason="AlgorithmError: Exit Code: 1")
    context: Any = {"ti": ti(2, retries), "dag_run": BEGAN}
    made = operator(service, adopt_job="theirs", resume=False)
    with pytest.raises(TaskDeferred):
        made.execute(context)
    assert (stagers[-1]._resume_from == "s3://bucket/theirs") is seeds
    assert len(service.live()) == 1


def test_a_stop_that_never_came_is_not_a_persons_later_stop(service: DictionarySageMaker) -> None:
    """A worker died between the mark and the stop: the next try takes the mark back, as for its own jobs."""
    service.put("theirs")
    with pytest.raises(TaskDeferred):
        execute(service, adopt_job="theirs")
    service.marks[service.jobs["theirs"]["TrainingJobArn"]]["airflow-spot:stop"] = "killed 1"
    with pytest.raises(TaskDeferred):
        execute(service, 2, adopt_job="theirs")
    assert service.tags_of("theirs")["airflow-spot:stop"].startswith("withdrawn")


def test_a_superseded_worker_does_not_take_it_back(service: DictionarySageMaker) -> None:
    service.put("theirs")
    with pytest.raises(TaskDeferred) as wait:
        execute(service, adopt_job="theirs")
    with pytest.raises(TaskDeferred):
        execute(service, 2, adopt_job="theirs")
    event = {"status": "timeout", "job_name": "theirs", "run_state": wait.value.trigger.run_state}
    context: Any = {"ti": ti(1, 2), "dag_run": BEGAN}
    with pytest.raises(TaskDeferred):
        operator(service, adopt_job="theirs").execute_complete(context, event)
    assert service.tags_of("theirs")["airflow-spot:owner"] == "2"


def test_a_killed_worker_stops_it(service: DictionarySageMaker) -> None:
    service.put("theirs")
    task = operator(service, adopt_job="theirs", deferrable=False, check_interval=0.01)
    seen = task.hook.find

    def find(name: str) -> Any:
        if "airflow-spot:owner" in service.tags_of("theirs"):
            task.on_kill()
        return seen(name)

    task.hook.find = find  # type: ignore[method-assign]
    context: Any = {"ti": ti(1, 2), "dag_run": BEGAN}
    with pytest.raises(Exception, match="Airflow killed this try"):
        task.execute(context)
    assert service.jobs["theirs"]["TrainingJobStatus"] == "Stopping"
    assert service.tags_of("theirs")["airflow-spot:stop"].startswith("killed")
