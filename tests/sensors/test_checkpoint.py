"""The sensor of checkpoints, in its three ways of waiting, against Local SageMaker and against dictionaries."""

from __future__ import annotations

import json
import threading
from datetime import datetime, timedelta, timezone
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.exceptions import AirflowException
from airflow.providers.common.compat.sdk import TaskDeferred
from airflow.sdk.exceptions import AirflowRescheduleException, AirflowSensorTimeout, AirflowSkipException

from airflow_spot.core.parameter_errors import InvalidParameterError
from airflow_spot.errors import NoProgressError, RequestError
from airflow_spot.local import LocalSageMaker
from airflow_spot.sensors.checkpoint import SageMakerCheckpointSensor
from airflow_spot.triggers import checkpoints
from airflow_spot.triggers.checkpoints import SageMakerCheckpointTrigger
from tests.support.sagemaker import DictionaryHook, DictionarySageMaker, error
from tests.support.service import Task
from tests.support.task import TaskInstance, run_task

FOLDER = "s3://bucket/c"
HOUR = timedelta(hours=1)


def sensor(**parameters: Any) -> SageMakerCheckpointSensor:
    return SageMakerCheckpointSensor(**{"task_id": "wait", "poke_interval": 0.5, "timeout": 120, **parameters})


def start(task: Task, ti: TaskInstance, **parameters: Any) -> str:
    result = run_task(task.operator(wait_for_completion=False, steps=1000, seconds=0.1, **parameters), ti)
    return str(result["Training"]["TrainingJobName"])


@pytest.mark.parametrize("deferrable", [False, True])
def test_waits_until_one_is_written(local: LocalSageMaker, sync_task: Task, ti: TaskInstance, deferrable: bool) -> None:
    name = start(sync_task, ti)
    job = local.client("sagemaker").describe_training_job(TrainingJobName=name)
    found = run_task(sensor(job_name=name, deferrable=deferrable), TaskInstance("wait"))
    assert found["checkpoint_s3_uri"] == job["CheckpointConfig"]["S3Uri"]
    assert datetime.fromisoformat(found["written"]) >= job["CreationTime"].replace(microsecond=0)
    # By its folder alone; and a newer one, which the job writes meanwhile.
    alone = sensor(checkpoint_s3_uri=found["checkpoint_s3_uri"], newer_than=found["written"], deferrable=deferrable)
    again = run_task(alone, TaskInstance("wait"))
    assert datetime.fromisoformat(again["written"]) > datetime.fromisoformat(found["written"])


@pytest.mark.parametrize("deferrable", [False, True])
def test_fails_where_a_job_trains_and_writes_none(
    sync_task: Task, ti: TaskInstance, deferrable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "JOB_INTERVAL_SECONDS", 0.5)
    name = start(sync_task, ti, hyperparameters={"forget": 1})
    with pytest.raises(NoProgressError, match=r"has trained for 2 s and written no checkpoint .*docs/checkpoints\.md"):
        run_task(sensor(job_name=name, stale_after=2, deferrable=deferrable), TaskInstance("wait"))


