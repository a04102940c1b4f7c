"""What a setup works with, on a service that answers step by step what a test says."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import pytest
from botocore.exceptions import ClientError

from airflow_spot.verify.pace import on_local
from airflow_spot.verify.scratch import NotReached, Run, Scratch
from airflow_spot.verify.service import Service

USED_UP = (
    "The account-level service limit 'ml.m5.large for training job usage' is 1 Instances, with current utilization of "
    "1 Instances and a request delta of 1 Instances."
)
PACE = replace(on_local(0), poll=0.0, settle=0.0, patience=0.2)


def error(code: str, message: str = "") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "CreateTrainingJob")


class Answers:
    """Answers each call with the next of a list; the last one stays."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.calls: list[dict[str, Any]] = []

    def create_training_job(self, **request: Any) -> Any:
        self.calls.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    describe_training_job = stop_training_job = create_training_job


def scratch(*answers: Any) -> Scratch:
    service = Service(Answers(*answers), None, "us-east-1", "role", "bucket", "ml.m5.large", "image", True, PACE)
    return Scratch(service, Run(), "setup")


def test_a_limit_that_is_used_up_is_waited_for() -> None:
    one = scratch(error("ResourceLimitExceeded", USED_UP), error("ResourceLimitExceeded", USED_UP), {})
    assert one.create(one.request()) == one.names[0]
    assert len(one.service.sagemaker.calls) == 3


def test_one_that_stays_used_up_is_given_up() -> None:
    one = scratch(error("ResourceLimitExceeded", USED_UP))
    with pytest.raises(NotReached, match="--parallel 1"):
        one.create(one.request())
    assert len(one.service.sagemaker.calls) > 1


@pytest.mark.parametrize(
    "message",
    [
        USED_UP.replace("is 1", "is 0"),
        "The requested resource training-job/ml.t3.medium is not available in this region",
        "words that nobody has recorded",
    ],
)
def test_one_that_no_wait_mends_is_not_waited_for(message: str) -> None:
    one = scratch(error("ResourceLimitExceeded", message))
    with pytest.raises(NotReached, match=message.split("'", maxsplit=1)[0]):
        one.create(one.request())
    assert len(one.service.sagemaker.calls) == 1


def test_a_create_whose_answer_was_lost_is_no_second_one() -> None:
    one = scratch(error("ResourceInUse"))
    assert one.create(one.request()) == one.names[0]


def test_a_job_is_remembered_before_it_is_created() -> None:
    one = scratch(error("InternalFailure"))
    with pytest.raises(ClientError):
        one.create(one.request())
    assert len(one.names) == 1  # it may be there: it is looked for and stopped


@pytest.mark.parametrize(("code", "kept"), [("ValidationException", 0), ("ResourceInUse", 1)])
def test_a_refused_job_is_forgotten(code: str, kept: int) -> None:
    one = scratch(error(code, "words"))
    assert one.refused(one.request()) == (code, "words")
    assert len(one.names) == kept


def test_a_job_that_should_be_refused_is_stopped() -> None:
    one = scratch({})
    assert one.refused(one.request()) is None
    assert len(one.service.sagemaker.calls) == 2 and len(one.names) == 1


@pytest.mark.parametrize("code", ["AccessDeniedException", "ThrottlingException"])
def test_a_denial_says_nothing_of_what_is_asked(code: str) -> None:
    one = scratch(error(code))
    with pytest.raises(NotReached, match=code):
        one.refused(one.request())


def test_once_it_is_to_end_nothing_is_created() -> None:
    one = scratch({})
    one._run.ending.set()
    with pytest.raises(NotReached, match="interrupted"):
        one.create(one.request())
    assert one.service.sagemaker.calls == []


def description(status: str, secondary: str, *before: str) -> dict[str, Any]:
    at = datetime(2026, 1, 1, tzinfo=timezone.utc)
    return {
        "TrainingJobStatus": status,
        "SecondaryStatus": secondary,
        "StoppingCondition": {"MaxRuntimeInSeconds": 0},
        "SecondaryStatusTransitions": [{"Status": each, "StartTime": at} for each in (*before, secondary)],
    }


def test_a_status_that_has_passed_was_reached() -> None:
    one = scratch(description("InProgress", "Starting"), description("InProgress", "Uploading", "Starting", "Training"))
    assert one.until("job", "Training")["SecondaryStatus"] == "Uploading"


def test_a_job_that_ends_before_it_trains() -> None:
    failed = {**description("Failed", "Failed", "Starting"), "FailureReason": "CapacityError: none"}
    one = scratch(description("InProgress", "Starting"), failed)
    with pytest.raises(NotReached, match="never Training: Failed, CapacityError: none"):
        one.until("job", "Training")


def test_a_job_that_does_not_end_is_given_up() -> None:
    one = scratch(description("Stopping", "Stopping"))
    with pytest.raises(NotReached, match="Stopping long after its limits"):
        one.end("job")
