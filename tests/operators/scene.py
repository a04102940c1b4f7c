"""An operator and its tries, in process, on SageMaker as a dictionary."""

from __future__ import annotations

from typing import Any

import boto3
import pytest
from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_spot.aws.retrying import RetryingClient
from airflow_spot.aws.shapes import input_shape
from airflow_spot.core.marks import StopMark
from airflow_spot.core.request_schema import Shape
from airflow_spot.operators.training import SageMakerSpotTrainingOperator
from tests.support.requests import stock_config
from tests.support.sagemaker import DictionaryHook, DictionarySageMaker, error
from tests.support.task import TaskInstance

CLIENT = boto3.client("sagemaker", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b")
SHAPE = input_shape(CLIENT, "CreateTrainingJob")


class Hook(DictionaryHook):
    """The real hook, as an operator needs it, with retries as with SageMaker."""

    conn_region_name = "us-east-1"
    conn_partition = "aws"
    request_shape: Shape = SHAPE  # type: ignore[assignment]

    @property
    def client(self) -> Any:
        return self._retrying or self.service

    def enable_retries(self, sleep: Any, deadline: float | None, **_: Any) -> None:
        self._retrying = RetryingClient(lambda fresh: self.service, sleep, self.log, deadline=deadline)

    def check_training_config(self, training_config: dict[str, Any]) -> None:
        """There is no S3 beside the dictionary."""


class Shy(DictionarySageMaker):
    """Shows a job only some looks after its create."""

    looks = 0

    def describe_training_job(self, TrainingJobName: str) -> dict[str, Any]:
        if TrainingJobName in self.jobs and self.looks > 0:
            self.looks -= 1
            raise error("ValidationException", "Requested resource not found.", "DescribeTrainingJob")
        return super().describe_training_job(TrainingJobName)


class WorkerLost(Exception):
    """The worker is gone, and the task's own code does not hear of it."""


def operator(service: DictionarySageMaker, **parameters: Any) -> SageMakerSpotTrainingOperator:
    """A task of the run, made again for each worker."""
    config = {**stock_config("bucket"), **parameters.pop("config", {})}
    defaults: dict[str, Any] = {"task_id": "train", "deferrable": True, "print_log": False, "aws_conn_id": None}
    made = SageMakerSpotTrainingOperator(config=config, **{**defaults, **parameters})
    made.__dict__["hook"] = Hook(service)
    return made


def edited(service: DictionarySageMaker, **parameters: Any) -> SageMakerSpotTrainingOperator:
    """The same task after somebody broke its config, in what is known only once it runs."""
    made = operator(service, **parameters)
    made.config = {**made.config, "OutputDataConfig": {"S3OutputPath": "no-uri"}}
    return made


def ti(number: int = 1, retries: int = 0) -> TaskInstance:
    return TaskInstance("train", try_number=number, max_tries=retries)


def deferred(service: DictionarySageMaker, this: TaskInstance, **parameters: Any) -> Any:
    """Have a try create its job and defer; its trigger."""
    context: Any = {"ti": this}
    with pytest.raises(TaskDeferred) as wait:
        operator(service, **parameters).execute(context)
    return wait.value.trigger


def resume(made: SageMakerSpotTrainingOperator, this: TaskInstance, trigger: Any, status: str = "timeout") -> Any:
    """Go on in a new worker, after the trigger fired."""
    context: Any = {"ti": this}
    return made.execute_complete(
        context, {"status": status, "job_name": trigger.job_name, "run_state": trigger.run_state}
    )


def mark(service: DictionarySageMaker, name: str) -> StopMark | None:
    return StopMark.parse(service.tags_of(name).get("airflow-spot:stop"))


def cleared(number: int = 2) -> TaskInstance:
    """The task after a person's clear."""
    return ti(number, number)
