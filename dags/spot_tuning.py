"""SageMaker's own tuner on spot, by the stock operator: it draws the hyperparameters, and names the best training.

The training jobs are on spot with a checkpoint folder each, so that an interruption costs them little. What the stock
operator leaves to you: docs/sweeps.md. It trains on what `spot_training_pipeline` has prepared, and runs against AWS
with the same params changed.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
from airflow.providers.amazon.aws.operators.sagemaker import SageMakerTuningOperator

try:
    from airflow.sdk import DAG, Param, task
except ImportError:  # Airflow 2
    from airflow import DAG
    from airflow.decorators import task
    from airflow.models.param import Param

SCRIPTS = Path(__file__).parent / "scripts"
ROOT = "s3://{{ params.bucket }}/{{ params.prefix }}"
# At most 32 characters, and no `:` or `+`, which a run id has.
NAME = "digits-{{ run_id | digest }}-{{ ti.try_number }}"
METRIC = {"Name": "validation:mlogloss", "Regex": r"validation-mlogloss:([0-9.e+-]+)"}


def digest(run_id: str) -> str:
    """Return 10 characters that stand for a run."""
    return hashlib.sha256(run_id.encode()).hexdigest()[:10]


def channel(name: str) -> dict[str, Any]:
    """Return the input channel that `spot_training_pipeline` wrote under this name."""
    source = {"S3DataType": "S3Prefix", "S3Uri": f"{ROOT}/data/{name}", "S3DataDistributionType": "FullyReplicated"}
    return {"ChannelName": name, "ContentType": "text/csv", "DataSource": {"S3DataSource": source}}


@task
def show_best(name: str, aws_conn_id: str, region: str) -> dict[str, Any]:
    """Return the best training of a tuning job, and what all of them have cost."""
    sagemaker = AwsBaseHook(aws_conn_id, client_type="sagemaker", region_name=region).conn
    best = sagemaker.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)["BestTrainingJob"]
    pages = sagemaker.get_paginator("list_training_jobs_for_hyper_parameter_tuning_job")
    names = pages.paginate(HyperParameterTuningJobName=name).search("TrainingJobSummaries[].TrainingJobName")
    jobs = {each: sagemaker.describe_training_job(TrainingJobName=each) for each in names}
    training_seconds = sum(job.get("TrainingTimeInSeconds", 0) for job in jobs.values())
    billable_seconds = sum(job.get("BillableTimeInSeconds", 0) for job in jobs.values())
    return {
        "hyperparameters": best["TunedHyperParameters"],
        METRIC["Name"]: best["FinalHyperParameterTuningJobObjectiveMetric"]["Value"],
        "training_job": best["TrainingJobName"],
        "model_artifacts": jobs[best["TrainingJobName"]]["ModelArtifacts"]["S3ModelArtifacts"],
        "trainings": len(jobs),
        "spot_discount_percent": round(100 * (1 - billable_seconds / training_seconds), 1),
    }


with DAG(
    dag_id="spot_tuning",
    schedule=None,
    catchup=False,
    max_active_runs=1,
    doc_md=__doc__,
    tags=["airflow_spot", "example"],
    user_defined_filters={"digest": digest},
    default_args={"aws_conn_id": "{{ params.aws_conn_id }}", "region_name": "{{ params.region }}"},
    params={
        "bucket": Param("airflow-spot-demo", type="string"),
        "prefix": Param("digits", type="string"),
        "role": Param("arn:aws:iam::123456789012:role/airflow-spot-demo", type="string"),
        "aws_conn_id": Param("aws_default", type="string"),
        "region": Param("us-east-1", type="string"),
        "image": Param("683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1", type="string"),
        "instance_type": Param("ml.m5.large", type="string"),
        "trainings": Param(12, type="integer", minimum=1),
        "at_once": Param(3, type="integer", minimum=1, description="no more than your quota of spot instances"),
        "rounds": Param(60, type="integer", minimum=1),
        "checkpoint_every": Param(5, type="integer", minimum=1, description="rounds between checkpoints"),
        "seconds_per_round": Param(0.0, type="number", minimum=0, description="slows training to be watched"),
    },
) as dag:
    tune = SageMakerTuningOperator(
        task_id="tune",
        config={
            "HyperParameterTuningJobName": NAME,
            "HyperParameterTuningJobConfig": {
                "Strategy": "Random",
                "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": METRIC["Name"]},
                "ResourceLimits": {
                    "MaxNumberOfTrainingJobs": "{{ params.trainings }}",
                    "MaxParallelTrainingJobs": "{{ params.at_once }}",
                },
                "ParameterRanges": {
                    "IntegerParameterRanges": [{"Name": "max_depth", "MinValue": "2", "MaxValue": "6"}],
                    "ContinuousParameterRanges": [
                        {"Name": "eta", "MinValue": "0.05", "MaxValue": "0.5", "ScalingType": "Logarithmic"}
                    ],
                },
                "RandomSeed": 7,
            },
            "TrainingJobDefinition": {
                "RoleArn": "{{ params.role }}",
                "AlgorithmSpecification": {
                    "TrainingImage": "{{ params.image }}",
                    "TrainingInputMode": "File",
                    "MetricDefinitions": [METRIC],
                },
                "StaticHyperParameters": {
                    "rounds": "{{ params.rounds }}",
                    "checkpoint_every": "{{ params.checkpoint_every }}",
                    "seconds_per_round": "{{ params.seconds_per_round }}",
                    # The training jobs share one CheckpointConfig, and must not resume from each other's.
                    "folder_per_job": "1",
                    "sagemaker_program": "train.py",
                    "sagemaker_submit_directory": f"{ROOT}/tuning/sourcedir.tar.gz",
                },
                "InputDataConfig": [channel("train"), channel("validation")],
                "OutputDataConfig": {"S3OutputPath": f"{ROOT}/tuning/output"},
                "ResourceConfig": {
                    "InstanceCount": 1,
                    "InstanceType": "{{ params.instance_type }}",
                    "VolumeSizeInGB": 10,
                },
                "EnableManagedSpotTraining": True,
                "CheckpointConfig": {"S3Uri": f"{ROOT}/tuning/checkpoints/{NAME}"},
                # No templates here: the stock operator makes no number of MaxWaitTimeInSeconds.
                "StoppingCondition": {"MaxRuntimeInSeconds": 3600, "MaxWaitTimeInSeconds": 7200},
            },
            "S3Operations": {
                "S3Upload": [
                    {
                        "Path": str(SCRIPTS),
                        "Bucket": "{{ params.bucket }}",
                        "Key": "{{ params.prefix }}/tuning/sourcedir.tar.gz",
                        "Tar": True,
                    }
                ]
            },
        },
        check_interval=5,
        # It waits in the worker: the stock deferrable mode needs aiobotocore.
        deferrable=False,
    )

    best = show_best(
        name="{{ ti.xcom_pull('tune')['Tuning']['HyperParameterTuningJobName'] }}",
        aws_conn_id="{{ params.aws_conn_id }}",
        region="{{ params.region }}",
    )
    tune >> best


if __name__ == "__main__":
    dag.test()
