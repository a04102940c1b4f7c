"""What an operator sees of its checkpoints, says and decides: step by step, on SageMaker and S3 as dictionaries."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_spot.core import progress
from airflow_spot.core.folder_look import LOOK_LIMIT
from airflow_spot.core.progress import Progress
from airflow_spot.core.run_state import WatchedFolder
from airflow_spot.errors import MaxRuntimeExceededError, NonRetryableSpotError, NoProgressError, SpotCapacityError
from airflow_spot.render.ledger_format import TIMELINE_KEY
from tests.operators.scene import deferred, mark, operator, resume, ti
from tests.support.sagemaker import DictionarySageMaker, error

NEVER: dict[str, Any] = {"checkpoint_warning_after": 600, "max_run": 86_400}
HOUR = timedelta(hours=1)


class Bucket:
    """Checkpoints in S3, and how often they were looked at."""

    def __init__(self, refuses: Exception | None = None, more: bool = False) -> None:
        self.objects: dict[str, datetime] = {}
        self.looks: list[str] = []
        self.refuses, self.more = refuses, more

    def write(self, key: str, at: datetime) -> None:
        self.objects[key] = at

    def list_objects_v2(self, Bucket: str, Prefix: str, MaxKeys: int) -> dict[str, Any]:
        assert MaxKeys == LOOK_LIMIT
        self.looks.append(f"s3://{Bucket}/{Prefix}")
        if self.refuses is not None:
            raise self.refuses
        items = [
            {"Key": f"{Prefix}{key}", "Size": 1, "ETag": key, "LastModified": at} for key, at in self.objects.items()
        ]
        return {"Contents": items, "IsTruncated": self.more}

    def put_object(self, **_: Any) -> dict[str, Any]:
        return {}


class Life:
    """A run on SageMaker that trains hour after hour, each cut off by an interruption."""

    def __init__(self, service: DictionarySageMaker, bucket: Bucket | None = None, **parameters: Any) -> None:
        self.service, self.bucket, self.parameters = service, bucket or Bucket(), {**NEVER, **parameters}
        self.trigger = deferred(service, ti(), **self.parameters)
        self.begun = datetime.now(timezone.utc) - timedelta(days=2)

    @property
    def now(self) -> datetime:
        return self.begun

    def trains(self, hours: float, then: str = "Interrupted") -> None:
        """A start of the job that is live."""
        for status, length in (("Starting", 0.0), ("Downloading", 0.0), ("Training", hours), (then, 0.0)):
            if status == "":
                continue  # it ends in a way that has no transition of its own
            begun, self.begun = self.begun, self.begun + timedelta(hours=length)
            transition = {"Status": status, "StartTime": begun, "EndTime": self.begun}
            self.service.jobs[self.trigger.job_name]["SecondaryStatusTransitions"].append(transition)
            self.service.jobs[self.trigger.job_name]["SecondaryStatus"] = status

    def made(self) -> Any:
        task = operator(self.service, **self.parameters)
        task.hook.s3_hook = SimpleNamespace(get_conn=lambda: self.bucket)  # type: ignore[assignment]
        return task

    def goes_on(self, status: str = "timeout") -> Any:
        """The worker, until it defers again."""
        with pytest.raises(TaskDeferred) as wait:
            resume(self.made(), ti(), self.trigger, status)
        self.trigger = wait.value.trigger
        return self.trigger

    @property
    def progress(self) -> Progress:
        read = Progress.from_json(json.loads(json.dumps(self.trigger.run_state))["progress"])
        assert read is not None
        return read


@pytest.fixture(autouse=True)
def stops_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stop is done when it was told."""
    stops = DictionarySageMaker.stop_training_job

    def stop(self: DictionarySageMaker, TrainingJobName: str) -> None:
        stops(self, TrainingJobName)
        self.put(TrainingJobName, "Stopped", "Stopped", TrainingEndTime=datetime.now(timezone.utc))

    monkeypatch.setattr(DictionarySageMaker, "stop_training_job", stop)


