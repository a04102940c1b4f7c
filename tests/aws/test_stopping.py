"""A stop that fails leaves no mark behind, and one that came all the same keeps it."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from airflow_spot.core.marks import TAG_OWNER, TAG_STOP, StopMark
from tests.support.sagemaker import ARN, DictionaryHook, DictionarySageMaker, error

NAME = "digits-afspot-aaaaaaaaaa-1-1"


@pytest.fixture
def service() -> DictionarySageMaker:
    """A job that trains for try 1."""
    made = DictionarySageMaker()
    made.put(NAME)
    made.marks[f"{ARN}{NAME}"] = {TAG_OWNER: "1"}
    return made


def stop(service: DictionarySageMaker) -> str | None:
    return DictionaryHook(service).stop(NAME, StopMark("timeout", 1), owner=1)


@pytest.mark.parametrize(
    "failure", [error("AccessDeniedException", "", "StopTrainingJob"), EndpointConnectionError(endpoint_url="x")]
)
def test_the_mark_of_a_stop_that_failed_is_withdrawn(
    service: DictionarySageMaker, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    def failing(**_: Any) -> None:
        raise failure

    monkeypatch.setattr(service, "stop_training_job", failing)
    with pytest.raises(type(failure)):
        stop(service)
    mark = StopMark.parse(service.tags_of(NAME)[TAG_STOP])
    assert mark is not None
    assert mark.withdrawn


@pytest.mark.parametrize("looks", [0, 1])
def test_a_stop_that_came_all_the_same_keeps_its_mark(
    service: DictionarySageMaker, monkeypatch: pytest.MonkeyPatch, looks: int
) -> None:
    """Its answer was lost; the job stops at once, or only after one more look."""
    describe, left = service.describe_training_job, [looks]

    def cut(TrainingJobName: str) -> None:
        def later(TrainingJobName: str) -> dict[str, Any]:
            if not left[0] and service.jobs[NAME]["TrainingJobStatus"] == "InProgress":
                service.put(NAME, "Stopping", "Stopping")
            left[0] -= 1
            return describe(TrainingJobName)

        monkeypatch.setattr(service, "describe_training_job", later)
        raise EndpointConnectionError(endpoint_url="x")

    monkeypatch.setattr(service, "stop_training_job", cut)
    assert stop(service) is None
    assert service.tags_of(NAME)[TAG_STOP] == "timeout 1"


def test_the_error_of_the_stop_is_told_where_nothing_more_can_be_seen(service: DictionarySageMaker) -> None:
    real = service.stop_training_job

    def failing(TrainingJobName: str) -> None:
        service.denied = {"StopTrainingJob", "DescribeTrainingJob"}
        real(TrainingJobName)

    service.stop_training_job = failing  # type: ignore[method-assign]
    with pytest.raises(ClientError, match="StopTrainingJob"):
        stop(service)
