"""What a user may get wrong is met when the DAG is parsed, or before the first call; nothing secret is shown."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred
from botocore.exceptions import ClientError

from airflow_spot.core.fields import InvalidField
from airflow_spot.errors import RequestError
from airflow_spot.operators.refusing import action_of, refusal_of
from airflow_spot.operators.training import SageMakerSpotTrainingOperator
from tests.operators.test_endings import Hook, ti
from tests.support.requests import stock_config
from tests.support.sagemaker import DictionarySageMaker, error
from tests.support.task import TaskInstance

SECRET = "s3cr3t-value"


def made(**parameters: Any) -> SageMakerSpotTrainingOperator:
    defaults: dict[str, Any] = {"task_id": "train", "config": stock_config("bucket"), "aws_conn_id": None}
    return SageMakerSpotTrainingOperator(**{**defaults, "deferrable": True, "print_log": False, **parameters})


def executed(
    operator: SageMakerSpotTrainingOperator, service: DictionarySageMaker, this: TaskInstance | None = None
) -> Any:
    operator.__dict__["hook"] = Hook(service)
    context: Any = {"ti": this or ti()}
    return operator.execute(context)


@pytest.mark.parametrize("value", [0, -5, float("nan"), float("inf"), "abc", True])
def test_the_interval_is_above_0(value: Any) -> None:
    with pytest.raises(InvalidField, match=r"check_interval is .*must be seconds, above 0"):
        made(check_interval=value)


@pytest.mark.parametrize("value", [0, -5, "soon", timedelta(seconds=-1)])
def test_max_ingestion_time_is_a_duration(value: Any) -> None:
    with pytest.raises(InvalidField, match="max_ingestion_time"):
        made(max_ingestion_time=value)
    assert made(max_ingestion_time="2h").max_ingestion_time == "2h"


def test_a_duration_that_turns_out_wrong_is_no_reason_to_retry() -> None:
    service, operator = DictionarySageMaker(), made()
    operator.max_ingestion_time = "soon"
    with pytest.raises(RequestError, match=r"max_ingestion_time is 'soon'.*Nothing was sent to SageMaker"):
        executed(operator, service)
    assert not service.jobs


@pytest.mark.parametrize("entry_point", [None, "train.py"])
def test_a_config_that_is_rendered_to_text_is_refused_by_its_type(entry_point: str | None) -> None:
    operator = made(config="{{ var.json.config }}", entry_point=entry_point)
    operator.config = str({"HyperParameters": {"key": SECRET}})  # type: ignore[assignment]
    with pytest.raises(RequestError, match="config is 'a str': must be a mapping") as refused:
        executed(operator, DictionarySageMaker())
    assert SECRET not in str(refused.value)
    with pytest.raises(InvalidField, match="config is 'a list'"):
        made(config=[])


def test_rungs_that_do_not_say_are_as_the_task_says() -> None:
    service = DictionarySageMaker()
    with pytest.raises(TaskDeferred):
        executed(made(use_spot_instances=False, ladder=["ml.g5.xlarge", "ml.g5.2xlarge"]), service)
    (job,) = service.jobs.values()
    assert job["EnableManagedSpotTraining"] is False


def test_groups_and_a_ladder_are_one_too_many() -> None:
    config = stock_config("bucket")
    config["ResourceConfig"] = {"InstanceGroups": [{"InstanceType": "ml.g5.xlarge", "InstanceCount": 2}]}
    with pytest.raises(InvalidField, match=r"InstanceGroups.*cannot be used with a ladder"):
        made(config=config, ladder=["ml.g5.xlarge"])


def test_a_task_without_a_latin_letter_has_jobs_with_a_name() -> None:
    service, config = DictionarySageMaker(), stock_config("bucket")
    del config["TrainingJobName"]
    with pytest.raises(TaskDeferred):
        executed(made(task_id="训练", config=config), service, TaskInstance("训练"))
    (name,) = service.jobs
    assert name.startswith("training-afspot-")


@pytest.mark.parametrize(
    "ladder",
    [
        f'[{{"instance_type": "ml.g5.xlarge", "environment": {{"API_KEY": "{SECRET}"}}}},]',
        {"instance_type": "ml.g5.xlarge", "environment": {"API_KEY": SECRET}},
        [{"instance_type": {"API_KEY": SECRET}}],
        [{"instance_type": "ml.g5.xlarge", "environment": SECRET + " and more"}],
        [{"on_demand": {"API_KEY": SECRET}}],
        [{"instance_type": "ml.g5.xlarge", "wrong": {"API_KEY": SECRET}}],
    ],
)
def test_a_wrong_ladder_is_named_without_what_it_holds(ladder: Any) -> None:
    with pytest.raises(InvalidField, match=r"ladder|Rung\.on_demand") as refused:
        made(ladder=ladder)
    assert SECRET not in str(refused.value)
    assert refused.value.__cause__ is None


def test_links_that_cannot_be_kept_end_nothing() -> None:
    service, operator = DictionarySageMaker(), made(wait_for_completion=False)
    operator.__dict__["hook"] = Hook(service)
    this = ti()
    this.xcom_push = lambda key, value: 1 / 0  # type: ignore
    context: Any = {"ti": this}
    assert operator.execute(context)["Training"]["TrainingJobStatus"] == "InProgress"


@pytest.mark.parametrize(
    ("refusal", "action"),
    [
        (error("AccessDenied", "Access Denied", "ListObjectsV2"), "s3:ListBucket"),
        (error("403", "Forbidden", "HeadObject"), "s3:GetObject and s3:ListBucket"),
        (error("AccessDenied", "User: x is not authorized to perform: iam:PassRole on y", "Create"), "iam:PassRole"),
        (error("AccessDeniedException", "no", "StopTrainingJob"), "sagemaker:StopTrainingJob"),
        (error("AccessDeniedException", "no", "SomethingNew"), "SomethingNew"),
    ],
)
def test_a_denied_call_names_what_permits_it(refusal: ClientError, action: str) -> None:
    assert action_of(refusal) == action
    assert refusal_of(refusal) == f"Not permitted: {action}. Permit it, and clear the task"


@pytest.mark.parametrize("wait", [True, False])
def test_what_is_denied_is_no_reason_to_retry(wait: bool) -> None:
    service = DictionarySageMaker()
    service.denied.add("DescribeTrainingJob")
    with pytest.raises(RequestError, match="Not permitted: sagemaker:DescribeTrainingJob"):
        executed(made(wait_for_completion=wait), service)
    assert not service.jobs