def test_each_interruption_says_what_it_lost_and_the_third_without_anything_new_ends_it(
    service: DictionarySageMaker, said: list[str]
) -> None:
    life = Life(service)
    for _ in range(2):
        life.trains(1)
        life.goes_on()
    assert life.progress.barren == 2
    assert len(life.bucket.looks) == 2
    assert life.bucket.looks[0] == f"{service.jobs[life.trigger.job_name]['CheckpointConfig']['S3Uri']}/"
    life.trains(1)
    with pytest.raises(NoProgressError) as ended:
        resume(life.made(), ti(), life.trigger)
    assert isinstance(ended.value, NonRetryableSpotError)
    assert str(ended.value).count("3 starts in a row left nothing new") == 1
    assert "was looked at after each start. It has 0 objects, and none of another key, size or ETag" in str(ended.value)
    assert "docs/checkpoints.md" in str(ended.value)
    stop = mark(service, life.trigger.job_name)
    assert stop is not None and stop.reason == "no-progress"
    lost = [line for line in said if "start " in line and "left no checkpoint" in line]
    assert [line[:20] for line in lost] == [f"attempt 1: start {n} t" for n in (1, 2, 3)]
    assert all("60 min 00 s of training lost" in line for line in lost)
    assert service.live() == []


def test_a_run_is_looked_at_once_more_before_it_is_ended(service: DictionarySageMaker) -> None:
    """What the third start saved at its end has come to S3 only after the look at that end."""

    class Late(Bucket):
        def list_objects_v2(self, **asked: Any) -> dict[str, Any]:
            answer = super().list_objects_v2(**asked)
            if len(self.looks) == 3:
                self.write("step-9.pt", life.now)
            return answer

    life = Life(service, Late())
    for _ in range(3):
        life.trains(1)
        life.goes_on()
    assert len(life.bucket.looks) == 4
    assert life.progress.barren == 0
    assert service.live() == [life.trigger.job_name]


def test_an_on_demand_rung_takes_over_and_what_was_lost_is_not_saved(service: DictionarySageMaker) -> None:
    life = Life(service, ladder=["ml.m5.xlarge", {"on_demand": ["ml.m5.2xlarge"]}])
    for _ in range(3):
        life.trains(1)
    life.goes_on()
    first, second = service.jobs
    assert service.jobs[second]["EnableManagedSpotTraining"] is False
    assert service.jobs[second]["ResourceConfig"]["InstanceType"] == "ml.m5.2xlarge"
    assert life.trigger.jobs[0].get("folder") is None
    service.put(first, "Stopped", "Stopped", TrainingTimeInSeconds=10_800, BillableTimeInSeconds=3_600)
    life.trains(3, "Completed")
    service.put(second, "Completed", "Completed", TrainingTimeInSeconds=10_800, BillableTimeInSeconds=10_800)
    result = resume(life.made(), ti(), life.trigger, "terminal")["Spot"]
    assert [each["outcome"] for each in result["attempts"]] == ["no_progress", "completed"]
    assert result["trained_twice_seconds"] == 10_800
    assert result["savings_percent"] == -33.3


def test_checkpoints_that_come_keep_it_going(service: DictionarySageMaker, said: list[str]) -> None:
    life = Life(service)
    for number in range(6):
        life.bucket.write(f"step-{number}", life.now + timedelta(minutes=50))
        life.trains(1)
        life.goes_on()
    assert life.progress.barren == 0
    assert life.progress.lost == 6 * 600
    assert sum("the newest checkpoint was 10 min 00 s old at its end" in line for line in said) == 6
    service.put(
        life.trigger.job_name, "Completed", "Completed", TrainingTimeInSeconds=21_600, BillableTimeInSeconds=9_000
    )
    result = resume(life.made(), ti(), life.trigger, "terminal")["Spot"]
    assert (result["trained_twice_seconds"], result["savings_percent"]) == (3_600, 50.0)