@pytest.mark.parametrize("deferrable", [False, True])
def test_or_warns_once_and_waits_on(
    local: LocalSageMaker, sync_task: Task, ti: TaskInstance, deferrable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    name = start(sync_task, ti, hyperparameters={"forget": 1})
    job = local.client("sagemaker").describe_training_job(TrainingJobName=name)
    bucket, _, folder = job["CheckpointConfig"]["S3Uri"].removeprefix("s3://").partition("/")

    def hears(text: str, *args: Any) -> None:
        if "written no checkpoint" not in text % args:
            return
        said.append(text % args)
        # Two looks later there is one: it has waited on.
        write = partial(local.client("s3").put_object, Bucket=bucket, Key=f"{folder}/epoch-1.pt", Body=b"x")
        threading.Timer(1.5, write).start()

    monkeypatch.setattr(SageMakerCheckpointSensor, "log", SimpleNamespace(info=lambda *_: None, warning=hears))
    found = run_task(sensor(job_name=name, stale_after=1, on_stale="warn", deferrable=deferrable), TaskInstance("wait"))
    assert found["checkpoint_s3_uri"] == f"s3://{bucket}/{folder}"
    (line,) = said
    assert name in line


# ---- step by step


class Bucket:
    """Checkpoints in S3."""

    def __init__(self, *written: datetime, refuses: Exception | None = None) -> None:
        self.written, self.refuses, self.looks = written, refuses, 0
        self.threads: set[int] = set()

    def list_objects_v2(self, Bucket: str, Prefix: str, MaxKeys: int) -> dict[str, Any]:
        self.looks += 1
        self.threads.add(threading.get_ident())
        if self.refuses is not None:
            raise self.refuses
        return {
            "Contents": [
                {"Key": f"{Prefix}{i}", "Size": 1, "ETag": "e", "LastModified": at} for i, at in enumerate(self.written)
            ]
        }


def dictionary(bucket: Bucket, **job: Any) -> DictionaryHook:
    service = DictionarySageMaker()
    service.put("job", **{"CheckpointConfig": {"S3Uri": FOLDER}, **job})
    service.passes("job", "Starting", "Training")
    hook = DictionaryHook(service)
    hook.s3_hook = SimpleNamespace(get_conn=lambda: bucket)  # type: ignore[assignment]
    return hook


def on(hook: DictionaryHook, **parameters: Any) -> SageMakerCheckpointSensor:
    made = sensor(job_name="job", **parameters)
    made.__dict__["hook"] = hook
    return made


CONTEXT: Any = {}


@pytest.mark.parametrize("status", ["Completed", "Failed", "Stopped"])
def test_a_job_that_ended_without_one_fails(status: str) -> None:
    with pytest.raises(NoProgressError, match=rf"has ended \({status}\), and wrote no checkpoint to {FOLDER}"):
        on(dictionary(Bucket(), status=status)).execute(CONTEXT)


def test_one_that_ended_with_one_has_written_it() -> None:
    made = on(dictionary(Bucket(datetime.now(timezone.utc) + HOUR), status="Failed"))
    assert made.execute(CONTEXT)["checkpoint_s3_uri"] == FOLDER


def test_what_was_there_before_the_job_is_none_of_it() -> None:
    hook = dictionary(Bucket(datetime.now(timezone.utc) - HOUR))
    assert not on(hook).poke(CONTEXT).is_done
    assert on(hook, newer_than=datetime.now(timezone.utc) - 2 * HOUR).poke(CONTEXT).is_done
    assert not on(hook, newer_than=(datetime.now(timezone.utc) - HOUR / 2).isoformat()).poke(CONTEXT).is_done


@pytest.mark.parametrize("nothing", ["", "None"])
def test_a_template_that_gives_nothing_is_as_not_given(nothing: str) -> None:
    hook = dictionary(Bucket(datetime.now(timezone.utc) + HOUR))
    made = on(hook)
    made.newer_than = made.stale_after = made.checkpoint_s3_uri = nothing
    assert made.poke(CONTEXT).is_done
    made.job_name = nothing
    with pytest.raises(RequestError, match="job_name renders to nothing: name a training job, or a folder"):
        made.poke(CONTEXT)
    made.checkpoint_s3_uri = FOLDER
    assert made.poke(CONTEXT).is_done


def test_what_it_cannot_see_it_says() -> None:
    with pytest.raises(AirflowException, match=r"cannot be seen \(AccessDenied at ListObjectsV2\)"):
        on(dictionary(Bucket(refuses=error("AccessDenied", "no", "ListObjectsV2")))).poke(CONTEXT)
    with pytest.raises(RequestError, match="keeps no checkpoints"):
        on(dictionary(Bucket(), CheckpointConfig=None)).poke(CONTEXT)
    gone = on(dictionary(Bucket()))
    gone.job_name = "another"
    with pytest.raises(RequestError, match="There is no training job another"):
        gone.poke(CONTEXT)


@pytest.mark.parametrize("soft", ["soft_fail", "never_fail"])
@pytest.mark.parametrize("deferrable", [False, True])
def test_a_failure_that_is_to_be_soft_skips(soft: str, deferrable: bool) -> None:
    with pytest.raises(AirflowSkipException):
        on(dictionary(Bucket(), status="Failed"), deferrable=deferrable, **{soft: True}).execute(CONTEXT)


def test_reschedules(monkeypatch: pytest.MonkeyPatch) -> None:
    ti = TaskInstance("wait")
    monkeypatch.setattr(ti, "get_first_reschedule_date", lambda context: None, raising=False)
    monkeypatch.setattr(ti, "start_date", datetime.now(timezone.utc), raising=False)
    with pytest.raises(AirflowRescheduleException):
        on(dictionary(Bucket()), mode="reschedule").execute({"ti": ti, "task_instance": ti})  # type: ignore[typeddict-item]


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({}, "job_name"),
        ({"checkpoint_s3_uri": FOLDER, "stale_after": "1h"}, "stale_after"),
        ({"job_name": "job", "stale_after": "soon"}, "stale_after"),
        ({"job_name": "job", "newer_than": "soon"}, "newer_than"),
        ({"job_name": "job", "on_stale": "shrug"}, "on_stale"),
    ],
)
def test_what_is_wrong_is_refused_when_the_dag_is_parsed(given: dict[str, Any], name: str) -> None:
    with pytest.raises(InvalidParameterError, match=name):
        sensor(**given)
    sensor(job_name="{{ params.job }}", stale_after="{{ params.stale }}", newer_than="{{ ts }}")


