"""The benchmark of calls counts, and says what it counted."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from airflow_spot.core.identity import JobName
from airflow_spot.core.job_window import LONGEST_LIFE
from bench import calls, calls_report

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_what_is_old_costs_nothing_and_the_runs_own_past_a_look_each() -> None:
    found = [calls.measure(old, 0, attempts, ROOT)["calls"] for old, attempts in ((0, 1), (300, 1), (0, 20))]
    assert found[0] == found[1]
    assert set(found[0]) == set(calls_report.ACTS)
    assert found[2]["resume"] == found[0]["resume"]
    described = [each["success"]["DescribeTrainingJob"] for each in found]
    assert described[2] - described[0] == 19


def test_the_past_is_as_old_as_it_is_said_to_be() -> None:
    now = time.time()
    run = calls.run_of("measured", datetime.now(timezone.utc))
    lines = list(calls.journal(3, 2, 4, run, now))
    made = {line["created"][1]: line["creation_time"] for line in lines if "created" in line}
    ages = [now - began for name, began in made.items() if name.startswith("old-")]
    assert len(made) == 9 and len(ages) == 5
    assert all(JobName.parse(name) for name in made)
    assert [age > LONGEST_LIFE.total_seconds() for age in ages] == [True] * 3 + [False] * 2
    ended = [line["state"] for line in lines if "changed" in line]
    assert len(ended) == 9 and {state["status"] for state in ended} == {"Completed", "Stopped"}
    assert sum("tagged" in line for line in lines) == 4


def figures(lists: int) -> dict[str, Any]:
    act = {"ListTrainingJobs": lists, "DescribeTrainingJob": 5}
    return {"calls": dict.fromkeys(calls_report.ACTS, act), "state_bytes": 1_234}


RESULTS = [
    {"old": 0, "recent": 0, "attempts": 300, "late": False, "now": figures(1), "before": figures(30)},
    {"old": 20_000, "recent": 0, "attempts": 1, "late": False, "now": figures(3), "before": figures(8_005)},
    {"old": 20_000, "recent": 0, "attempts": 1, "late": True, "now": figures(6)},
]


def test_the_table() -> None:
    lines = calls_report.table(RESULTS)
    assert len(lines) == 7
    assert lines[1].split()[:5] == ["none", "300", "before", "35", "(30)"]
    assert lines[3].split()[:6] == ["20,000", "old", "1", "before", "8,010", "(8,005)"]
    assert lines[5].split()[:6] == ["20,000", "old,", "filters", "late", "1", "now"]


def test_the_page_has_a_row_for_each_that_was_measured() -> None:
    text = calls_report.markdown(RESULTS, "About.")
    rows = [line for line in text.splitlines() if line.startswith("| 20,000 old")]
    assert rows[0].startswith("| 20,000 old | 1 | before | 8,010 |")
    assert rows[2].startswith("| 20,000 old, filters late | 1 | now | 11 |")
    assert "before, beside 20,000 old, 4,002.5 s; now, beside 20,000 old, filters late, 3.0 s" in text
    assert text.endswith("A deferral carries at most 1.2 kB. About.")
