"""The benchmark of waiting measures, and says what it measured."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from bench import watch, watch_report


@pytest.mark.slow
def test_ours_is_measured() -> None:
    found = watch.in_real_time("ours", sys.executable, 20, 2.0, first=12.0)
    for name in ("cpu_seconds", "loop_lag_seconds", "shared_mb", "calls_per_hour"):
        assert found[name] > 0
    # Twenty small triggers may fit into memory that the process already had.
    assert found["kb_per_job"] < 500
    assert found["detection_seconds"]["missed"] == 0
    assert 0 < found["detection_seconds"]["p50"] <= found["detection_seconds"]["p99"]
    assert found["detection_seconds"]["p99"] <= found["detection_seconds"]["max"]
    assert found["calls"]["ListTrainingJobs"] > 0


def figures(calls: int, missed: int = 0) -> dict[str, Any]:
    return {
        "cpu_seconds": 1.25,
        "loop_lag_seconds": 0.5,
        "kb_per_job": 9.75,
        "shared_mb": 33.0,
        "detection_seconds": {"p50": 7.5, "p99": 15.5, "max": 15.5, "missed": missed},
        "calls": {},
        "calls_per_hour": calls,
    }


def test_the_table() -> None:
    lines = watch_report.table(
        [{"jobs": 1000, "stock": figures(240_000, 3), "ours": figures(2_240)}, {"jobs": 5000, "ours": figures(9)}]
    )
    assert len(lines) == 4
    assert lines[1].split()[:6] == ["1000", "stock", "240,000", "9.8", "1.2", "0.50"]
    assert lines[1].endswith("7.5, 15.5, 3 not at all")
    assert lines[2].split()[:3] == ["1000", "ours", "2,240"]
    assert lines[3].split()[:3] == ["5000", "ours", "9"]


def test_the_readme_has_a_row_for_each_that_was_measured() -> None:
    text = watch_report.markdown([{"jobs": 1000, "stock": figures(240_000, 3), "ours": figures(2_240)}], "About.")
    rows = [line for line in text.splitlines() if line.startswith("| 1,000")]
    assert rows[0] == "| 1,000 | `SageMakerTrigger` | 240,000 | 9.8 | 1.2 | 0.50 | 7.5, 15.5, 3 not at all |"
    assert rows[1].startswith("| 1,000 | `SageMakerSpotTrainingTrigger` | 2,240 |")
    assert text.endswith("once. About.")


def test_names_are_those_of_the_operator_and_each_is_one_jobs() -> None:
    from airflow_spot.core.identity import JobName

    names = [watch.name_of(number) for number in range(5_001)]
    assert len(set(names)) == 5_001
    assert all(JobName.parse(name) for name in names)
