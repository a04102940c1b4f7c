"""Old checkpoints are deleted for a minute at most: the result waits meanwhile."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import datetime, timezone
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_spot.core.identity import checkpoint_prefix
from airflow_spot.core.retention import CheckpointFolder
from airflow_spot.runs import retention
from tests.core.cases import RUN


def test_what_takes_longer_is_left_to_the_next_success(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    clock = iter([0.0, 10.0, 30.0, 61.0])
    deleted: list[int] = []

    def sweep(*_: Any) -> Iterator[CheckpointFolder]:
        for number in range(9):
            deleted.append(number)
            yield CheckpointFolder(f"s3://b/{number}", datetime(2026, 1, 1, tzinfo=timezone.utc), 1, 1)

    monkeypatch.setattr("airflow_spot.runs.retention.sweep", sweep)
    monkeypatch.setattr(retention, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    hook: Any = SimpleNamespace(conn=None, s3_hook=SimpleNamespace(get_conn=lambda: None))
    plan: Any = SimpleNamespace(run=RUN)
    job = {"CheckpointConfig": {"S3Uri": checkpoint_prefix("s3://b/c", RUN, 1)}}
    retention.apply_retention(hook, plan, job, 60, logging.getLogger("task"))
    assert deleted == [0, 1, 2]
    assert "after the task's next success" in caplog.text