@pytest.mark.parametrize(
    ("bucket", "more", "why"),
    [
        (Bucket(refuses=error("AccessDenied", "no", "ListObjectsV2")), {}, "AccessDenied at ListObjectsV2"),
        (Bucket(more=True), {}, "it has more than 1,000 objects"),
        (Bucket(), {"use_checkpoints": False, "checkpoint_warning_after": None}, "use_checkpoints=False"),
        (
            Bucket(),
            {
                "config": {
                    "AlgorithmSpecification": {
                        "TrainingImage": "382416733822.dkr.ecr.us-east-1.amazonaws.com/kmeans:1",
                        "TrainingInputMode": "File",
                    }
                },
                "max_run": 3600,
            },
            "the built-in algorithm kmeans keeps none",
        ),
    ],
    ids=["denied", "large", "own", "algorithm"],
)
def test_not_seen_is_not_absent(
    service: DictionarySageMaker, said: list[str], bucket: Bucket, more: dict[str, Any], why: str
) -> None:
    life = Life(service, bucket, **more)
    for _ in range(5):
        life.trains(1)
        life.goes_on()
    (line,) = [line for line in said if "cannot see its checkpoints" in line]
    assert why in line
    assert service.live() == [life.trigger.job_name]
    assert bool(bucket.looks) == (not {"use_checkpoints", "config"} & set(more))
    assert not any("left nothing new" in line or "left no checkpoint" in line for line in said)


def mounted(mode: str) -> dict[str, Any]:
    """A channel of a file system."""
    system = {
        "FileSystemId": "fs-0123456789abcdef0",
        "FileSystemType": "FSxLustre",
        "DirectoryPath": "/fsx",
        "FileSystemAccessMode": mode,
    }
    return {"InputDataConfig": [{"ChannelName": "work", "DataSource": {"FileSystemDataSource": system}}]}


def test_a_file_system_that_the_script_may_write_to_may_hold_them(
    service: DictionarySageMaker, said: list[str]
) -> None:
    life = Life(service, config=mounted("rw"))
    assert Progress.from_json(life.trigger.run_state["progress"]) == Progress(lost=0.0)
    watched = WatchedFolder.from_json(life.trigger.jobs[0]["folder"])
    assert watched is not None and watched.starts(()).elsewhere.startswith("the script may write to channel work")
    for _ in range(5):
        life.trains(1)
        life.goes_on()
    (line,) = [line for line in said if "cannot see its checkpoints" in line]
    assert "the script may write to channel work (FSxLustre), and keep them there" in line
    assert service.live() == [life.trigger.job_name]
    assert not any("left nothing new" in line or "left no checkpoint" in line for line in said)
    # What does come is told, as of any other run.
    life.bucket.write("step-1", life.now + timedelta(minutes=50))
    life.trains(1)
    life.goes_on()
    assert sum("the newest checkpoint was 10 min 00 s old at its end" in line for line in said) == 1


def test_one_that_it_may_only_read_holds_none(service: DictionarySageMaker) -> None:
    life = Life(service, config=mounted("ro"))
    assert "elsewhere" not in life.trigger.jobs[0]["folder"]
    for _ in range(2):
        life.trains(1)
        life.goes_on()
    life.trains(1)
    with pytest.raises(NoProgressError):
        resume(life.made(), ti(), life.trigger)


def test_a_retry_counts_anew(service: DictionarySageMaker) -> None:
    """What the try before it knew is lost with it: nothing is held against the run."""
    life = Life(service)
    for _ in range(5):
        life.trains(1)
    life.trigger = deferred(service, ti(2, 2), **life.parameters)
    assert life.progress.barren == 0
    life.trains(1)
    with pytest.raises(TaskDeferred) as wait:
        resume(life.made(), ti(2, 2), life.trigger)
    life.trigger = wait.value.trigger
    assert life.progress.barren == 1
    assert life.progress.lost is None


