"""When a DAG run could begin, as each version of Airflow tells it; each entry says when it can go."""

from __future__ import annotations

import os
from datetime import datetime
from typing import Any

from airflow.configuration import conf


def not_before(dag_run: Any) -> datetime | None:
    """
    Return a moment before which no task of a DAG run ran, whether it was cleared since or not; None where nothing says.

    Not ``start_date`` or ``queued_at``, which a clear sets again.

    :param dag_run: of a task's context.
    """
    after = getattr(dag_run, "run_after", None)
    if dag_run is not None and after is None and not _may_be_early(dag_run):
        # Airflow 2, goes with 2.11: a schedule's run begins after its logical date, which is any other one's making.
        after = getattr(dag_run, "logical_date", None)
    return after if isinstance(after, datetime) and after.tzinfo is not None else None


def began(dag_run: Any, now: datetime) -> datetime | None:
    """
    Return when a DAG run began; ``now`` where a person runs it, or a task of it, by hand; None where nothing says.

    ``airflow dags test D DATE`` and ``dag.test()`` make the DAG run of a date again each time, and give it that date as
    its beginning, on every version. ``airflow tasks test`` runs a task of a DAG run that may be over.

    :param dag_run: of a task's context.
    """
    if os.environ.get("AIRFLOW_TEST_MODE") == "True":
        return now
    start = getattr(dag_run, "start_date", None)
    # A scheduler begins a DAG run some moments after its logical date, never at it.
    return now if start is not None and start == getattr(dag_run, "logical_date", None) else start


def _may_be_early(dag_run: Any) -> bool:
    """Return whether a DAG run of Airflow 2 may have run before its logical date."""
    is_backfill = str(getattr(dag_run, "run_type", "")).rpartition(".")[2].lower().startswith("backfill")
    return is_backfill or conf.getboolean("scheduler", "allow_trigger_in_future", fallback=False)
