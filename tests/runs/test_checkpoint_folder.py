"""A generation keeps its checkpoints where its first job wrote them, whatever S3OutputPath renders to later."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_spot.core.identity import checkpoint_prefix
from tests.core.cases import RUN
from tests.operators.test_endings import deferred, operator, resume, ti
from tests.support.sagemaker import DictionarySageMaker

MOVED = "renders to"


@pytest.fixture
def service() -> DictionarySageMaker:
    return DictionarySageMaker()


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []

    class Log:
        def info(self, message: str, *args: Any) -> None:
            lines.append(message % args)

        warning = error = info

    monkeypatch.setattr("airflow_spot.operators.training.SageMakerSpotTrainingOperator.log", Log())
    return lines


def rendered(stamp: str) -> dict[str, Any]:
    return {"config": {"OutputDataConfig": {"S3OutputPath": f"s3://bucket/{stamp}"}}}


def folders(service: DictionarySageMaker) -> list[str]:
    return [job["CheckpointConfig"]["S3Uri"] for job in service.jobs.values()]


def test_after_a_deferral_the_next_attempt_resumes_from_the_same_folder(
    service: DictionarySageMaker, said: list[str]
) -> None:
    trigger = deferred(service, ti(), **rendered("0900"))
    service.put(trigger.job_name, "Stopped", "MaxWaitTimeExceeded")
    with pytest.raises(TaskDeferred):
        resume(operator(service, **rendered("0930")), ti(), trigger, "terminal")
    first, second = folders(service)
    assert first == second
    assert "/0900/" in first
    (warning,) = [line for line in said if MOVED in line]
    assert "/0930/" in warning and first in warning


def test_a_retry_resumes_from_the_same_folder_and_warns_once(service: DictionarySageMaker, said: list[str]) -> None:
    trigger = deferred(service, ti(1, 3), **rendered("0900"))
    service.put(trigger.job_name, "Stopped", "MaxWaitTimeExceeded")
    again = deferred(service, ti(2, 3), **rendered("0930"))
    service.put(again.job_name, "Stopped", "MaxWaitTimeExceeded")
    with pytest.raises(TaskDeferred):
        resume(operator(service, **rendered("0945")), ti(2, 3), again, "terminal")
    assert len(set(folders(service))) == 1
    assert len(folders(service)) == 3
    assert sum(MOVED in line for line in said) == 2  # once in each worker


def test_a_clear_after_an_error_resumes_and_one_after_a_success_moves(service: DictionarySageMaker) -> None:
    trigger = deferred(service, ti(1, 0), **rendered("0900"))
    service.put(trigger.job_name, "Failed", "Failed", FailureReason="AlgorithmError: no")
    cleared = deferred(service, ti(2, 2), **rendered("0930"))
    assert len(set(folders(service))) == 1
    service.put(cleared.job_name, "Completed", "Completed")
    resume(operator(service, **rendered("0945")), ti(2, 2), cleared, "terminal")
    deferred(service, ti(3, 5), **rendered("1000"))
    assert "/1000/" in folders(service)[-1]  # a new generation begins where the configuration says


def test_the_result_names_the_folder_that_was_used(service: DictionarySageMaker) -> None:
    trigger = deferred(service, ti(), **rendered("0900"))
    service.put(trigger.job_name, "Completed", "Completed")
    result = resume(operator(service, **rendered("0930")), ti(), trigger, "terminal")
    assert result["Spot"]["checkpoint_s3_uri"] == folders(service)[0]


def test_a_folder_that_other_runs_may_share_is_told_from_ones_own() -> None:
    from tests.runs.test_conflicts import plan

    exact, own = plan(scope="exact"), plan()
    assert exact.is_shared(exact.checkpoint_s3_uri(1))
    assert not own.is_shared(own.checkpoint_s3_uri(1))
    assert not exact.is_shared(checkpoint_prefix("s3://bucket/before", RUN, 1))
