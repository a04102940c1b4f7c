"""A triggerer that cannot see the job is told apart from a job that is not there; the worker looks for a while."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from airflow_spot.runs.blind_triggerer import blind_triggerer
from airflow_spot.runs.state import RunOptions

JOB = "train-afspot-abcdefghij-1-1"
NOW = datetime(2026, 3, 1, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("status", "job_status", "why"),
    [
        ("terminal", "InProgress", None),
        ("timeout", "InProgress", None),
        ("not_found", None, None),
        ("not_found", "Completed", None),
        ("not_found", "InProgress", "different regions or accounts"),
        ("not_found", "Stopping", "different regions or accounts"),
        ("access_denied", "InProgress", "no permission to describe the job (not authorized)"),
    ],
)
def test_what_the_event_and_the_workers_look_mean(status: str, job_status: str | None, why: str | None) -> None:
    def find(name: str) -> dict[str, str] | None:
        assert name == JOB
        return None if job_status is None else {"TrainingJobStatus": job_status}

    said = blind_triggerer({"status": status, "job_name": JOB, "message": "not authorized"}, find)
    assert (said is None) == (why is None)
    assert why is None or why in (said or "")


def test_the_triggerer_is_asked_again_after_a_while() -> None:
    options = RunOptions(deferrable=True, poll_until=NOW + timedelta(minutes=30))
    assert not options.defers(NOW)
    assert options.defers(NOW + timedelta(minutes=30))
    assert RunOptions(deferrable=True).defers(NOW)
    assert not RunOptions(deferrable=False, poll_until=NOW).defers(NOW)
