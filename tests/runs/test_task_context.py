"""What a task's context says of its run, on Airflow 3 and 2."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_spot.compat import dag_runs
from airflow_spot.runs.task_context import identity_of, try_of
from tests.support.task import TaskInstance

BEGAN = datetime(2026, 1, 1, tzinfo=timezone.utc)


def since(**dag_run: Any) -> datetime | None:
    context: Any = {"ti": TaskInstance("train"), **({"dag_run": SimpleNamespace(**dag_run)} if dag_run else {})}
    return identity_of(context, "ns").since


@pytest.mark.parametrize("field", ["run_after", "logical_date"], ids=["Airflow 3", "Airflow 2"])
def test_no_job_of_a_run_is_older_than_the_moment_at_which_it_could_begin(field: str) -> None:
    cleared = {"start_date": BEGAN + timedelta(days=90), "queued_at": BEGAN + timedelta(days=90)}
    found = since(**{field: BEGAN}, **cleared)
    assert found is not None
    assert BEGAN - timedelta(days=2) < found < BEGAN
    # It is no part of who the run is.
    context: Any = {"ti": TaskInstance("train")}
    unknown, known = (
        identity_of(context, "ns"),
        identity_of({**context, "dag_run": SimpleNamespace(run_after=BEGAN)}, "ns"),
    )
    assert unknown.since is None and known.since is not None
    assert (unknown, unknown.key) == (known, known.key)


@pytest.mark.parametrize(
    "dag_run",
    [
        {},
        {"start_date": BEGAN},
        {"logical_date": None},
        {"run_after": "2026-01-01"},
        {"run_after": BEGAN.replace(tzinfo=None)},
        {"logical_date": BEGAN, "run_type": "backfill"},
        {"logical_date": BEGAN, "run_type": "DagRunType.BACKFILL_JOB"},
    ],
)
def test_what_is_not_to_be_trusted_bounds_nothing(dag_run: dict[str, Any]) -> None:
    assert since(**dag_run) is None


def test_a_run_of_airflow_2_that_may_begin_before_its_date_is_not_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dag_runs.conf, "getboolean", lambda *names, **_: names[1] == "allow_trigger_in_future")
    assert since(logical_date=BEGAN) is None
    assert since(run_after=BEGAN) is not None


def started(**dag_run: Any) -> datetime | None:
    context: Any = {"ti": TaskInstance("train"), "dag_run": SimpleNamespace(**dag_run)}
    return try_of(context).run_started


def test_a_dag_run_of_dags_test_begins_when_it_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has its logical date as its beginning, also when the same date is run again."""
    before = datetime.now(timezone.utc)
    moment = started(start_date=BEGAN, logical_date=BEGAN)
    assert moment is not None and moment >= before
    later = BEGAN + timedelta(milliseconds=1)
    assert started(start_date=later, logical_date=BEGAN) == later
    assert started(start_date=BEGAN, logical_date=None) == BEGAN
    assert started() is None
    monkeypatch.setenv("AIRFLOW_TEST_MODE", "True")  # airflow tasks test, of a DAG run that may be over
    moment = started(start_date=later, logical_date=BEGAN)
    assert moment is not None and moment >= before
