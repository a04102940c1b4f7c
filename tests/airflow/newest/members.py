"""DAGs for the newest Airflow alone: many mapped tasks on a small quota, and the retry policy of 3.3."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, TaskGroup

from airflow_spot.operators.training import SageMakerSpotTrainingOperator
from airflow_spot.retry import SpotRetryPolicy

SCRIPTS = Path(__file__).parent.parent.parent / "scripts"
MEMBERS = int(os.environ.get("AIRFLOW_SPOT_TEST_MEMBERS", "8"))
#: Each member that has trained waits for this file.
RELEASE = {"release": os.environ["AIRFLOW_SPOT_TEST_RELEASE"]} if "AIRFLOW_SPOT_TEST_RELEASE" in os.environ else {}
#: Has a quota in the test.
TYPE = "ml.p3.2xlarge"


def config(member: int, **hyperparameters: str) -> dict[str, Any]:
    """A stock request that trains ``steps.py``."""
    return {
        "TrainingJobName": "member",
        "AlgorithmSpecification": {"TrainingImage": "image", "TrainingInputMode": "File"},
        "RoleArn": "arn:aws:iam::123456789012:role/airflow-spot",
        "OutputDataConfig": {"S3OutputPath": "s3://airflow-tests/output"},
        "ResourceConfig": {"InstanceType": TYPE, "InstanceCount": 1, "VolumeSizeInGB": 10},
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
        "HyperParameters": {"steps": "200", "seconds": "0.1", "member": str(member), **hyperparameters},
    }


COMMON: dict[str, Any] = {"source_dir": str(SCRIPTS), "check_interval": 1, "deferrable": True}

# Names as they come: with groups, long, and not of ASCII alone.
with (
    DAG("members", schedule=None, catchup=False, dag_display_name="Größenordnungen") as members,
    TaskGroup("sweep_" * 20),
):
    SageMakerSpotTrainingOperator.partial(task_id="train", entry_point="steps.py", **COMMON).expand(
        config=[config(member, **RELEASE) for member in range(MEMBERS)]
    )

with DAG("policy", schedule=None, catchup=False) as policy:
    # By the task's own retries it would have four tries.
    SageMakerSpotTrainingOperator(
        task_id="train",
        entry_point="steps.py",
        config=config(0, **{"fail-at": "1", "seconds": "10"}),  # it outlasts the news of its deferral
        retries=3,
        retry_delay=1,
        retry_policy=SpotRetryPolicy(script_error_retries=1),
        **COMMON,
    )
