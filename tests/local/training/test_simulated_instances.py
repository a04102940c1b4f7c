"""The simulated engine: no processes, a clock that can be hurried, thousands of jobs."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from airflow_spot.local import LocalSageMaker
from tests.local.jobs import BUCKET, Jobs, files_of, statuses, until
from tests.local.training.test_spot import prove_resumption

SCALE = 60
UNLIMITED = {"MaxRuntimeInSeconds": 1_000_000, "MaxWaitTimeInSeconds": 1_000_000}


@pytest.fixture(scope="module")
def hurried() -> Iterator[Jobs]:
    """A minute of the service takes a second."""
    with LocalSageMaker(engine="simulated", time_scale=SCALE, pending_timeout_seconds=60) as service:
        yield Jobs(service)


def hyperparameters(**values: Any) -> dict[str, str]:
    return {f"simulated_{key}": str(value) for key, value in values.items()}


def test_a_job_takes_its_time_on_one_clock(hurried: Jobs) -> None:
    begun = time.monotonic()
    job = hurried.run(HyperParameters=hyperparameters(seconds=120))
    took = time.monotonic() - begun
    assert statuses(job) == ["Starting", "Downloading", "Training", "Uploading", "Completed"]
    training = next(item for item in job["SecondaryStatusTransitions"] if item["Status"] == "Training")
    seconds = (training["EndTime"] - training["StartTime"]).total_seconds()
    assert seconds >= 120
    # However late this machine is, the service's clock runs ahead of it.
    assert took < seconds / 2
    assert job["TrainingTimeInSeconds"] >= 120
    assert files_of(hurried.get(job["ModelArtifacts"]["S3ModelArtifacts"])).keys() == {"model.json"}


def interrupted(hurried: Jobs, seconds: int) -> dict[str, Any] | None:
    """A job of so many seconds that was interrupted after a checkpoint; None if it had trained by then."""
    hyper = hyperparameters(seconds=seconds, checkpoint_seconds=seconds // 8)
    name = hurried.start(HyperParameters=hyper, StoppingCondition=UNLIMITED)
    hurried.wait_for_checkpoint(name)
    with suppress(RuntimeError):
        hurried.sm.interrupt(name, capacity_gap=30)
    job = hurried.end(name)
    return job if "Interrupted" in statuses(job) else None


def test_interruptions_cost_what_was_not_checkpointed(hurried: Jobs) -> None:
    # On a busy machine four seconds may be over before the interruption.
    seconds, job = next((each, job) for each in (240, 2400) if (job := interrupted(hurried, each)))
    name = job["TrainingJobName"]
    assert statuses(job).count("Interrupted") == 1
    assert job["TrainingTimeInSeconds"] >= seconds
    prove_resumption(hurried, name)
    assert hurried.events("checkpoint", job=name, action="restore", start=2)
    saved = [event["seconds"] for event in hurried.events("progress", job=name, action="saved")]
    [resumed] = hurried.events("progress", job=name, action="resumed")
    assert saved == sorted(saved)
    assert saved[-1] == seconds
    assert resumed["seconds"] == max(event["seconds"] for event in hurried.events("progress", job=name, start=1))


def test_failures_and_stops(hurried: Jobs) -> None:
    job = hurried.run(HyperParameters=hyperparameters(seconds=1, exit_code=3, failure="bad data"))
    assert job["FailureReason"] == "AlgorithmError: bad data, exit code: 3"
    job = hurried.run(HyperParameters=hyperparameters(seconds="long"))
    # The value itself may be a secret.
    assert "simulated_seconds is no number" in job["FailureReason"] and "long" not in job["FailureReason"]
    name = hurried.start(HyperParameters=hyperparameters(seconds=100_000), StoppingCondition=UNLIMITED)
    hurried.reach(name, "Training")
    hurried.sagemaker.stop_training_job(TrainingJobName=name)
    assert hurried.end(name)["SecondaryStatus"] == "Stopped"


def test_long_limits_pass_quickly(hurried: Jobs) -> None:
    limits = {**UNLIMITED, "MaxRuntimeInSeconds": 60}
    job = hurried.run(HyperParameters=hyperparameters(seconds=100_000), StoppingCondition=limits)
    assert job["SecondaryStatus"] == "MaxRuntimeExceeded"
    hurried.sm.set_market("never")
    try:
        job = hurried.run(StoppingCondition={"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 90})
    finally:
        hurried.sm.set_market("always")
    assert job["SecondaryStatus"] == "MaxWaitTimeExceeded"
    assert (job["SecondaryStatusTransitions"][-1]["StartTime"] - job["CreationTime"]).total_seconds() >= 90


@pytest.mark.local_sagemaker(engine="simulated", time_scale=6000, on_demand_market="never", pending_timeout_seconds=10)
def test_max_pending_time_counts_for_accelerated_types(local_sagemaker: LocalSageMaker) -> None:
    # Of the other type nothing would be heard for seven minutes, if it counted there.
    pending = {"ml.g5.xlarge": 1800, "ml.m5.large": 28 * 24 * 3600}
    jobs = Jobs(local_sagemaker)
    waits = {}
    for instance_type, seconds in pending.items():
        resources = {"InstanceType": instance_type, "InstanceCount": 1, "VolumeSizeInGB": 1}
        job = jobs.run(
            spot=False,
            ResourceConfig=resources,
            StoppingCondition={"MaxRuntimeInSeconds": 60, "MaxPendingTimeInSeconds": seconds},
        )
        assert job["FailureReason"].startswith("CapacityError")
        waits[instance_type] = (job["LastModifiedTime"] - job["CreationTime"]).total_seconds()
    assert waits["ml.g5.xlarge"] >= 1800
    assert waits["ml.m5.large"] >= 10


def test_only_the_simulated_engine_can_be_hurried() -> None:
    with pytest.raises(ValueError, match="only the simulated engine"):
        LocalSageMaker(time_scale=2)
    with pytest.raises(ValueError, match="time_scale"):
        LocalSageMaker(engine="simulated", time_scale=0)


def memory_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024


#: 5,000 at once take minutes of two cores; CI has a thousand.
MANY = int(os.environ.get("AIRFLOW_SPOT_TEST_JOBS", "1000"))


LONG = 1_000_000


@pytest.mark.parametrize("count", [40, pytest.param(MANY, marks=[pytest.mark.slow, pytest.mark.timeout(1200)])])
def test_many_jobs_at_once(count: int) -> None:
    """
    None ends by itself: however long it takes to start the last, all train at once.

    Then all lose their instances, and find the one checkpoint of them all, in which the training is done.
    """
    with LocalSageMaker(engine="simulated", grace_seconds=1) as service:
        jobs = Jobs(service)

        def create(number: int) -> None:
            jobs.start(
                TrainingJobName=f"many-{number}",
                HyperParameters=hyperparameters(seconds=LONG, checkpoint_seconds=LONG),
                CheckpointConfig={"S3Uri": f"s3://{BUCKET}/many"},
                StoppingCondition={"MaxRuntimeInSeconds": 3600, "MaxWaitTimeInSeconds": 7200},
            )

        with ThreadPoolExecutor(2) as executor:
            list(executor.map(create, range(count)))

        def counted() -> dict[str, int]:
            found: dict[str, int] = {}
            for page in jobs.sagemaker.get_paginator("list_training_jobs").paginate(PaginationConfig={"PageSize": 100}):
                for line in page["TrainingJobSummaries"]:
                    found[line["SecondaryStatus"]] = found.get(line["SecondaryStatus"], 0) + 1
            return found

        def reach(status: str, starts: int) -> None:
            """Wait for it by the audit log, since who lists a thousand jobs again and again holds them up."""
            until(lambda: len(jobs.events("state", secondary=status)) == starts, f"all are {status}", 120 + count / 4)

        reach("Training", count)
        assert counted() == {"Training": count}
        assert memory_mb(service.pid) < 1024
        service.set_market("never")
        reach("Interrupted", count)
        jobs.put("many/progress.json", json.dumps({"seconds": LONG}).encode())
        service.set_market("always")
        reach("Completed", count)
        assert counted() == {"Completed": count}
        assert memory_mb(service.pid) < 1024
        for start in (1, 2):
            assert len(jobs.events("process", action="started", start=start)) == count
