"""A service with a directory of its own comes back after SIGKILL."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_spot.local import LocalSageMaker
from airflow_spot.local.training.job import TrainingJob
from airflow_spot.local.training.journal import Journal
from tests.local.jobs import BUCKET, ROLE, Jobs, counter, statuses
from tests.local.training.test_spot import prove_resumption

SLEEP = "import time; print('up', flush=True); time.sleep(3600)"


class Crash:
    """A directory in which one service after the other runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.options: dict[str, Any] = {"checkpoint_seconds": 0.2, "grace_seconds": 1}
        self.service = LocalSageMaker(dir=folder, **self.options)
        self.service.start()

    def __call__(self, **options: Any) -> Jobs:
        """SIGKILL the service and start another."""
        self.service.kill()
        self.service.stop()
        self.service = LocalSageMaker(dir=self.folder, **{**self.options, **options})
        self.service.start()
        return Jobs(self.service)


@pytest.fixture(scope="module")
def crash(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crash]:
    """One directory for all tests: each begins with a service that runs, and what the tests before it have left."""
    runner = Crash(tmp_path_factory.mktemp("crash") / "service")
    yield runner
    runner.service.stop()


def test_a_spot_job_is_interrupted_and_goes_on_from_its_checkpoint(crash: Crash) -> None:
    jobs = Jobs(crash.service)
    name = jobs.start(counter(16, hold=8))
    # The last that it writes before it holds: with others to come, the kill may fall between an object and its line.
    jobs.wait_for_checkpoint(name, etag=hashlib.md5(b"8").hexdigest())
    jobs = crash()
    job = jobs.end(name)
    assert statuses(job) == [
        *("Starting", "Downloading", "Training", "Interrupted"),
        *("Starting", "Downloading", "Training", "Uploading", "Completed"),
    ]
    assert jobs.model(name) == {"count": b"16"}
    assert int(jobs.output(name)[0][0].split()[1]) > 1
    prove_after_crash(jobs, name)


def prove_after_crash(jobs: Jobs, name: str) -> None:
    """As for any interruption, but for the exit of the first process, which nobody lived to write down."""
    lines = [line for line in jobs.sm.audit if line.get("job") == name and line["event"] == "checkpoint"]
    first = [line for line in lines if line["start"] == 1]
    restored = [line for line in lines if line["start"] == 2 and line["action"] == "restore"]
    assert [line["etag"] for line in restored] == [first[-1]["etag"]]
    times = [line["time"] for line in jobs.sm.audit]
    assert times == sorted(times)
    with pytest.raises(AssertionError):
        prove_resumption(jobs, name)


@pytest.mark.slow
def test_an_on_demand_job_fails_with_an_internal_error_unless_it_may_retry(crash: Crash) -> None:
    jobs = Jobs(crash.service)
    plain = jobs.start(SLEEP, spot=False)
    retried = jobs.start(
        "import os, time; os.path.exists('/opt/ml/checkpoints/x') or time.sleep(3600)",
        spot=False,
        RetryStrategy={"MaximumRetryAttempts": 1},
        CheckpointConfig={"S3Uri": f"s3://{BUCKET}/retried"},
    )
    jobs.reach(plain, "Training")
    jobs.reach(retried, "Training")
    jobs.put("retried/x", "1")
    jobs = crash()
    job = jobs.end(plain)
    assert job["FailureReason"].startswith("InternalServerError: ")
    assert job["TrainingTimeInSeconds"] >= 1
    job = jobs.end(retried)
    assert job["TrainingJobStatus"] == "Completed"
    assert "Restarting" in statuses(job)


