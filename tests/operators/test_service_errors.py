"""SageMaker's own errors: longer pauses each time, in the triggerer; the second alike says how large the folder is."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_spot.errors import SageMakerServiceError
from tests.operators.scene import deferred, operator, resume, ti
from tests.support.sagemaker import DictionarySageMaker, error

REASON = "InternalServerError: We encountered an internal error. Please try again."


class Folder:
    """A folder in S3, and how often it was looked at."""

    def __init__(self, *sizes: int, refuses: Exception | None = None) -> None:
        self.sizes, self.refuses = sizes, refuses
        self.lists: list[str] = []

    def get_paginator(self, operation: str) -> Any:
        assert operation == "list_objects_v2"
        return self

    def paginate(self, Bucket: str, Prefix: str) -> Any:
        self.lists.append(f"s3://{Bucket}/{Prefix}")
        if self.refuses is not None:
            raise self.refuses
        now = datetime.now(timezone.utc)
        for start in range(0, max(1, len(self.sizes)), 1000):
            page = self.sizes[start : start + 1000]
            items = [{"Key": f"{Prefix}{i}", "Size": size, "LastModified": now} for i, size in enumerate(page)]
            yield {"Contents": items, "IsTruncated": start + 1000 < len(self.sizes)}


def made(service: DictionarySageMaker, folder: Folder, **more: Any) -> Any:
    task = operator(service, **more)
    task.hook.s3_hook = SimpleNamespace(get_conn=lambda: folder)  # type: ignore[assignment]
    return task


def fails(service: DictionarySageMaker, name: str, ago: float = 0.0) -> None:
    """End a job by SageMaker's own error, some seconds ago."""
    ended = datetime.now(timezone.utc) - timedelta(seconds=ago)
    service.put(name, "Failed", "Failed", FailureReason=REASON, TrainingEndTime=ended)


def after(service: DictionarySageMaker, task: Any, trigger: Any, this: Any = None) -> Any:
    """Go on in a worker after the trigger fired; the next trigger."""
    with pytest.raises(TaskDeferred) as wait:
        resume(task, this or ti(), trigger, "terminal")
    return wait.value.trigger


@pytest.mark.parametrize("more", [{}, {"use_checkpoints": False}])
def test_the_pauses_are_waited_for_in_the_triggerer_and_the_second_says_how_large_the_folder_is(
    service: DictionarySageMaker, said: list[str], more: dict[str, Any]
) -> None:
    folder = Folder(200_000_000_000, 169_000_000_000)
    trigger = deferred(service, ti(), **more)
    (job,) = service.jobs.values()
    fails(service, trigger.job_name)
    pause = after(service, made(service, folder, **more), trigger)
    assert pause.jobs == []
    assert 25 < pause.until - datetime.now(timezone.utc).timestamp() <= 60
    assert folder.lists == []  # one is one: SageMaker recovers
    assert not any("in a row" in line for line in said)

    fails(service, trigger.job_name, ago=61)  # the pause is over
    second = after(service, made(service, folder, **more), pause)
    assert second.job_name.endswith("-1-2")
    fails(service, second.job_name)
    longer = after(service, made(service, folder, **more), second)
    assert longer.jobs == []
    assert 55 < longer.until - datetime.now(timezone.utc).timestamp() <= 120
    (line,) = [line for line in said if "in a row" in line]
    if more:
        assert "SageMaker keeps no checkpoints of it" in line
        assert folder.lists == []
    else:
        uri = job["CheckpointConfig"]["S3Uri"]
        assert folder.lists == [f"{uri}/"]
        assert f"checkpoint folder {uri} has 2 files, 369.0 GB. " in line
        assert "docs/checkpoints.md" in line

    fails(service, second.job_name, ago=121)
    third = after(service, made(service, folder, **more), longer)
    assert third.job_name.endswith("-1-3")
    assert len([line for line in said if "in a row" in line]) == 1
    assert len(service.live()) == 1


def test_of_a_large_folder_a_few_lists_are_read(service: DictionarySageMaker, said: list[str]) -> None:
    folder = Folder(*[1_000_000_000] * 7_000)
    twice(service, folder)
    assert any("has more than 5,000 files, more than 5.0 TB. " in line for line in said)


@pytest.mark.parametrize(
    "refused", [error("AccessDenied", "no", "ListObjectsV2"), RuntimeError("the connection cannot be read")]
)
def test_a_folder_that_cannot_be_seen_is_said_and_fails_nothing(
    service: DictionarySageMaker, said: list[str], refused: Exception
) -> None:
    paused = twice(service, Folder(refuses=refused))
    assert paused.jobs == []
    (line,) = [line for line in said if "in a row" in line]
    why = "AccessDenied at ListObjectsV2" if "AccessDenied" in str(refused) else "RuntimeError"
    assert f"is unknown ({why})" in line


def twice(service: DictionarySageMaker, folder: Folder, **more: Any) -> Any:
    """Have SageMaker fail two jobs; the trigger of the pause after the second."""
    trigger = deferred(service, ti(), **more)
    fails(service, trigger.job_name, ago=61)
    second = after(service, made(service, folder, **more), trigger)
    fails(service, second.job_name)
    return after(service, made(service, folder, **more), second)


def test_the_error_that_ends_it_says_it_too(service: DictionarySageMaker) -> None:
    folder = Folder(7_000_000_000)
    trigger = deferred(service, ti(), max_attempts=2)
    fails(service, trigger.job_name, ago=61)
    second = after(service, made(service, folder, max_attempts=2), trigger)
    fails(service, second.job_name)
    with pytest.raises(SageMakerServiceError, match=r"has 1 file, 7\.0 GB\. Known causes: restoring") as raised:
        resume(made(service, folder, max_attempts=2), ti(), second, "terminal")
    assert "Checkpoints are kept in s3://" in str(raised.value)


def test_a_single_error_that_ends_it_looks_at_nothing(service: DictionarySageMaker) -> None:
    folder = Folder(7_000_000_000)
    trigger = deferred(service, ti(), max_attempts=1)
    fails(service, trigger.job_name, ago=61)
    with pytest.raises(SageMakerServiceError, match="max_attempts"):
        resume(made(service, folder, max_attempts=1), ti(), trigger, "terminal")
    assert folder.lists == []
