"""A script that keeps nothing, on a market that takes its instances back: it ends, or it moves to where it can end."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from typing import Any

import pytest

from airflow_spot.core.marks import TAG_STOP
from airflow_spot.errors import NoProgressError
from airflow_spot.local import LocalSageMaker
from tests.operators.test_outcomes import checkpoints, of_run
from tests.support.service import Task
from tests.support.task import TaskInstance, run_task

#: By the clock, and so long.
pytestmark = pytest.mark.slow

#: Four seconds of work.
NEVER: dict[str, Any] = {"steps": 8, "seconds": 0.5, "checkpoint_warning_after": 1, "max_run": 3600}
#: Of this type the market gives 2.5 s at a time.
TAKEN_BACK = "ml.c5.2xlarge"


class InstanceGoes(threading.Thread):
    """
    Takes the instance of a run's job in each of its starts: in the first once a checkpoint is in S3, where one comes.
    Each trains longer than those before it, or that it left nothing new would not be held against it.
    """

    def __init__(self, local: LocalSageMaker, ti: TaskInstance, *, checkpoint_comes: bool) -> None:
        super().__init__()
        self.ended = threading.Event()
        self.error: Exception | None = None
        self._local, self._ti, self._checkpoint_comes = local, ti, checkpoint_comes
        self._starts, self._longest = 0, 0.0

    def run(self) -> None:
        try:
            while not self.ended.wait(0.1):
                for job in of_run(self._local, self._ti):
                    self._take(job)
        except Exception as error:  # nobody would take the instances: the task ends as it does when it is killed
            self.error = error
            for job in of_run(self._local, self._ti):
                self._local.client("sagemaker").stop_training_job(TrainingJobName=job["TrainingJobName"])

    def _take(self, job: dict[str, Any]) -> None:
        begun = [each["StartTime"] for each in job["SecondaryStatusTransitions"] if each["Status"] == "Training"]
        if len(begun) == self._starts:
            return
        if self._checkpoint_comes and not self._starts and not checkpoints(self._local, self._ti, "upload"):
            return
        if self.ended.wait(1.2 * self._longest + 1.2):
            return
        with suppress(RuntimeError):  # it has been stopped by now
            self._local.interrupt(job["TrainingJobName"], reclaim="kill")
        self._starts = len(begun)
        self._longest = max(self._longest, (datetime.now(timezone.utc) - begun[-1]).total_seconds())


@pytest.mark.parametrize("habit", ["forget", "blind"])
def test_it_ends_after_three_starts(local: LocalSageMaker, task: Task, ti: TaskInstance, habit: str) -> None:
    never = task.operator(**NEVER, hyperparameters={habit: 1, "at-a-time": 1})
    market = InstanceGoes(local, ti, checkpoint_comes=habit == "blind")
    market.start()
    try:
        with pytest.raises(NoProgressError) as ended:
            run_task(never, ti)
    finally:
        market.ended.set()
        market.join()
        assert market.error is None
    # More than three, where more than one had ended between two looks of a busy machine.
    counted = re.search(r"(\d+) starts in a row left nothing new in the checkpoint folder", str(ended.value))
    assert counted is not None and 3 <= int(counted[1]) <= 8
    assert "The script has to write checkpoints to checkpoint_local_path" in str(ended.value)
    (job,) = of_run(local, ti)
    assert job["TrainingJobStatus"] == "Stopped"
    tags = local.client("sagemaker").list_tags(ResourceArn=job["TrainingJobArn"])["Tags"]
    assert {tag["Key"]: tag["Value"] for tag in tags}[TAG_STOP].startswith("no-progress")
    taken = sum(1 for each in job["SecondaryStatusTransitions"] if each["Status"] == "Interrupted")
    assert taken >= 3  # a start that a busy machine kept from training does not count


def test_it_moves_to_the_on_demand_rung_and_completes(local: LocalSageMaker, task: Task, ti: TaskInstance) -> None:
    ladder = [TAKEN_BACK, {"on_demand": ["ml.m5.xlarge"]}]
    never = task.operator(**NEVER, ladder=ladder, hyperparameters={"forget": 1})
    result = run_task(never, ti)
    first, second = result["Spot"]["attempts"]
    assert (first["outcome"], second["outcome"]) == ("no_progress", "completed")
    assert (second["spot"], second["instance_type"]) == (False, "ml.m5.xlarge")
    # What the first one trained was in vain, and nobody counts it as saved.
    job = local.client("sagemaker").describe_training_job(TrainingJobName=first["job_name"])
    trained = starts_trained(job)
    # Each start is told in whole seconds.
    assert result["Spot"]["trained_twice_seconds"] == pytest.approx(sum(trained), abs=len(trained) + 1)


def starts_trained(job: dict[str, Any]) -> list[float]:
    """The seconds from each start's training to its interruption, or to the end of its last upload."""
    found, begun = [], None
    for phase in job["SecondaryStatusTransitions"]:
        if phase["Status"] == "Training":
            begun = phase["StartTime"]
        elif begun is not None and phase["Status"] in ("Interrupted", "Uploading"):
            end = phase["StartTime"] if phase["Status"] == "Interrupted" else phase["EndTime"]
            found.append((end - begun).total_seconds())
            begun = None
    return found


@contextmanager
def taken_back(local: LocalSageMaker, bucket: str, steps: Sequence[int]) -> Iterator[None]:
    """Inside, the instance of the bucket's job goes as soon as the checkpoint of such a step is in S3."""
    ended, s3 = threading.Event(), local.client("s3")

    def in_s3() -> int:
        keys = [item["Key"] for item in s3.list_objects_v2(Bucket=bucket).get("Contents", ())]
        newest = [key for key in keys if key.endswith("/step.json")]
        return json.load(s3.get_object(Bucket=bucket, Key=newest[0])["Body"])["step"] if newest else 0

    def follow() -> None:
        for step in steps:
            while in_s3() < step:
                if ended.wait(0.1):
                    return
            (job,) = {line["job"] for line in local.audit if bucket in line.get("uri", "")}
            local.interrupt(job, reclaim="kill")

    thread = threading.Thread(target=follow)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_one_that_keeps_its_checkpoints_is_left_alone(local: LocalSageMaker, task: Task, ti: TaskInstance) -> None:
    five = {**NEVER, "steps": 25, "seconds": 0.1, "hyperparameters": {"at-a-time": 5}}
    with taken_back(local, task.bucket, range(5, 25, 5)):
        result = run_task(task.operator(**five), ti)
    assert result["Spot"]["interruptions"] == 4
    (only,) = result["Spot"]["attempts"]
    assert only["outcome"] == "completed"