def test_names_tags_ended_jobs_and_s3_are_there(crash: Crash) -> None:
    jobs = Jobs(crash.service)
    name = jobs.run("open('/opt/ml/model/m', 'w').write('m')", Tags=[{"Key": "a", "Value": "1"}])["TrainingJobName"]
    gone = jobs.run("pass")["TrainingJobName"]
    jobs.sagemaker.delete_training_job(TrainingJobName=gone)
    before = jobs.describe(name)
    jobs.sagemaker.add_tags(ResourceArn=before["TrainingJobArn"], Tags=[{"Key": "b", "Value": "2"}])
    jobs.sagemaker.delete_tags(ResourceArn=before["TrainingJobArn"], TagKeys=["a"])
    jobs.s3.put_object(Bucket=BUCKET, Key="odd key/ä&b", Body=b"odd", ContentType="text/x", Metadata={"who": "me"})
    jobs.put("gone/1", "x")
    jobs.put("gone/2", "x")
    jobs.s3.delete_object(Bucket=BUCKET, Key="gone/1")
    jobs.s3.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": "gone/2"}]})
    jobs = crash()
    after = jobs.describe(name)
    for answer in (before, after):
        # The time of the last change continues for a moment after a job's end.
        del answer["ResponseMetadata"], answer["LastModifiedTime"]
    assert after == before
    assert jobs.sagemaker.list_tags(ResourceArn=before["TrainingJobArn"])["Tags"] == [{"Key": "b", "Value": "2"}]
    with pytest.raises(jobs.sagemaker.exceptions.ResourceInUse):
        jobs.start("pass", TrainingJobName=name)
    with pytest.raises(jobs.sagemaker.exceptions.ClientError, match="not found"):
        jobs.describe(gone)
    assert jobs.model(name) == {"m": b"m"}
    odd = jobs.s3.get_object(Bucket=BUCKET, Key="odd key/ä&b")
    assert (odd["Body"].read(), odd["ContentType"], odd["Metadata"]) == (b"odd", "text/x", {"who": "me"})
    assert jobs.keys("gone/") == []
    assert jobs.run("pass")["TrainingJobStatus"] == "Completed"


def test_a_new_resource_has_not_the_tags_of_a_dead_one(crash: Crash) -> None:
    jobs = Jobs(crash.service)
    model = {"ModelName": "m", "ExecutionRoleArn": ROLE, "PrimaryContainer": {"Image": "image:1"}}
    arn = jobs.sagemaker.create_model(**model)["ModelArn"]
    jobs.sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": "owner", "Value": "the dead"}])
    jobs = crash()
    assert jobs.sagemaker.create_model(**model)["ModelArn"] == arn
    assert jobs.sagemaker.list_tags(ResourceArn=arn)["Tags"] == []


def test_tags_that_belong_to_no_job_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "jobs.jsonl"
    path.write_text('{"tagged": "arn:aws:sagemaker:us-east-1:123456789012:model/m", "tags": {"owner": "the dead"}}\n')
    journal = Journal(path)
    journal.close()
    assert journal.tags == {}
    assert path.read_text() == ""


@pytest.mark.slow
def test_waiting_and_stopping_jobs_go_on(crash: Crash) -> None:
    jobs = crash(market="never")
    waiting = jobs.start("pass")
    jobs = crash(market="never")
    assert jobs.describe(waiting)["TrainingJobStatus"] == "InProgress"
    jobs.sm.set_market("always")
    assert jobs.end(waiting)["TrainingJobStatus"] == "Completed"
    stubborn = jobs.start("import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(3600)")
    jobs.reach(stubborn, "Training")
    jobs.sagemaker.stop_training_job(TrainingJobName=stubborn)
    job = crash().end(stubborn)
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "Stopped")


def test_a_directory_has_one_service(crash: Crash) -> None:
    with pytest.raises(RuntimeError, match="another Local SageMaker uses"), LocalSageMaker(dir=crash.folder):
        pass
    assert Jobs(crash.service).run("pass")["TrainingJobStatus"] == "Completed"


def test_a_journal_survives_a_line_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "jobs.jsonl"
    journal = Journal(path)
    request = {"TrainingJobName": "a", "ResourceConfig": {"InstanceType": "ml.m5.large"}}
    job = TrainingJob("us-east-1", "a", request, 1.0)
    journal.created(job)
    job.enter("Starting", 2.0)
    journal.changed(job)
    journal.close()
    with path.open("a") as file:
        file.write('{"changed": ["us-east-1", "a"], "state": {"sta')
    again = Journal(path)
    assert again.jobs == [job]
    again.close()
    assert Journal(path).jobs == [job]
