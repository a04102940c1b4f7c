"""When a task's time is up: its own limits, and Airflow's where Airflow does not see to the job itself."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from airflow_spot.core.durations import seconds

#: How long before its DAG run's timeout a task gives up, and at most which part of it: the scheduler then ends it
#: without a word, job and all, and a deferred task needs a worker before that to stop its job.
LEAD = timedelta(seconds=60)
LEAD_SHARE = 0.25


def give_up_at(
    now: datetime,
    *,
    max_ingestion_time: Any = None,
    execution_timeout: timedelta | None = None,
    deferrable: bool = False,
    run_started: datetime | None = None,
    dagrun_timeout: timedelta | None = None,
) -> datetime | None:
    """
    Say when a try that begins now gives up; None for never.

    :param max_ingestion_time: a duration, from now.
    :param execution_timeout: counts here for deferrable tasks only: Airflow 3 does not count the time in the
        triggerer, and where Airflow does end the task, it ends no job. A worker's timeout is an exception there.
    :param run_started: when the DAG run began, which ``dagrun_timeout`` counts from.
    """
    ends = []
    if max_ingestion_time is not None:
        ends.append(now + timedelta(seconds=seconds("max_ingestion_time", max_ingestion_time)))
    if execution_timeout is not None and deferrable:
        ends.append(now + execution_timeout)
    if dagrun_timeout is not None and run_started is not None:
        ends.append(run_started + dagrun_timeout - min(LEAD, dagrun_timeout * LEAD_SHARE))
    return min(ends) if ends else None
