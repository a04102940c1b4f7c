"""A real `airflow standalone`, its scheduler, triggerer and workers, against Local SageMaker."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pytest

from airflow_spot.core.identity import RunIdentity
from airflow_spot.core.marks import TAG_STOP, tag_map
from airflow_spot.local import LocalSageMaker
from demo.standalone import StandaloneAirflow
from tests.airflow.running import airflow_of

pytestmark = [pytest.mark.slow, pytest.mark.airflow, pytest.mark.timeout(1200)]

NAMESPACE = "airflow-tests"
T = TypeVar("T")


@pytest.fixture(scope="module")
def service() -> Iterator[LocalSageMaker]:
    with LocalSageMaker(grace_seconds=2) as sagemaker:
        sagemaker.client("s3").create_bucket(Bucket="airflow-tests")
        yield sagemaker


@pytest.fixture(scope="module")
def airflow(service: LocalSageMaker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandaloneAirflow]:
    with airflow_of(service, tmp_path_factory.mktemp("airflow"), "dags", NAMESPACE) as standalone:
        yield standalone


def start(airflow: StandaloneAirflow, dag_id: str, conf: dict[str, Any] | None = None) -> str:
    airflow.unpause(dag_id)
    return airflow.trigger(dag_id, conf)


def jobs(service: LocalSageMaker, dag_id: str, run_id: str) -> list[dict[str, Any]]:
    """Every training job of a run, by SageMaker."""
    client = service.client("sagemaker")
    key = RunIdentity(NAMESPACE, dag_id, run_id, "train").key
    found = client.list_training_jobs(NameContains=key, MaxResults=100)["TrainingJobSummaries"]
    return [client.describe_training_job(TrainingJobName=job["TrainingJobName"]) for job in found]


def until(condition: Callable[[], T], what: str, seconds: float = 240) -> T:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.2)
    raise AssertionError(f"not within {seconds} s: {what}")


def training(service: LocalSageMaker, dag_id: str, run_id: str) -> dict[str, Any]:
    """Wait until the run's job trains."""
    return until(
        lambda: next((job for job in jobs(service, dag_id, run_id) if job["SecondaryStatus"] == "Training"), {}),
        f"a training job of {dag_id}",
    )


def in_s3(service: LocalSageMaker, job_name: str) -> list[str]:
    """The checkpoint files of a job that were uploaded."""
    return [line["key"] for line in service.audit if line["event"] == "checkpoint" and line["job"] == job_name]


def looks(service: LocalSageMaker, job_name: str) -> int:
    """How often a job has been described."""
    calls = [entry for entry in service.audit if entry.get("operation") == "DescribeTrainingJob"]
    return sum(1 for entry in calls if entry["resource"] == job_name)


def told(airflow: StandaloneAirflow, dag_id: str, run_id: str, try_number: int = 1) -> str:
    return "\n".join(airflow.task_log(dag_id, run_id, "train", try_number))


@pytest.mark.parametrize("dag_id", ["interrupted", "interrupted_sync"])
def test_an_interruption(airflow: StandaloneAirflow, service: LocalSageMaker, dag_id: str) -> None:
    run_id = start(airflow, dag_id)
    name = training(service, dag_id, run_id)["TrainingJobName"]
    until(lambda: in_s3(service, name), "a checkpoint in S3")
    service.interrupt(name)
    assert airflow.wait(dag_id, run_id) == "success"
    spot = airflow.xcom(dag_id, run_id, "train")["Spot"]
    assert spot["interruptions"] == 1
    assert len(spot["attempts"]) == len(jobs(service, dag_id, run_id)) == 1
    log = told(airflow, dag_id, run_id)
    assert re.search(r"Interrupted \(1st time\) after .* of training: Spot instance reclaimed", log)
    # Savings are known where what the interruption lost is: where the folder was looked at in time.
    assert ("spot discount" if spot["savings_percent"] is None else "saved against on-demand") in log


@pytest.mark.parametrize("dag_id", ["worker_killed", "result_lost"])
def test_a_killed_worker_ends_with_one_job(airflow: StandaloneAirflow, service: LocalSageMaker, dag_id: str) -> None:
    run_id = start(airflow, dag_id)
    assert airflow.wait(dag_id, run_id) == "success"
    (job,) = jobs(service, dag_id, run_id)
    assert airflow.xcom(dag_id, run_id, "train")["Training"]["TrainingJobName"] == job["TrainingJobName"]
    key = RunIdentity(NAMESPACE, dag_id, run_id, "train").key
    creates = [entry for entry in service.audit if entry.get("operation") == "CreateTrainingJob"]
    assert [entry["error"] for entry in creates if key in entry["resource"]] == [None]


@pytest.mark.parametrize("dag_id", ["marked_failed", "marked_failed_sync"])
def test_a_task_marked_failed_stops_its_job(airflow: StandaloneAirflow, service: LocalSageMaker, dag_id: str) -> None:
    run_id = start(airflow, dag_id)
    job = training(service, dag_id, run_id)
    waiting = "running" if dag_id.endswith("_sync") else "deferred"
    until(lambda: airflow.task_states(dag_id, run_id)["train"] == waiting, f"the task to be {waiting}")
    # A mark before the trigger has begun runs no code of ours on any Airflow, see docs/decisions.
    before = looks(service, job["TrainingJobName"])
    until(lambda: looks(service, job["TrainingJobName"]) > before, "a look at the job")
    airflow.mark(dag_id, run_id, "train", "failed")
    until(lambda: [j["TrainingJobStatus"] for j in jobs(service, dag_id, run_id)] == ["Stopped"], "the job to stop")
    tags = tag_map(service.client("sagemaker").list_tags(ResourceArn=job["TrainingJobArn"])["Tags"])
    assert tags[TAG_STOP] == "killed 1"


def test_the_sensor_waits_in_the_triggerer(airflow: StandaloneAirflow, service: LocalSageMaker) -> None:
    run_id = start(airflow, "interrupted")
    name = training(service, "interrupted", run_id)["TrainingJobName"]
    sensed = start(airflow, "sensed", {"job_name": name})
    until(lambda: airflow.task_states("sensed", sensed)["wait"] == "deferred", "the sensor to be deferred")
    until(lambda: in_s3(service, name), "a checkpoint in S3")
    service.interrupt(name)  # the job has waited for that
    assert airflow.wait("sensed", sensed) == "success"
    assert airflow.xcom("sensed", sensed, "wait")["Training"]["TrainingJobStatus"] == "Completed"


def test_aiobotocore_is_not_there() -> None:
    with pytest.raises(ImportError):
        __import__("aiobotocore")
