"""When a task's time is up: its own limits, and Airflow's where Airflow does not see to the job itself."""

from __future__ import annotations

from datetime import datetime, timedelta

#: How long before a timeout of Airflow's a task gives up, and at most which part of it: the scheduler then ends it
#: without a word, job and all, and a deferred task needs a worker before that to stop its job.
LEAD = timedelta(seconds=60)
LEAD_SHARE = 0.25


def try_deadline(
    now: datetime,
    *,
    max_ingestion_time: int | None = None,
    execution_timeout: timedelta | None = None,
    deferrable: bool = False,
    airflow_counts: bool = False,
    run_started: datetime | None = None,
    dagrun_timeout: timedelta | None = None,
) -> datetime | None:
    """
    Return when a try that begins now gives up; None for never.

    :param max_ingestion_time: seconds from now.
    :param execution_timeout: counts here for deferrable tasks only. A worker's timeout is an exception there.
    :param airflow_counts: whether Airflow counts the time in the triggerer too, and ends the task without a word.
    :param run_started: when the DAG run began, which ``dagrun_timeout`` counts from.
    """
    ends = []
    if max_ingestion_time is not None:
        ends.append(now + timedelta(seconds=max_ingestion_time))
    if execution_timeout is not None and deferrable:
        ends.append(now + execution_timeout - (_lead(execution_timeout) if airflow_counts else timedelta()))
    if dagrun_timeout is not None and run_started is not None:
        ends.append(run_started + dagrun_timeout - _lead(dagrun_timeout))
    return min(ends) if ends else None


def _lead(timeout: timedelta) -> timedelta:
    return min(LEAD, timeout * LEAD_SHARE)
