"""Every half hour: stop training jobs whose Airflow task is over.

A task stops its own job when it ends or is ended. This is for what escapes all the same: a worker and a triggerer that
are lost at once, a database that was thrown away. The checkpoints stay, and a task that is cleared resumes from them.
With the param `stop` false it only says what it would stop. What `stop_on_kill=False` left to run is an orphan too.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from airflow_spot.operators.reaper import SageMakerSpotReaperOperator

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

with DAG(
    dag_id="spot_reaper",
    schedule=timedelta(minutes=30),
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    max_active_runs=1,
    # It stops jobs: somebody has to want it.
    is_paused_upon_creation=True,
    doc_md=__doc__,
    tags=["airflow_spot", "example"],
    params={"stop": True, "grace": "10m"},
) as dag:
    SageMakerSpotReaperOperator(task_id="reap", stop="{{ params.stop }}", grace="{{ params.grace }}")


if __name__ == "__main__":
    dag.test()