@pytest.mark.parametrize("broken", [None, "nonsense", {"version": 9}])
def test_a_deferral_of_another_version_counts_anew(service: DictionarySageMaker, broken: Any) -> None:
    life = Life(service)
    for _ in range(5):
        life.trains(1)
    life.trigger.run_state = {**life.trigger.run_state, "progress": broken}
    life.goes_on()
    assert life.progress.barren == 0


def test_none_only_tells(service: DictionarySageMaker, said: list[str]) -> None:
    life = Life(service, max_starts_without_progress=None)
    for _ in range(5):
        life.trains(1)
        life.goes_on()
    assert sum("left no checkpoint" in line for line in said) == 5
    assert len(service.live()) == 1


def test_the_trigger_is_told_what_to_look_at_and_tells_the_worker(
    service: DictionarySageMaker, said: list[str]
) -> None:
    life = Life(service)
    (job,) = life.trigger.jobs
    uri = service.jobs[job["name"]]["CheckpointConfig"]["S3Uri"]
    assert job["folder"] == {"uri": uri, "number": 1, "warning_after": 600.0, "max_starts": 3}
    assert Progress.from_json(life.trigger.run_state["progress"]) == Progress(lost=0.0)
    event = {
        "status": "timeout",
        "job_name": job["name"],
        "run_state": life.trigger.run_state,
        "told": [{"kind": "nothing_yet", "trained": 660.0}],
    }
    context: Any = {"ti": ti()}
    with pytest.raises(TaskDeferred):
        life.made().execute_complete(context, event)
    (line,) = [line for line in said if "written no checkpoint" in line]
    assert line.startswith(f"attempt 1: it has trained 11 min 00 s and written no checkpoint to {uri}: ")


def test_a_run_that_trains_twice_its_max_run_is_warned_of_once(service: DictionarySageMaker, said: list[str]) -> None:
    life = Life(service, max_run="6h", max_wait="12h", checkpoint_warning_after=None)
    ended = {"FailureReason": "CapacityError: none", "TrainingTimeInSeconds": 18_000, "TrainingEndTime": life.now}
    for number in range(4):
        life.bucket.write(f"step-{number}", life.now + timedelta(hours=3))
        life.trains(5, "")
        service.put(life.trigger.job_name, "Failed", "Failed", **ended)
        life.goes_on("terminal")
        assert sum("more than twice its max_run" in line for line in said) == int(number >= 2)
    life.parameters["max_total_run"] = "1d"
    life.bucket.write("step-5", life.now + timedelta(hours=3))
    life.trains(5, "")
    service.put(life.trigger.job_name, "Failed", "Failed", **ended)
    with pytest.raises(MaxRuntimeExceededError, match="max_total_run"):
        resume(life.made(), ti(), life.trigger, "terminal")


@pytest.mark.parametrize("deferrable", [True, False])
def test_a_job_that_trains_is_stopped_at_max_total_run(service: DictionarySageMaker, deferrable: bool) -> None:
    life = Life(service, max_total_run="1h", deferrable=True)
    life.bucket.write("step", life.now)
    life.trains(0.1, "")
    transition = {"Status": "Training", "StartTime": datetime.now(timezone.utc) - HOUR * 2}
    service.jobs[life.trigger.job_name]["SecondaryStatusTransitions"].append(transition)
    service.put(life.trigger.job_name)
    life.parameters["deferrable"] = deferrable
    with pytest.raises(MaxRuntimeExceededError, match=r"trained for max_total_run \(60 min 00 s\)"):
        resume(life.made(), ti(), life.trigger)
    assert service.live() == []


