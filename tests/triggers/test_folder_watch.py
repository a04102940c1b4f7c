"""What the triggerer sees of a job's checkpoints: at each interruption, and now and then while it trains."""

from __future__ import annotations

import asyncio
import threading
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from airflow_spot.core import progress
from airflow_spot.core.events import CheckpointMissing, CheckpointsSeen, Event, ProgressMissing, StartEnded
from airflow_spot.core.findings import unpack
from airflow_spot.core.folder_look import LOOK_LIMIT
from airflow_spot.core.progress import Progress, ProgressRules
from airflow_spot.core.run_state import WatchedFolder, WatchedJob
from airflow_spot.triggers import training
from airflow_spot.triggers.sources import SageMakerSource
from airflow_spot.triggers.training import SageMakerSpotTrainingTrigger
from airflow_spot.watch import pace
from tests.support.sagemaker import DictionaryHook, DictionarySageMaker, error

JOB = "train-afspot-abcdefghij-1-1"
FOLDER = "s3://bucket/c/g0001"
FOREVER = 120.0


class Bucket:
    """A folder in S3; which thread looked at it, and what it had then."""

    def __init__(self, *refuses: Exception) -> None:
        self.objects: list[dict[str, Any]] = []
        self.threads: list[int] = []
        self.refuses = list(refuses)

    def list_objects_v2(self, Bucket: str, Prefix: str, MaxKeys: int) -> dict[str, Any]:
        assert (Bucket, Prefix, MaxKeys) == ("bucket", "c/g0001/", LOOK_LIMIT)
        there = list(self.objects)
        self.threads.append(threading.get_ident())  # after it has looked: whoever waits for this may change them
        if self.refuses:
            raise self.refuses.pop(0)
        return {"Contents": there, "IsTruncated": False}


class Hook(DictionaryHook):
    """Lets the next thing happen before each look at a job."""

    def __init__(self, service: DictionarySageMaker, bucket: Bucket, steps: list[Any]) -> None:
        super().__init__(service)
        self.s3_hook = SimpleNamespace(get_conn=lambda: bucket)  # type: ignore[assignment]
        self.steps = steps

    def find(self, job_name: str) -> dict[str, Any] | None:
        if self.steps and (step := self.steps.pop(0)) is not None:
            step()
        return super().find(job_name)


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[Event]:
    monkeypatch.setattr(pace, "_PAUSES", (0.001, 0.002))
    monkeypatch.setattr(training, "SETTLING_SECONDS", 0.0)
    events: list[Event] = []
    monkeypatch.setattr(training, "observers", lambda *_: (events.append,))
    return events


@pytest.fixture
def service() -> DictionarySageMaker:
    made = DictionarySageMaker()
    made.put(JOB)
    return made


def fired(hook: Hook, rules: ProgressRules, state: dict[str, Any] | None = None) -> dict[str, Any]:
    """What a trigger fires that watches the job and its folder."""
    job = WatchedJob(JOB, folder=WatchedFolder(FOLDER, 1, rules))
    state = {"generation": 1, "progress": Progress(lost=0.0).to_json()} if state is None else state
    made = SageMakerSpotTrainingTrigger(jobs=[job.to_json()], run_state=state, poll_interval=0.001)
    source = SageMakerSource()
    source._hook = hook
    made._service = lambda: source  # type: ignore[method-assign]

    async def first() -> dict[str, Any]:
        async for event in made.run():
            return dict(event.payload)
        raise AssertionError("the trigger ended without an event")

    return asyncio.run(asyncio.wait_for(first(), FOREVER))


def trained(service: DictionarySageMaker, hours: float, *, ago: float) -> None:
    """A start that trained, and was interrupted some hours ago."""
    end = datetime.now(timezone.utc) - timedelta(hours=ago)
    begin = end - timedelta(hours=hours)
    transitions = service.jobs[JOB]["SecondaryStatusTransitions"]
    transitions += [
        {"Status": "Training", "StartTime": begin, "EndTime": end},
        {"Status": "Interrupted", "StartTime": end, "EndTime": end},
        {"Status": "Starting", "StartTime": end},
    ]
    service.jobs[JOB]["SecondaryStatus"] = "Starting"


def test_it_fires_after_so_many_starts_without_anything_new(service: DictionarySageMaker, heard: list[Event]) -> None:
    bucket = Bucket()
    steps = [lambda ago=ago: trained(service, 1, ago=ago) for ago in (9, 6, 3)]
    event = fired(Hook(service, bucket, steps), ProgressRules(600, 3))
    assert (event["status"], event["job_name"]) == ("no_progress", JOB)
    progress = Progress.from_json(event["run_state"]["progress"])
    assert progress is not None
    assert (progress.barren, progress.starts, progress.lost) == (3, 3, 10_800.0)
    told = [each for each in heard if isinstance(each, (StartEnded, ProgressMissing))]
    assert [each.found for each in told] == list(unpack(event["told"]))
    assert [type(each).__name__ for each in told] == ["StartEnded"] * 3 + ["ProgressMissing"]
    assert len(bucket.threads) == 3
    assert threading.get_ident() not in bucket.threads


