"""Six trainings at once, each of which continues until a file is there."""

from __future__ import annotations

from pathlib import Path

from airflow.sdk import DAG

from airflow_spot.operators.training import SageMakerSpotTrainingOperator

SCRIPTS = Path(__file__).parent.parent.parent / "scripts"
TASKS = [f"train_{number}" for number in range(6)]

with DAG("held", schedule=None, catchup=False, params={"release": ""}) as held:
    for task_id in TASKS:
        SageMakerSpotTrainingOperator(
            task_id=task_id,
            config={
                "TrainingJobName": "held",
                "AlgorithmSpecification": {"TrainingImage": "image", "TrainingInputMode": "File"},
                "RoleArn": "arn:aws:iam::123456789012:role/airflow-spot",
                "OutputDataConfig": {"S3OutputPath": "s3://airflow-tests/output"},
                "ResourceConfig": {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 10},
                "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
                "HyperParameters": {"steps": "2", "seconds": "0.1", "release": "{{ params.release }}"},
            },
            entry_point="steps.py",
            source_dir=str(SCRIPTS),
            check_interval=1,
            deferrable=True,
        )
