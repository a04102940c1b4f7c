"""
The reaper as a DAG. A file in the DAGs folder with this line is all that it takes::

    from airflow_spot.reaper_dag import dag  # the reaper: stops training jobs whose Airflow task is over

For another connection, region or schedule, write a DAG with
:class:`~airflow_spot.operators.reaper.SageMakerSpotReaperOperator`.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from airflow_spot.operators.reaper import SageMakerSpotReaperOperator

if TYPE_CHECKING:
    from airflow.sdk import DAG
else:
    try:
        from airflow.sdk import DAG
    except ImportError:  # Airflow 2
        from airflow import DAG

__all__ = ["dag"]

with DAG(
    dag_id="airflow_spot_reaper",
    schedule=timedelta(minutes=30),
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    max_active_runs=1,
    # Whoever writes the file wants it.
    is_paused_upon_creation=False,
    doc_md="Every half hour: stop training jobs whose Airflow task is over. The checkpoints stay.",
    tags=["airflow_spot"],
) as dag:
    SageMakerSpotReaperOperator(task_id="reap")
