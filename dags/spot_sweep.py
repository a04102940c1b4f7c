"""Twelve trainings on spot, as many at once as the quota lets in, and the best of them.

One mapped task a combination of hyperparameters, each a run of its own: with its own checkpoints, retries and savings,
and cleared by itself. No pool is needed: what a quota refuses waits in the triggerer, and continues when one ends. It
trains on what `spot_training_pipeline` has prepared, and runs against AWS with the same params changed.

Try it with a quota of three: `airflow-spot local --quotas 'ml.m5.large:spot=3' --market 'script:up=30,down=5'`.
"""

from __future__ import annotations

from datetime import timedelta
from itertools import product
from pathlib import Path
from typing import Any

from airflow_spot.operators.training import SageMakerSpotTrainingOperator

try:
    from airflow.sdk import DAG, Param, task
except ImportError:  # Airflow 2
    from airflow import DAG
    from airflow.decorators import task
    from airflow.models.param import Param

SCRIPTS = Path(__file__).parent / "scripts"
ROOT = "s3://{{ params.bucket }}/{{ params.prefix }}"
METRIC = {"Name": "validation:mlogloss", "Regex": r"validation-mlogloss:([0-9.e+-]+)"}
# In the order of the map indexes.
COMBINATIONS = [{"max_depth": depth, "eta": eta} for depth, eta in product((2, 3, 4, 6), (0.1, 0.3, 0.5))]


def channel(name: str) -> dict[str, Any]:
    """Return the input channel that `spot_training_pipeline` wrote under this name."""
    source = {"S3DataType": "S3Prefix", "S3Uri": f"{ROOT}/data/{name}", "S3DataDistributionType": "FullyReplicated"}
    return {"ChannelName": name, "ContentType": "text/csv", "DataSource": {"S3DataSource": source}}


def training(combination: dict[str, Any]) -> dict[str, Any]:
    """Return the config of one training."""
    return {
        "TrainingJobName": "sweep",
        "RoleArn": "{{ params.role }}",
        "AlgorithmSpecification": {
            "TrainingImage": "{{ params.image }}",
            "TrainingInputMode": "File",
            "MetricDefinitions": [METRIC],
        },
        "HyperParameters": {
            **combination,
            "rounds": "{{ params.rounds }}",
            "checkpoint_every": "{{ params.checkpoint_every }}",
            "seconds_per_round": "{{ params.seconds_per_round }}",
        },
        "InputDataConfig": [channel("train"), channel("validation")],
        "OutputDataConfig": {"S3OutputPath": f"{ROOT}/sweep"},
        "ResourceConfig": {"InstanceCount": 1, "InstanceType": "{{ params.instance_type }}", "VolumeSizeInGB": 10},
    }


@task
def pick_best(results: Any) -> dict[str, Any]:
    """Return the training with the smallest loss on the validation data, and what all of them have cost.

    A training's result has no hyperparameters in it, which may be secrets: they are known by its place.
    """
    trained = []
    for combination, result in zip(COMBINATIONS, results, strict=True):
        metrics = {metric["MetricName"]: metric["Value"] for metric in result["Training"]["FinalMetricDataList"]}
        trained.append((metrics[METRIC["Name"]], combination, result))
    loss, combination, best = min(trained, key=lambda each: each[0])
    spent = [result["Spot"] for _, _, result in trained]
    training_seconds = sum(each["training_seconds"] for each in spent)
    billable_seconds = sum(each["billable_seconds"] for each in spent)
    return {
        "hyperparameters": combination,
        METRIC["Name"]: loss,
        "training_job": best["Training"]["TrainingJobName"],
        "model_artifacts": best["Spot"]["model_artifacts"],
        "trainings": len(trained),
        "interruptions": sum(each["interruptions"] for each in spent),
        "spot_discount_percent": round(100 * (1 - billable_seconds / training_seconds), 1),
    }


with DAG(
    dag_id="spot_sweep",
    schedule=None,
    catchup=False,
    max_active_runs=1,
    doc_md=__doc__,
    tags=["airflow_spot", "example"],
    default_args={"aws_conn_id": "{{ params.aws_conn_id }}", "region_name": "{{ params.region }}"},
    params={
        "bucket": Param("airflow-spot-demo", type="string"),
        "prefix": Param("digits", type="string"),
        "role": Param("arn:aws:iam::123456789012:role/airflow-spot-demo", type="string"),
        "aws_conn_id": Param("aws_default", type="string"),
        "region": Param("us-east-1", type="string"),
        "image": Param("683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1", type="string"),
        "instance_type": Param("ml.m5.large", type="string"),
        "rounds": Param(60, type="integer", minimum=1),
        "checkpoint_every": Param(5, type="integer", minimum=1, description="rounds between checkpoints"),
        "seconds_per_round": Param(0.0, type="number", minimum=0, description="slows training to be watched"),
        "max_run": Param(3600, type="integer", minimum=1, description="seconds of training"),
    },
) as dag:
    train = SageMakerSpotTrainingOperator.partial(
        task_id="train",
        entry_point="train.py",
        source_dir=str(SCRIPTS),
        max_run="{{ params.max_run }}",
        deferrable=True,
        # A retry attaches to the job that trains: it costs nothing, and a worker or scheduler may fail too.
        retries=2,
        retry_delay=timedelta(seconds=15),
    ).expand(config=[training(combination) for combination in COMBINATIONS])

    pick_best(train.output)


if __name__ == "__main__":
    dag.test()
