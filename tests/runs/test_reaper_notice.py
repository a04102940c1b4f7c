"""A run says that no reaper runs, and a reaper leaves word that it does."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta, timezone

import pytest

from airflow_spot.runs.reaper_notice import VARIABLE, is_overdue, note_run, warn_without_reaper

NOW = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
LOG = logging.getLogger("task")


@pytest.mark.parametrize(
    ("value", "overdue"),
    [
        (None, True),
        ("", True),
        ("yesterday", True),
        ("2026-02-28T11:59:59+00:00", True),
        ("2026-02-28T12:00:01+00:00", False),
        ("2026-03-01T11:00:00", False),
        ("2026-03-01T13:00:00+01:00", False),
        ("2026-03-01T12:05:00+00:00", False),  # the reaper's clock is ahead
    ],
)
def test_a_reaper_that_has_not_run_for_a_day_is_none(value: str | None, overdue: bool) -> None:
    assert is_overdue(value, NOW) is overdue


def test_what_a_reaper_notes_a_run_reads(caplog: pytest.LogCaptureFixture) -> None:
    variables: dict[str, str] = {}
    warn_without_reaper(NOW, LOG, variables.get)
    assert "No reaper has run here for a day" in caplog.text
    caplog.clear()
    note_run(NOW, LOG, lambda key, value, _: variables.update({key: value}))
    assert list(variables) == [VARIABLE]
    warn_without_reaper(NOW + timedelta(hours=23), LOG, variables.get)
    assert caplog.text == ""


def test_where_variables_cannot_be_had_nothing_fails_and_no_run_complains(caplog: pytest.LogCaptureFixture) -> None:
    def refused(*_: str) -> None:
        raise PermissionError("no Variables here")

    warn_without_reaper(NOW, LOG, refused)
    assert caplog.text == ""
    note_run(NOW, LOG, refused)  # raises nothing


def test_the_reapers_dag_is_found_in_a_file_of_one_line() -> None:
    namespace: dict[str, object] = {}
    exec("from airflow_spot.reaper_dag import dag", namespace)
    dag = namespace["dag"]
    assert getattr(dag, "task_ids", None) == ["reap"]
    assert dag.is_paused_upon_creation is False  # type: ignore[attr-defined]
