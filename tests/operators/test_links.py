"""A task's links are of no weight beside its job."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest

from airflow_spot.core.attempt import Attempt
from airflow_spot.core.events import AttemptFound, Paused
from airflow_spot.operators._links import TaskLinks
from tests.operators import scene
from tests.operators.test_validation import operator
from tests.runs.test_non_retryable import service_of
from tests.support.sagemaker import DictionarySageMaker
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


class Written(TaskInstance):
    """A task instance that counts what is pushed."""

    pushes = 0

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushes += 1
        super().xcom_push(key, value)


def test_a_try_that_only_finds_attempts_links_to_the_newest_and_writes_once() -> None:
    """It may fail before it creates one; and each write is a call of Airflow's API."""
    ti = Written("train")
    links = TaskLinks(operator(), {"ti": ti})  # type: ignore[arg-type]
    names = [f"train-afspot-abcdefghij-1-{number}" for number in (1, 2, 3)]
    for name in names:
        description = {"TrainingJobName": name, "TrainingJobArn": "a", "TrainingJobStatus": "Failed"}
        links.observe(AttemptFound(Attempt.from_description(description, {})))
    assert ti.xcoms == {}
    links.observe(Paused(datetime.now(timezone.utc), "no capacity"))
    assert ti.xcoms["sagemaker_spot_training_job"].endswith(names[-1])
    written = ti.pushes
    links.observe(Paused(datetime.now(timezone.utc), "no capacity"))
    assert ti.pushes == written == 2  # no checkpoints, no link to any


def test_a_retry_has_links_before_it_has_a_job() -> None:
    service = DictionarySageMaker()
    first = scene.deferred(service, scene.ti())
    service.put(first.job_name, "Failed", "Failed", FailureReason="AlgorithmError: exit code 1")
    service.denied.add("CreateTrainingJob")
    again = scene.ti(2, 1)
    context: Any = {"ti": again}
    with pytest.raises(Exception, match=r"CreateTrainingJob|denied|authorized"):
        scene.operator(service).execute(context)
    assert again.xcoms["sagemaker_spot_training_job"].endswith(first.job_name)
    assert again.xcoms["sagemaker_spot_timeline_page"].endswith("/train/-1")
