"""What a generation's first job finds in its checkpoint folder is said."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_spot.local import LocalSageMaker
from airflow_spot.runs.staging import InputStager
from tests.core.cases import RUN


class Hook(SimpleNamespace):
    """S3, and nothing to prepare."""

    def configure_s3_resources(self, config: Any) -> None:
        """No ``S3Operations``."""

    def check_training_config(self, config: Any) -> None:
        """No channels."""


def stage(s3: Any, folder: str, resume_from: str | None = None) -> None:
    hook: Any = Hook(s3_hook=SimpleNamespace(get_conn=lambda: s3), log=logging.getLogger("task"))
    plan: Any = SimpleNamespace(run=RUN, request={}, is_shared=lambda folder: False)
    InputStager(hook, plan, {}, None, resume_from).stage(folder, True)


@pytest.mark.parametrize("keys", [[], ["step-1"], ["step-1", "step-2"]])
def test_checkpoints_of_jobs_that_were_deleted_are_told_of(
    local: LocalSageMaker, bucket: str, caplog: pytest.LogCaptureFixture, keys: list[str]
) -> None:
    s3 = local.client("s3")
    folder = f"s3://{bucket}/ns/dag/task/{RUN.key}/g0001"
    for key in keys:
        s3.put_object(Bucket=bucket, Key=f"ns/dag/task/{RUN.key}/g0001/{key}", Body=b"x")
    s3.put_object(Bucket=bucket, Key=f"ns/dag/task/{RUN.key}/g00012/namesake", Body=b"x")
    stage(s3, folder)
    assert "the run's jobs were deleted" not in caplog.text  # a run that has had no job
    stage(s3, folder)
    assert (f"has {len(keys)} files" in caplog.text) == bool(keys)
    assert ("the run's jobs were deleted" in caplog.text) == bool(keys)


def test_what_was_seeded_before_a_crash_is_not(
    local: LocalSageMaker, bucket: str, caplog: pytest.LogCaptureFixture
) -> None:
    s3 = local.client("s3")
    for folder in ("seed", "ns/g0001"):
        s3.put_object(Bucket=bucket, Key=f"{folder}/step-1", Body=b"x")
    stage(s3, f"s3://{bucket}/ns/g0001", resume_from=f"s3://{bucket}/seed")
    assert "the run's jobs were deleted" not in caplog.text
