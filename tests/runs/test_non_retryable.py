"""A call that is not permitted is named by the action that permits it; a wrong field is not tried again."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_spot.compat.sdk import AirflowFailException
from airflow_spot.core.parameter_errors import InvalidParameterError
from airflow_spot.errors import RequestError
from airflow_spot.operators.training import SageMakerSpotTrainingOperator
from airflow_spot.runs.non_retryable import action_of, non_retryable_reason
from tests.operators.test_validation import operator
from tests.support.sagemaker import DictionarySageMaker, error
from tests.support.task import TaskInstance


def service_of(task: SageMakerSpotTrainingOperator) -> DictionarySageMaker:
    """The SageMaker that a task talks to."""
    service: DictionarySageMaker = task.hook.service  # type: ignore[attr-defined]
    return service


def failure(task: SageMakerSpotTrainingOperator, ti: TaskInstance | None = None) -> RequestError:
    """What a task fails with, which Airflow does not retry."""
    context: Any = {"ti": ti or TaskInstance("train")}
    with pytest.raises(RequestError) as failed:
        task.execute(context)
    assert isinstance(failed.value, AirflowFailException)
    return failed.value


@pytest.mark.parametrize(
    ("code", "operation", "message", "action"),
    [
        ("AccessDenied", "ListObjectsV2", "Access Denied", "s3:ListBucket"),
        ("403", "HeadObject", "Forbidden", "s3:GetObject and s3:ListBucket"),
        ("403", "HeadBucket", "Forbidden", "s3:ListBucket"),
        ("AccessDenied", "PutObject", "", "s3:PutObject"),
        ("AccessDeniedException", "GetLogEvents", "", "logs:GetLogEvents"),
        ("AccessDenied", "GetRole", "", "iam:GetRole"),
        ("AccessDeniedException", "StopTrainingJob", "", "sagemaker:StopTrainingJob"),
        ("AccessDenied", "SomethingNew", "", "SomethingNew"),
        # What AWS itself says goes before what the call is called.
        (
            "AccessDenied",
            "PutObject",
            "User: arn:aws:sts::1:assumed-role/r/s is not authorized to perform: kms:GenerateDataKey on resource: k",
            "kms:GenerateDataKey",
        ),
    ],
)
def test_the_action_is_that_of_the_right_service(code: str, operation: str, message: str, action: str) -> None:
    denied = error(code, message, operation)
    assert action_of(denied) == action
    assert non_retryable_reason(denied) == f"Access denied: {action}. Grant the permission, then clear the task"


@pytest.mark.parametrize("passing", [error("ThrottlingException"), error("404", "Not Found"), ValueError("why")])
def test_what_a_retry_may_not_meet_is_no_refusal(passing: Exception) -> None:
    assert non_retryable_reason(passing) is None


def test_the_actions_that_are_named_are_the_calls_of_their_service() -> None:
    """Else a call that is renamed, or written wrong here, would be named by nothing but itself."""
    import boto3

    from airflow_spot.runs.non_retryable import _ACTIONS

    known = {
        operation
        for service in ("sagemaker", "s3", "logs", "iam", "sts")
        for operation in boto3.session.Session()._session.get_service_model(service).operation_names
    }
    assert set(_ACTIONS) <= known


@pytest.mark.parametrize("waits", [True, False])
def test_a_denied_call_of_s3_is_named_whether_the_task_waits_or_not(waits: bool) -> None:
    task = operator(wait_for_completion=waits)

    def deny(_: Any) -> None:
        raise error("AccessDenied", "Access Denied", "ListObjectsV2")

    task.hook.__dict__["check_training_config"] = deny
    assert "Access denied: s3:ListBucket. Grant the permission" in str(failure(task))
    assert not service_of(task).jobs


@pytest.mark.parametrize("waits", [True, False])
def test_a_wrong_field_that_shows_inside_the_run_is_not_tried_again(waits: bool) -> None:
    """The folder to resume from is known to hold the new one only when that has its name."""
    task = operator(wait_for_completion=waits, resume_from="s3://bucket/output/checkpoints")
    refused = failure(task, TaskInstance("train", max_tries=3))
    assert "s3://bucket/output/checkpoints" in str(refused)
    assert str(refused).endswith("Nothing was sent to SageMaker")
    assert service_of(task).calls.count("CreateTrainingJob") == 0


def test_it_is_not_said_that_nothing_was_sent_where_something_was() -> None:
    task = operator()
    service = service_of(task)

    def late(*_: Any) -> None:
        raise InvalidParameterError("field", "value", "the fix")

    task.hook.marks.__dict__["set_delivered"] = late
    refused = failure(task)
    assert "field is 'value': the fix" in str(refused)
    assert "Nothing was sent" not in str(refused)
    assert service.calls.count("CreateTrainingJob") == 1
