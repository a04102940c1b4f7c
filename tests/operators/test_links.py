"""A task's links are of no weight beside its job."""

from __future__ import annotations

from typing import Any

import pytest

from tests.operators.test_validation import operator
from tests.runs.test_non_retryable import service_of
from tests.support.task import TaskInstance


class WithoutXComs(TaskInstance):
    """A task instance whose API server is away."""

    def xcom_push(self, key: str, value: Any) -> None:
        raise RuntimeError("API_SERVER_ERROR")


def without_partition(_: Any) -> str:
    raise RuntimeError("the connection cannot be read")


def test_a_link_that_cannot_be_made_ends_no_try(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    task = operator()
    monkeypatch.setattr(type(task.hook), "conn_partition", property(without_partition))
    context: Any = {"ti": TaskInstance("train")}
    result = task.execute(context)
    (name,) = service_of(task).live()
    assert result["Training"]["TrainingJobName"] == name
    assert f"Could not set the task's links to training job {name}" in capfd.readouterr().out


def test_an_xcom_that_cannot_be_pushed_ends_no_try() -> None:
    """The stock link's own patience, which is of an internal decorator of the provider's."""
    task = operator()
    context: Any = {"ti": WithoutXComs("train")}
    result = task.execute(context)
    assert [result["Training"]["TrainingJobName"]] == service_of(task).live()


def test_links_point_to_the_job() -> None:
    task = operator()
    ti = TaskInstance("train")
    context: Any = {"ti": ti, "task_instance": ti}
    name = task.execute(context)["Training"]["TrainingJobName"]
    assert ti.xcoms["sagemaker_spot_training_job"].endswith(f"/{name}")
    assert name in ti.xcoms["sagemaker_spot_training_logs"]
    assert "/s3/buckets/bucket?" in ti.xcoms["sagemaker_spot_checkpoints"]
    assert ti.xcoms["sagemaker_spot_timeline_page"].startswith("/airflow-spot/")
