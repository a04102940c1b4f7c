"""A DAG whose training task has a script with a fault."""

from __future__ import annotations

from airflow.sdk import DAG

from airflow_spot.operators.training import SageMakerSpotTrainingOperator

CONFIG = {
    "RoleArn": "{{ var.value.role }}",
    "AlgorithmSpecification": {"TrainingImage": "image:{{ params.tag }}", "TrainingInputMode": "File"},
    "HyperParameters": {"epochs": "{{ params.epochs }}", "run": "{{ ds_nodash }}"},
    "OutputDataConfig": {"S3OutputPath": "s3://{{ var.value.bucket }}/output"},
    "ResourceConfig": {"InstanceType": "ml.g5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 50},
}

with DAG("training", schedule=None, params={"epochs": 25, "tag": "1"}) as dag:
    SageMakerSpotTrainingOperator(
        task_id="train", config=CONFIG, entry_point="first_resume.py", source_dir="../scripts", max_run="1h"
    )
    SageMakerSpotTrainingOperator(
        task_id="from_xcom",
        config={**CONFIG, "HyperParameters": {"rate": "{{ ti.xcom_pull('tune')['rate'] }}"}},
        entry_point="sound.py",
        source_dir="../scripts",
    )
    SageMakerSpotTrainingOperator.partial(task_id="mapped", entry_point="sound.py", source_dir="../scripts").expand(
        config=[{**CONFIG, "HyperParameters": {"epochs": "3"}}, CONFIG]
    )

with DAG("another", schedule=None, params={"epochs": 25, "tag": "1"}) as another:
    SageMakerSpotTrainingOperator(
        task_id="train", config=CONFIG, entry_point="sound.py", source_dir="s3://bucket/sourcedir.tar.gz"
    )
