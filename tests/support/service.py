"""Local SageMaker for the tests of operators and sensors, from the pytest plugin, as anybody has it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from airflow_spot.aws import jobs
from airflow_spot.local import LocalSageMaker
from airflow_spot.operators.training import SageMakerSpotTrainingOperator
from tests.support.requests import SCRIPTS, stock_config
from tests.support.task import TaskInstance

#: Instance types of the tests' markets; anything else is always there.
MARKET = ";".join(
    (
        "ml.c5.4xlarge=script:fail=2,up=600",
        "ml.c5.2xlarge=script:up=2.5,down=0.5",
        "*=always",
    )
)


QUOTAS = "ml.p3.2xlarge:spot=0;ml.g5.xlarge:spot=2"


@pytest.fixture(scope="session")
def local_sagemaker_options() -> dict[str, Any]:
    """How the pytest plugin starts Local SageMaker, where a mark does not say otherwise."""
    return {"market": MARKET, "quotas": QUOTAS, "grace_seconds": 2}


@pytest.fixture(scope="session")
def local(local_sagemaker_session: LocalSageMaker) -> LocalSageMaker:
    """The service of all these tests; while one of them runs, the environment points at it."""
    return local_sagemaker_session


@pytest.fixture
def bucket(local: LocalSageMaker, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A fresh bucket. No job outlives the test."""
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", "aws://")
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    local.client("s3").create_bucket(Bucket=name)
    yield name
    client = local.client("sagemaker")
    newest = client.list_training_jobs(StatusEquals="InProgress", MaxResults=100, SortOrder="Descending")
    for job in newest["TrainingJobSummaries"]:
        jobs.stop(client, job["TrainingJobName"])


@pytest.fixture
def ti() -> TaskInstance:
    return TaskInstance("train", run_id=f"manual__{uuid.uuid4()}")


class Task:
    """A task that trains ``steps.py``: makes the operator again for each try, as Airflow does."""

    def __init__(self, bucket: str, deferrable: bool) -> None:
        self.bucket = bucket
        self.deferrable = deferrable

    def operator(self, config: dict[str, Any] | None = None, **parameters: Any) -> SageMakerSpotTrainingOperator:
        hyperparameters = {"steps": parameters.pop("steps", 5), "seconds": parameters.pop("seconds", 0.05)}
        hyperparameters |= parameters.pop("hyperparameters", {})
        config = config or stock_config(self.bucket, **hyperparameters)
        if instance_type := parameters.pop("instance_type", None):
            config["ResourceConfig"]["InstanceType"] = instance_type
        defaults: dict[str, Any] = {
            "task_id": "train",
            "entry_point": "steps.py",
            "source_dir": str(SCRIPTS),
            "check_interval": 0.3,
            "deferrable": self.deferrable,
        }
        return SageMakerSpotTrainingOperator(config=config, **{**defaults, **parameters})


@pytest.fixture(params=["sync", "deferrable"])
def task(bucket: str, request: pytest.FixtureRequest) -> Task:
    return Task(bucket, request.param == "deferrable")


@pytest.fixture(params=[pytest.param("sync", marks=pytest.mark.slow), "deferrable"])
def either_task(bucket: str, request: pytest.FixtureRequest) -> Task:
    """A task of which both modes do the same: the slow suite looks whether they do."""
    return Task(bucket, request.param == "deferrable")


@pytest.fixture
def sync_task(bucket: str) -> Task:
    return Task(bucket, deferrable=False)
