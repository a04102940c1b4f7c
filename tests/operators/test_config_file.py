"""A config in a JSON file: read when the DAG is parsed, or in the worker where it lies in S3 or is a template."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred
from airflow.sdk import DAG

from airflow_spot.core.parameter_errors import InvalidParameterError, MissingFileError
from airflow_spot.errors import RenderError
from airflow_spot.local import LocalSageMaker
from airflow_spot.operators.training import SageMakerSpotTrainingOperator
from tests.operators import scene
from tests.support.requests import stock_config
from tests.support.sagemaker import DictionarySageMaker, error
from tests.support.service import Task
from tests.support.task import TaskInstance, run_task


def made(config: Any, **more: Any) -> SageMakerSpotTrainingOperator:
    return SageMakerSpotTrainingOperator(task_id="train", config=config, **more)


def test_it_is_read_beside_the_dags_file(tmp_path: Path) -> None:
    (tmp_path / "train.json").write_text(json.dumps(stock_config("bucket")))
    (tmp_path / "dag.py").write_text("")
    with DAG("a") as dag:
        dag.fileloc = str(tmp_path / "dag.py")
        task = made("train.json")
    assert task.config == json.loads(json.dumps(stock_config("bucket")))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "the file is not JSON, line 1, column 2"),
        ("[1]", "must hold a JSON object, and holds a list"),
        ('{"StoppingCondition": 5}', "StoppingCondition"),
        (b"\xff", "the file is not JSON"),
    ],
)
def test_a_file_that_is_wrong_is_met_when_the_dag_is_parsed(tmp_path: Path, text: Any, said: str) -> None:
    path = tmp_path / "train.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InvalidParameterError) as error:
        made(str(path))
    assert said in str(error.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"there is no file .*nothing\.json"):
        made(str(tmp_path / "nothing.json"))


def test_other_text_is_still_no_config() -> None:
    with pytest.raises(InvalidParameterError, match="must be a mapping"):
        made("train.yaml")


@pytest.mark.parametrize("way", ["s3", "template"])
def test_one_in_s3_and_one_that_a_template_names(
    local: LocalSageMaker, task: Task, ti: TaskInstance, tmp_path: Path, way: str
) -> None:
    config = json.dumps(stock_config(task.bucket, steps=3, seconds=0.05))
    local.client("s3").put_object(Bucket=task.bucket, Key="exports/train.json", Body=config.encode())
    (tmp_path / "train.json").write_text(config)
    name = f"s3://{task.bucket}/exports/train.json" if way == "s3" else f"{tmp_path}/{{{{ task.task_id }}}}.json"
    operator = task.operator(name)  # type: ignore[arg-type]
    assert operator.config == name
    operator.render_template_fields({"task": operator})
    assert run_task(operator, ti)["Training"]["TrainingJobStatus"] == "Completed"


def test_one_that_is_not_in_s3_fails_before_anything_is_sent(
    local: LocalSageMaker, task: Task, ti: TaskInstance
) -> None:
    operator = task.operator(f"s3://{task.bucket}/nothing.json")  # type: ignore[arg-type]
    operator.render_template_fields({"task": operator})
    with pytest.raises(RenderError, match=rf"config: s3://{task.bucket}/nothing\.json cannot be read: .*NoSuchKey"):
        run_task(operator, ti)


class S3:
    """Has a config, and does not answer for so many calls."""

    def __init__(self, failures: int, code: str) -> None:
        self.failures, self.code = failures, code

    def get_conn(self) -> Any:
        return self

    def get_object(self, **_: Any) -> Any:
        self.failures -= 1
        if self.failures >= 0:
            raise error(self.code, "is told", "GetObject")
        return {"Body": io.BytesIO(json.dumps(stock_config("bucket")).encode())}


def in_s3(service: DictionarySageMaker, failures: int, code: str = "SlowDown") -> SageMakerSpotTrainingOperator:
    made = scene.operator(service)
    made.config = "s3://bucket/train.json"
    made.hook.s3_hook = S3(failures, code)  # type: ignore[assignment]
    made.render_template_fields({})
    return made


@pytest.mark.usefixtures("short_pauses")
def test_s3_that_does_not_answer_for_a_while_ends_no_training(service: DictionarySageMaker) -> None:
    """The try is the last: had it failed, its job would have been stopped."""
    trigger = scene.deferred(service, scene.ti())
    made = in_s3(service, 3)
    with pytest.raises(TaskDeferred):
        scene.resume(made, scene.ti(), trigger)
    (job,) = service.jobs.values()
    assert job["TrainingJobStatus"] == "InProgress"
    assert made.config == stock_config("bucket")


@pytest.mark.usefixtures("short_pauses")
def test_s3_that_refuses_leaves_the_job_to_the_next_try(service: DictionarySageMaker) -> None:
    trigger = scene.deferred(service, scene.ti(1, 1))
    with pytest.raises(RenderError, match="AccessDenied"):
        scene.resume(in_s3(service, 99, "AccessDenied"), scene.ti(1, 1), trigger)
    (job,) = service.jobs.values()
    assert job["TrainingJobStatus"] == "InProgress"
