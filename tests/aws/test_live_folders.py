"""Who writes where: asked once for all, then only about what is new."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta, timezone

import pytest

from airflow_spot.aws.live_folders import FRESH, LiveFolders
from airflow_spot.core.identity import JobName
from airflow_spot.core.job_window import RECENT_MARGIN
from tests.core.cases import RUN
from tests.support.sagemaker import DictionaryHook, DictionarySageMaker

BEGAN = datetime(2026, 11, 1, tzinfo=timezone.utc)


class Scene:
    """A service with jobs, and a clock of its own."""

    def __init__(self) -> None:
        self.now = BEGAN
        self.service = DictionarySageMaker()
        self.service.clock = lambda: self.now
        self.folders = LiveFolders(lambda: self.service, clock=lambda: self.now)

    def begin(self, number: int, age: timedelta = timedelta(), status: str = "InProgress") -> str:
        name = str(JobName("train", "abcdefghij", 1, number))
        self.service.put(name, status, CreationTime=self.now - age, CheckpointConfig={"S3Uri": f"s3://bucket/{number}"})
        return name

    def calls(self) -> Counter[str]:
        found = Counter(self.service.calls)
        self.service.calls.clear()
        return found


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_each_live_job_is_described_once(scene: Scene) -> None:
    for number in range(1, 1_001):
        scene.begin(number, timedelta(days=200), "Completed")
    scene.begin(1_001, timedelta(days=60))
    scene.begin(1_002, timedelta(days=1), "Stopping")
    assert set(scene.folders.look().values()) == {"s3://bucket/1001", "s3://bucket/1002"}
    assert scene.calls() == {"ListTrainingJobs": 1, "DescribeTrainingJob": 2}
    for number in range(1_003, 1_503):
        scene.begin(number, timedelta(days=2), "Completed")
    scene.now += timedelta(hours=1)
    late = scene.begin(1_503)
    assert set(scene.folders.look()) >= {late}
    assert scene.calls() == {"ListTrainingJobs": 1, "DescribeTrainingJob": 1}


def test_a_list_that_lagged_at_the_first_look_hides_nothing_from_the_second(scene: Scene) -> None:
    scene.begin(1)
    scene.service.unlisted = 1
    assert scene.folders.look() == {}
    scene.service.unlisted = 0
    scene.now += RECENT_MARGIN - timedelta(seconds=60)
    assert list(scene.folders.look().values()) == ["s3://bucket/1"]


def test_a_look_that_was_just_made_is_not_made_again(scene: Scene) -> None:
    scene.folders.look_again()
    scene.begin(1)
    scene.now += FRESH - timedelta(seconds=1)
    assert scene.folders.look_again() == {}
    assert scene.calls() == {"ListTrainingJobs": 1}
    scene.now += timedelta(seconds=1)
    assert list(scene.folders.look_again().values()) == ["s3://bucket/1"]
    scene.now -= timedelta(days=1)  # a clock that was set back
    scene.calls()
    scene.folders.look_again()
    assert scene.calls()["ListTrainingJobs"] == 1


def test_a_job_that_the_list_shows_late_and_one_that_is_gone_write_nowhere(scene: Scene) -> None:
    ended, gone = scene.begin(1), scene.begin(2)
    describe = scene.service.describe_training_job

    def meanwhile(TrainingJobName: str) -> dict[str, object]:
        scene.service.put(ended, "Completed", "Completed")
        scene.service.jobs.pop(gone, None)
        return describe(TrainingJobName)

    scene.service.describe_training_job = meanwhile  # type: ignore[method-assign]
    assert scene.folders.look() == {}


def test_a_create_in_a_shared_folder_costs_a_list_before_and_one_after(scene: Scene) -> None:
    """The second is of the last minutes only, and no job is described twice."""
    hook = DictionaryHook(scene.service)
    scene.service.clock = lambda: datetime.now(timezone.utc)
    scene.now = datetime.now(timezone.utc)
    for number in range(1, 901):
        scene.begin(number, timedelta(days=30), "Completed")
    scene.begin(901, timedelta(days=3))
    assert hook.live_writers("s3://bucket/shared", RUN.key) == []
    assert scene.calls() == {"ListTrainingJobs": 10, "DescribeTrainingJob": 1}
    assert hook.live_writers("s3://bucket/shared", RUN.key) == []
    assert scene.calls() == {"ListTrainingJobs": 1}
    other = str(JobName("train", "abcdefghij", 1, 902))
    scene.service.put(other, CheckpointConfig={"S3Uri": "s3://bucket/shared/"})
    assert hook.live_writers("s3://bucket/shared", RUN.key) == [other]
    scene.service.put(other, "Stopped", "Stopped")
    assert hook.live_writers("s3://bucket/shared", RUN.key) == []
