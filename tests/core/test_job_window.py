"""Since when a run's jobs can have been created: what a clear does not change, and no job comes before."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from airflow_spot.core.job_window import LONGEST_LIFE, live_since, run_since
from airflow_spot.core.spot_rules import MAX_RUNTIME_LIMIT, MAX_WAIT_LIMIT

NOW = datetime(2026, 11, 1, tzinfo=timezone.utc)
DAY = timedelta(days=1)


def test_no_job_lives_longer_than_is_looked_back() -> None:
    """Waiting, running, and the two days that SageMaker gives a job to stop and upload."""
    longest = max(MAX_WAIT_LIMIT, 56 * 86_400 + MAX_RUNTIME_LIMIT) + 2 * 86_400
    assert timedelta(seconds=longest) < LONGEST_LIFE
    assert live_since(NOW) == NOW - LONGEST_LIFE


@pytest.mark.parametrize(
    "run_id",
    [
        "scheduled__2026-10-20T00:00:00+00:00",
        "manual__2026-10-20T00:00:00.123456+00:00",
        "manual__2026-10-20T00:00:00Z",
        "asset_triggered__2026-10-20T02:00:00+02:00_x7Yz",
    ],
)
def test_an_id_of_airflows_own_holds_the_moment(run_id: str) -> None:
    began = datetime(2026, 10, 20, tzinfo=timezone.utc)
    assert began - 2 * DAY < run_since(run_id, began, NOW) < began
    # A DAG run that is made again under that id may have begun later: its jobs are the earlier one's as well.
    assert run_since(run_id, NOW, NOW) < began
    # And a schedule's may be told to begin before the moment in its id.
    assert run_since(run_id, began - 3 * DAY, NOW) < began - 3 * DAY


@pytest.mark.parametrize(
    "run_id", ["retrain-42", "manual__2027-01-01T00:00:00+00:00", "manual__2026-13-41T00:00:00+00:00", "manual__once"]
)
def test_an_id_that_somebody_chose_hides_no_job_that_may_be_live(run_id: str) -> None:
    """The DAG run may have been deleted and made again while the job of the earlier one trains."""
    assert run_since(run_id, NOW - DAY, NOW) < live_since(NOW)
    assert run_since(run_id, NOW - 400 * DAY, NOW) < NOW - 400 * DAY


def test_where_nothing_says_nothing_is_left_out() -> None:
    assert run_since("scheduled__2026-10-20T00:00:00+00:00", None, NOW) is None