def test_the_looks_grow_with_the_interruptions_and_not_with_the_polls(
    service: DictionarySageMaker, heard: list[Event]
) -> None:
    bucket = Bucket()
    steps = [*[None] * 40, lambda: trained(service, 1, ago=1), *[None] * 40, lambda: service.put(JOB, "Completed")]
    event = fired(Hook(service, bucket, steps), ProgressRules(600, 3))
    assert event["status"] == "terminal"
    assert len(bucket.threads) == 1


def test_one_look_while_it_trains_for_long_and_a_warning(service: DictionarySageMaker, heard: list[Event]) -> None:
    bucket = Bucket()
    service.passes(JOB, "Starting", "Downloading", "Training")
    steps = [
        *[None] * 3,
        lambda: _until(lambda: bool(bucket.threads)),
        *[None] * 40,
        lambda: service.put(JOB, "Failed"),
    ]
    event = fired(Hook(service, bucket, steps), ProgressRules(0.3, 3))
    assert event["status"] == "terminal"
    (warned,) = [each for each in heard if isinstance(each, CheckpointMissing)]
    assert warned.checkpoint_s3_uri == FOLDER
    assert len(bucket.threads) == 1
    assert [type(each).__name__ for each in unpack(event["told"])] == ["NothingYet"]


def test_it_looks_now_and_then_while_it_trains_and_tells_what_has_come(
    service: DictionarySageMaker, heard: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = Bucket()
    monkeypatch.setattr(progress, "LOOK_EVERY", 0.05)
    service.passes(JOB, "Starting", "Downloading", "Training")

    def comes(number: int) -> None:
        looks = len(bucket.threads)
        key = f"c/g0001/step-{number:012d}-0123456789ab.data"
        at = datetime.now(timezone.utc) + timedelta(minutes=number)
        bucket.objects = [{"Key": key, "Size": 9, "ETag": str(number), "LastModified": at}]
        _until(lambda: len(bucket.threads) > looks + 1)  # the look that was under way may not have seen it

    steps = [*[None] * 3, *[lambda number=number: comes(number) for number in (10, 20, 30)]]
    event = fired(Hook(service, bucket, [*steps, lambda: service.put(JOB, "Completed")]), ProgressRules(600, 3))
    assert event["status"] == "terminal"
    assert [each.steps for each in heard if isinstance(each, CheckpointsSeen)] == [(10,), (20,), (30,)]


def _until(condition: Any) -> None:
    while not condition():
        threading.Event().wait(0.01)


def test_a_triggerer_that_may_not_look_says_so_once_and_waits_on(
    service: DictionarySageMaker, heard: list[Event]
) -> None:
    bucket = Bucket(*[error("AccessDenied", "no", "ListObjectsV2")] * 9)
    steps = [lambda ago=ago: trained(service, 1, ago=ago) for ago in (9, 8, 6, 5, 3)]
    event = fired(Hook(service, bucket, [*steps, lambda: service.put(JOB, "Completed")]), ProgressRules(600, 3))
    assert event["status"] == "terminal"
    assert [each.name for each in heard if each.name not in ("transition", "waiting")] == ["checkpoints_not_seen"]


def test_credentials_that_have_expired_are_read_again(service: DictionarySageMaker, heard: list[Event]) -> None:
    expired: ClientError = error("ExpiredToken", "old", "ListObjectsV2")
    bucket = Bucket(expired)
    hook = Hook(service, bucket, [lambda: trained(service, 1, ago=1), lambda: service.put(JOB, "Completed")])
    source = SageMakerSource()
    source._hook = hook
    source.renew = lambda: None  # type: ignore[method-assign]
    assert source.folder(FOLDER).problem == ""
    assert len(bucket.threads) == 2


@pytest.mark.parametrize("state", [{"generation": 1}, {"generation": 1, "progress": {"version": 9}}])
def test_a_row_of_another_version_is_not_watched(
    service: DictionarySageMaker, heard: list[Event], state: dict[str, Any]
) -> None:
    bucket = Bucket()
    steps = [lambda: trained(service, 1, ago=1), lambda: service.put(JOB, "Completed")]
    event = fired(Hook(service, bucket, steps), ProgressRules(600, 1), state)
    assert event == {"status": "terminal", "job_name": JOB, "run_state": state}
    assert bucket.threads == []


@pytest.mark.parametrize("folder", [None, 5, {}, {"uri": "s3://b", "number": "x"}])
def test_a_folder_that_cannot_be_read_is_none(folder: Any) -> None:
    assert WatchedJob.from_json({"name": JOB, "folder": folder}).folder is None


def test_a_trigger_that_runs_again_from_its_row_comes_to_the_same(
    service: DictionarySageMaker, heard: list[Event]
) -> None:
    """A triggerer that is lost takes what it knew with it: the folder and the job's starts tell it again."""
    for ago in (9, 6, 3):
        trained(service, 1, ago=ago)
    first, second = (fired(Hook(service, Bucket(), []), ProgressRules(600, 3)) for _ in range(2))
    for event in (first, second):
        assert event["status"] == "no_progress"
        del event["run_state"]["progress"]["looked"]
    assert first == second