@pytest.mark.parametrize(
    ("limit", "status", "fails", "says"),
    [
        ("max_total_run", "Training", MaxRuntimeExceededError, r"trained for max_total_run \(60 min 00 s\)"),
        ("max_total_wait", "Starting", SpotCapacityError, r"waited for capacity for max_total_wait \(60 min 00 s\)"),
    ],
)
def test_a_limit_stops_the_job_whatever_a_kill_would_do(
    service: DictionarySageMaker, limit: str, status: str, fails: type[Exception], says: str
) -> None:
    """Left alone, each retry would attach to it, find the same limit reached, and fail within seconds."""
    life = Life(service, stop_on_kill=False, **{limit: "1h"})
    long_ago = datetime.now(timezone.utc) - HOUR * 2
    transition = {"Status": status, "StartTime": long_ago}
    service.jobs[life.trigger.job_name]["SecondaryStatusTransitions"] = [transition]
    service.put(life.trigger.job_name, secondary=status, CreationTime=long_ago)
    with pytest.raises(fails, match=says):
        resume(life.made(), ti(), life.trigger)
    assert service.live() == []
    deferred(service, ti(2, 2), **life.parameters)  # a retry trains on, with the limit's time again
    assert len(service.live()) == 1


def test_a_worker_looks_as_often_as_something_happens_and_not_as_it_polls(
    service: DictionarySageMaker, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    life = Life(service, max_starts_without_progress=None)
    polls: list[int] = []
    describe = DictionarySageMaker.describe_training_job

    def described(self: DictionarySageMaker, TrainingJobName: str) -> dict[str, Any]:
        polls.append(1)
        if len(polls) in (20, 40, 60):
            life.trains(1)
        if len(polls) == 80:
            self.put(TrainingJobName, "Completed", "Completed")
        return describe(self, TrainingJobName)

    monkeypatch.setattr(DictionarySageMaker, "describe_training_job", described)
    life.parameters.update(deferrable=False, check_interval=0.001)
    resume(life.made(), ti(), life.trigger)
    assert len(polls) >= 80
    assert len(life.bucket.looks) == 4  # three ends, and what the success left
    assert sum("left no checkpoint" in line for line in said) == 3


def test_a_worker_shows_checkpoints_as_they_come_while_the_job_trains(
    service: DictionarySageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "LOOK_EVERY", 0.0)
    life, this, shown = Life(service), ti(), []
    service.passes(life.trigger.job_name, "Starting", "Downloading", "Training")
    describe, polls = DictionarySageMaker.describe_training_job, iter(range(10_000))

    def described(self: DictionarySageMaker, TrainingJobName: str) -> dict[str, Any]:
        poll = next(polls)
        if poll in (5, 15, 30):
            at = datetime.now(timezone.utc) + timedelta(minutes=poll)
            life.bucket.write(f"step-{poll:012d}-0123456789ab.data", at)
        if poll in (10, 20):
            timeline = this.xcoms[TIMELINE_KEY]
            shown.append((timeline["state"], [step for _, step in timeline["attempts"][0]["ticks"]]))
        if poll == 30:
            self.put(TrainingJobName, "Completed", "Completed")
        return describe(self, TrainingJobName)

    monkeypatch.setattr(DictionarySageMaker, "describe_training_job", described)
    life.parameters.update(deferrable=False, check_interval=0.001)
    resume(life.made(), this, life.trigger)
    assert shown == [("training", [5.0]), ("training", [5.0, 15.0])]
    (line,) = this.xcoms[TIMELINE_KEY]["attempts"]
    assert [step for _, step in line["ticks"]] == [5.0, 15.0, 30.0]


def test_expired_credentials_are_read_again(service: DictionarySageMaker, said: list[str]) -> None:
    life = Life(service)
    life.trains(1)
    life.bucket.refuses = error("ExpiredToken", "old", "ListObjectsV2")
    made, renewed = life.made(), []

    def renew() -> None:
        renewed.append(1)
        life.bucket.refuses = None

    made.hook.renew_s3 = renew
    with pytest.raises(TaskDeferred):
        resume(made, ti(), life.trigger)
    assert renewed == [1]
    assert any("left no checkpoint" in line for line in said)
    assert not any("cannot see its checkpoints" in line for line in said)
