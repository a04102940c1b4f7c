"""
A fleet with a past, for its picture: 640 made-up trainings of 90 days beside those that there are.

Run in the environment of the Airflow whose database it is: ``python -m tests.browser.history``.
"""

from __future__ import annotations

import time
from datetime import datetime, timezone

from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance

from airflow_spot.render.ledger_format import SUMMARY_KEY
from tests.render.examples import fleet_rows
from tests.ui.rows import Database, insert_many, task_id_of, xcom_model

RUNS = 640
_FIRST_ID = 100_000


def write() -> None:
    """Write them into this Airflow's database."""
    rows = fleet_rows(RUNS, time.time(), live=0)
    database = Database()
    for row in {row.dag_id: row for row in rows}.values():
        database.dag(row.dag_id, owners=", ".join(row.owners), tags=row.tags)
    runs, tasks, xcoms = [], [], []
    for number, row in enumerate(rows):
        at = datetime.fromtimestamp(row.written, timezone.utc)
        run_id = f"{row.run_id}_{number}"
        ids = {"dag_id": row.dag_id, "run_id": run_id}
        runs.append({"id": _FIRST_ID + number, **ids, "at": at})
        tasks.append({**ids, "task_id": row.task_id, "state": row.state, "id": task_id_of(TaskInstance)})
        told = {"key": SUMMARY_KEY, "value": row.summary, "timestamp": at}
        xcoms.append({"dag_run_id": _FIRST_ID + number, **ids, "task_id": row.task_id, **told})
    insert_many(DagRun, runs)
    insert_many(TaskInstance, tasks)
    insert_many(xcom_model(), xcoms)


if __name__ == "__main__":
    write()