# ---- the trigger


def fired(hook: DictionaryHook, monkeypatch: pytest.MonkeyPatch, **arguments: Any) -> dict[str, Any]:
    monkeypatch.setattr(checkpoints.SageMakerSource, "_connect", lambda self: hook)
    monkeypatch.setattr(checkpoints, "SETTLING_SECONDS", 0.0)
    from tests.support.task import fire

    late = datetime.now(timezone.utc).timestamp() + 120
    defaults = {"uri": FOLDER, "job_name": "job", "until": late, "poll_interval": 0.05, "state": {"until": late}}
    return fire(SageMakerCheckpointTrigger(**{**defaults, **arguments}))


def test_it_is_rebuilt_as_it_was_and_keeps_what_it_does_not_know() -> None:
    made = SageMakerCheckpointTrigger(uri=FOLDER, until=5.0, state={"warned": True}, of_a_newer_version=1)
    path, kwargs = made.serialize()
    assert path == "airflow_spot.triggers.checkpoints.SageMakerCheckpointTrigger"
    again = SageMakerCheckpointTrigger(**json.loads(json.dumps(kwargs)))
    assert again.serialize() == (path, kwargs)
    assert kwargs["of_a_newer_version"] == 1
    assert FOLDER in repr(made)


@pytest.mark.parametrize(
    ("bucket", "job", "arguments", "status"),
    [
        (Bucket(datetime.now(timezone.utc) + HOUR), {}, {"newer_than": 5.0}, "written"),
        (Bucket(datetime.now(timezone.utc) + HOUR), {}, {"job_name": None}, "written"),
        (Bucket(), {"status": "Failed"}, {}, "terminal"),
        (Bucket(), {}, {"stale_after": 0.2}, "stale"),
        (Bucket(), {}, {"until": datetime.now(timezone.utc).timestamp() - 1}, "timeout"),
        (Bucket(), {}, {"until": datetime.now(timezone.utc).timestamp() - 1, "job_name": None}, "timeout"),
        (Bucket(refuses=error("SlowDown", "no", "ListObjectsV2")), {}, {}, "not_seen"),
    ],
    ids=["written", "alone", "ended", "stale", "timeout", "timeout alone", "not seen"],
)
def test_it_fires_once_there_is_something_to_decide(
    bucket: Bucket, job: dict[str, Any], arguments: dict[str, Any], status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = fired(dictionary(bucket, **job), monkeypatch, **arguments)
    assert event["status"] == status
    assert event["state"]["until"] > 5
    assert threading.get_ident() not in bucket.threads
    if status == "not_seen":
        assert bucket.looks == checkpoints.BLIND_LOOKS


def test_a_deferral_goes_on_where_it_was() -> None:
    """What was warned of is not warned of again, and the time that it may take is that of its begin."""
    hook = dictionary(Bucket())
    hook.service.jobs["job"]["SecondaryStatusTransitions"][-1]["StartTime"] = datetime.now(timezone.utc) - HOUR
    made = on(hook, stale_after="10m", on_stale="warn", deferrable=True)
    with pytest.raises(TaskDeferred) as wait:
        made.execute(CONTEXT)
    trigger: Any = wait.value.trigger
    assert trigger.stale_after is None
    assert trigger.state["warned"] is True
    again = on(hook, stale_after="10m", deferrable=True)
    with pytest.raises(TaskDeferred) as wait:
        again.execute_complete(CONTEXT, {"status": "timeout", "state": trigger.state})
    assert wait.value.trigger.until == trigger.until  # type: ignore[attr-defined]
    with pytest.raises(AirflowSensorTimeout):
        on(hook).execute_complete(CONTEXT, {"status": "timeout", "state": {"until": 5.0}})
    with pytest.raises(AirflowException, match="access denied"):
        on(hook).execute_complete(CONTEXT, {"status": "access_denied", "state": trigger.state})
