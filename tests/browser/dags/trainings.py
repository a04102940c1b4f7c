"""The trainings that are looked at in a browser: see ``tests/browser/scenario.py`` for what becomes of each."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from airflow.sdk import DAG

from airflow_spot.operators.training import Rung, SageMakerSpotTrainingOperator

SCRIPTS = Path(__file__).parent.parent / "script"
HOME = Path(os.environ.get("AIRFLOW_HOME", ""))


def config(instance_type: str, **hyperparameters: object) -> dict[str, Any]:
    """A request with a secret in its hyperparameters, and one in its environment."""
    return {
        "TrainingJobName": "{{ dag.dag_id }}",
        "AlgorithmSpecification": {"TrainingImage": "image", "TrainingInputMode": "File"},
        "RoleArn": "arn:aws:iam::123456789012:role/airflow-spot",
        "OutputDataConfig": {"S3OutputPath": "s3://trainings/{{ dag.dag_id }}"},
        "ResourceConfig": {"InstanceType": instance_type, "InstanceCount": 1, "VolumeSizeInGB": 50},
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
        "Environment": {"HUB_TOKEN": os.environ.get("SECRET_OF_ENVIRONMENT", "")},
        "HyperParameters": {
            "token": os.environ.get("SECRET_OF_HYPERPARAMETERS", ""),
            **{name.replace("_", "-"): str(value) for name, value in hyperparameters.items()},
        },
    }


def held(dag_id: str) -> Path:
    """The file that ends a training of that DAG."""
    return HOME / f"{dag_id}.ends"


COMMON: dict[str, Any] = {
    "task_id": "train",
    "entry_point": "train.py",
    "source_dir": str(SCRIPTS),
    "aws_conn_id": "aws_trainings",
    "check_interval": 1,
    "retry_delay": 1,
    "deferrable": True,
    "priority_weight": 10,
}


def ladder(instance_type: str) -> list[Rung]:
    """Spot, then on-demand."""
    return [Rung(instance_type), Rung.on_demand([instance_type])]


for dag_id, owner, tags, parameters in (
    (
        "ranking_model",
        "ml-search",
        ["ranking", "nightly"],
        {
            "config": config("ml.g5.2xlarge", steps=60, steps_a_start=25, hold=held("ranking_model")),
            "ladder": ladder("ml.g5.2xlarge"),
        },
    ),
    ("churn_model", "ml-growth", ["nightly"], {"config": config("ml.m5.xlarge", steps=40, fail_at=18)}),
    (
        "speech_model",
        "ml-audio",
        ["speech"],
        {"config": config("ml.p3.2xlarge", steps=400, hold=held("speech_model")), "ladder": ladder("ml.p3.2xlarge")},
    ),
    ("demand_forecast", "ml-supply", ["nightly"], {"config": config("ml.m5.2xlarge", steps=15)}),
    (
        "image_labels",
        "ml-vision",
        ["vision"],
        {"config": config("ml.g4dn.xlarge", steps=400, hold=held("image_labels"))},
    ),
    (
        "fraud_scores",
        "ml-risk",
        ["risk"],
        {
            "config": config("ml.c5.2xlarge", steps=120, hold=held("fraud_scores")),
            "ladder": ladder("ml.c5.2xlarge"),
        },
    ),
):
    with DAG(dag_id, schedule=None, catchup=False, tags=tags, default_args={"owner": owner}) as dag:
        SageMakerSpotTrainingOperator(**{**COMMON, **parameters})
    globals()[dag_id] = dag

# Not deferrable, so that twenty tasks are twenty starts of a worker and not forty.
with DAG(
    "price_sweep", schedule=None, catchup=False, tags=["pricing"], default_args={"owner": "ml-pricing"}
) as price_sweep:
    SageMakerSpotTrainingOperator.partial(
        **{**COMMON, "deferrable": False, "max_active_tis_per_dag": 3, "priority_weight": 1}
    ).expand(
        config=[config("ml.m5.large", steps=5 + 3 * (index % 4), fail_at=9 if index == 7 else 0) for index in range(20)]
    )
