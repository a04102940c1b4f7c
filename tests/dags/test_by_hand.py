"""`airflow dags test` and `airflow tasks test`, a second time: what Airflow itself makes of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_spot.local import LocalSageMaker
from tests.support.requests import ROLE, SCRIPTS

DAG = f"""
from datetime import datetime

from airflow_spot.operators.training import SageMakerSpotTrainingOperator
try:
    from airflow.sdk import DAG
except ImportError:
    from airflow import DAG

with DAG("by_hand", schedule=None, start_date=datetime(2026, 1, 1)) as dag:
    SageMakerSpotTrainingOperator(
        task_id="train",
        config={{
            "RoleArn": {ROLE!r},
            "AlgorithmSpecification": {{"TrainingImage": "image", "TrainingInputMode": "File"}},
            "OutputDataConfig": {{"S3OutputPath": "s3://bucket/output"}},
            "ResourceConfig": {{"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10}},
            "HyperParameters": {{"steps": "2", "seconds": "0.05"}},
        }},
        entry_point="steps.py",
        source_dir={str(SCRIPTS)!r},
        max_run="10m",
        check_interval=0.5,
        deferrable=False,
    )
"""


@pytest.mark.slow
def test_a_dag_and_a_task_that_are_tested_again_train_again(tmp_path: Path) -> None:
    (tmp_path / "dags").mkdir()
    (tmp_path / "dags" / "by_hand.py").write_text(DAG)
    with LocalSageMaker() as sm:
        sm.client("s3").create_bucket(Bucket="bucket")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "AWS_"))}
        environ = {
            **inherited,
            **sm.environ,
            "AIRFLOW_HOME": str(tmp_path),
            "AIRFLOW__CORE__DAGS_FOLDER": str(tmp_path / "dags"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__AIRFLOW_SPOT__NAMESPACE": "by-hand",
            "AIRFLOW_CONN_AWS_DEFAULT": "aws://",
        }

        def airflow(*words: str) -> str:
            command = [sys.executable, "-m", "airflow", *words]
            done = subprocess.run(
                command, env=environ, cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False
            )
            assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
            return done.stdout + done.stderr

        def jobs() -> list[str]:
            found = sm.client("sagemaker").list_training_jobs(SortBy="CreationTime", SortOrder="Ascending")
            return [job["TrainingJobName"] for job in found["TrainingJobSummaries"]]

        airflow("db", "migrate")
        said = airflow("dags", "test", "by_hand", "2026-01-01")
        assert "Other tasks take its name as {{ ti.xcom_pull(task_ids='train')" in said
        airflow("dags", "test", "by_hand", "2026-01-01")
        first, second = jobs()
        # Airflow 2 gives the DAG run its id again, Airflow 3 another one.
        assert first.endswith("-1-1") and (second.endswith("-1-1") or second == first.replace("-1-1", "-2-1"))
        airflow("tasks", "test", "by_hand", "train", "2026-01-01")
        run, generation, attempt = second.rsplit("-", 2)
        assert jobs()[2] == f"{run}-{int(generation) + 1}-{attempt}"
