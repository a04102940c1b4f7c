"""When a task gives up."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from airflow_spot.runs.timeouts import try_deadline

NOW = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)
STARTED = NOW - timedelta(minutes=5)


@pytest.mark.parametrize(
    ("limits", "minutes"),
    [
        ({}, None),
        ({"max_ingestion_time": 600}, 10),
        ({"execution_timeout": timedelta(minutes=20), "deferrable": True}, 20),
        ({"execution_timeout": timedelta(minutes=20), "deferrable": True, "airflow_counts": True}, 19),
        ({"execution_timeout": timedelta(minutes=2), "deferrable": True, "airflow_counts": True}, 1.5),
        # A worker's is an exception there.
        ({"execution_timeout": timedelta(minutes=20)}, None),
        ({"dagrun_timeout": timedelta(hours=1), "run_started": STARTED}, 54),
        ({"dagrun_timeout": timedelta(minutes=8), "run_started": STARTED}, 2),
        ({"dagrun_timeout": timedelta(minutes=2), "run_started": STARTED}, -3.5),
        ({"dagrun_timeout": timedelta(hours=1)}, None),
        ({"max_ingestion_time": 3600, "dagrun_timeout": timedelta(minutes=30), "run_started": STARTED}, 24),
    ],
)
def test_the_first_limit_counts(limits: dict[str, Any], minutes: float | None) -> None:
    expected = None if minutes is None else NOW + timedelta(minutes=minutes)
    assert try_deadline(NOW, **limits) == expected
