"""Where other tasks find the job and its model: the log says so, and the model goes where it is wanted."""

from __future__ import annotations

import re
from typing import Any

import pytest

from airflow_spot.core.log_messages import result_line
from airflow_spot.core.parameter_errors import InvalidParameterError
from airflow_spot.errors import NonRetryableSpotError
from airflow_spot.local import LocalSageMaker
from airflow_spot.runs.controller import TrainingRun
from tests.operators.scene import WorkerLost, operator
from tests.support.sagemaker import DictionarySageMaker
from tests.support.service import Task
from tests.support.task import TaskInstance, run_task


def keys(local: LocalSageMaker, bucket: str, prefix: str) -> list[str]:
    found = local.client("s3").list_objects_v2(Bucket=bucket, Prefix=prefix)
    return [item["Key"] for item in found.get("Contents", ())]


def test_the_model_is_copied_once_also_after_a_crash_and_the_log_says_where_all_is(
    local: LocalSageMaker,
    sync_task: Task,
    ti: TaskInstance,
    bucket: str,
    said: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place = f"s3://{bucket}/models/"
    with monkeypatch.context() as crash:

        def lost(*_: Any) -> None:
            raise WorkerLost

        crash.setattr(TrainingRun, "mark_delivered", lost)
        with pytest.raises(WorkerLost):
            run_task(sync_task.operator(model_s3_uri=place), ti)
    assert keys(local, bucket, "models/") == ["models/model.tar.gz"]
    result = run_task(sync_task.operator(model_s3_uri=place), ti.retried())
    name = result["Training"]["TrainingJobName"]
    assert result["Spot"]["model_s3_uri"] == f"s3://{bucket}/models/model.tar.gz"
    assert result["Spot"]["model_artifacts"] == f"s3://{bucket}/output/{name}/output/model.tar.gz"
    copies = [line for line in said if "the model from" in line]
    assert [line.partition(" the ")[0] for line in copies] == ["Copied", "Had already copied"]
    pull = "ti.xcom_pull(task_ids='train')"
    assert said[-1] == (
        f"Training job {name} completed. Other tasks take its name as {{{{ {pull}['Training']['TrainingJobName'] }}}}, "
        f"its model as {{{{ {pull}['Spot']['model_s3_uri'] }}}}"
    )
    # Another model, of another generation, takes its place.
    again = run_task(sync_task.operator(model_s3_uri=place, steps=6), ti.retried().cleared())
    assert again["Spot"]["generation"] == 2
    assert "Copied the model" in said[-2]


def test_a_task_that_does_not_wait_has_no_model_to_copy(sync_task: Task) -> None:
    with pytest.raises(InvalidParameterError, match=r"model_s3_uri .* needs a task that waits for the model"):
        sync_task.operator(model_s3_uri="s3://bucket/m", wait_for_completion=False)
    for wrong in ("/models", ["s3://bucket/m"], 5):
        with pytest.raises(InvalidParameterError, match="must be an S3 URI"):
            sync_task.operator(model_s3_uri=wrong)


@pytest.mark.parametrize("place", ["s3://bucket", "s3://bucket/output", "s3://bucket/output/"])
def test_a_folder_that_has_the_output_in_it_is_refused_before_anything_trains(
    service: DictionarySageMaker, place: str
) -> None:
    output = {"S3OutputPath": "s3://bucket/output", "CompressionType": "NONE"}
    with pytest.raises(InvalidParameterError, match="must not contain the jobs' output"):
        operator(service, config={"OutputDataConfig": output}, model_s3_uri=place)
    operator(service, config={"OutputDataConfig": output}, model_s3_uri="s3://bucket/output-2/")
    operator(service, config={"OutputDataConfig": {**output, "CompressionType": "GZIP"}}, model_s3_uri=place)


def test_a_model_is_not_mixed_with_what_is_there_and_is_copied_without_training_again(
    local: LocalSageMaker, sync_task: Task, ti: TaskInstance, bucket: str
) -> None:
    place = f"s3://{bucket}/models/"
    local.client("s3").put_object(Bucket=bucket, Key="models/notes.txt", Body=b"mine")
    made = sync_task.operator(model_s3_uri=place)
    made.config = {**made.config, "OutputDataConfig": {**made.config["OutputDataConfig"], "CompressionType": "NONE"}}
    with pytest.raises(NonRetryableSpotError, match=r"models/ has notes.txt, which was not copied there.*clear"):
        run_task(made, ti)
    assert keys(local, bucket, "models/") == ["models/notes.txt"]
    local.client("s3").delete_object(Bucket=bucket, Key="models/notes.txt")
    result = run_task(made, ti.retried().cleared())
    assert result["Spot"]["model_s3_uri"] == place
    assert (result["Spot"]["generation"], len(result["Spot"]["attempts"])) == (1, 1)
    assert keys(local, bucket, "models/") != []


def test_the_line_names_the_member_or_that_there_is_nothing_to_take() -> None:
    assert "ti.xcom_pull(task_ids='group.train', map_indexes=3)['Spot']" in result_line("job", "group.train", 3)
    assert "do_xcom_push=False: no other task can take" in result_line("job", "train", -1, kept=False)
    assert not re.search(r"\{\{\{", result_line("job", "train", -1))
