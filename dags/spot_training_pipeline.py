"""Prepare, train on spot, register, deploy, predict, clean up: handwritten digits with XGBoost.

Everything is the Amazon provider's own, except the one import that puts the training on spot. The same file runs
against Local SageMaker (`make demo`) and against AWS. For AWS, set when you trigger it:

| param | on AWS |
| --- | --- |
| `bucket` | a bucket that you own; it is made if it does not exist |
| `role` | a SageMaker execution role, by name or ARN, that reads and writes this bucket |
| `aws_conn_id`, `region` | your connection and region |
| `image` | SageMaker's XGBoost image of your region; the default is us-east-1's |

Scripts and data get to S3 by the DAG itself. On AWS the endpoint is billed from `deploy` to `delete_endpoint`, which
runs also when something before it has failed.

Each run leaves a version of its model in the model registry, in the group `model_group`, which costs nothing.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.providers.amazon.aws.operators.s3 import S3CreateBucketOperator
from airflow.providers.amazon.aws.operators.sagemaker import (
    SageMakerEndpointConfigOperator,
    SageMakerEndpointOperator,
    SageMakerModelOperator,
    SageMakerProcessingOperator,
    SageMakerRegisterModelVersionOperator,
)
from airflow.providers.amazon.aws.transfers.local_to_s3 import LocalFilesystemToS3Operator
from airflow.providers.amazon.aws.utils.sagemaker import ApprovalStatus

from airflow_spot.operators.training import SageMakerSpotTrainingOperator

try:
    from airflow.sdk import DAG, Param, task
except ImportError:  # Airflow 2
    from airflow import DAG
    from airflow.decorators import task
    from airflow.models.param import Param

SCRIPTS = Path(__file__).parent / "scripts"
ROOT = "s3://{{ params.bucket }}/{{ params.prefix }}"
# SageMaker's names allow no `:` or `+`, which a run id has; a short digest is as unique within an account.
NAME = "digits-{{ run_id | digest }}"


def digest(run_id: str) -> str:
    """Return 10 characters that stand for a run."""
    return hashlib.sha256(run_id.encode()).hexdigest()[:10]


def channel(name: str) -> dict[str, Any]:
    """Return the input channel that `prepare` wrote under this name."""
    return {
        "ChannelName": name,
        "ContentType": "text/csv",
        "DataSource": {
            "S3DataSource": {
                "S3DataType": "S3Prefix",
                "S3Uri": f"{ROOT}/data/{name}",
                "S3DataDistributionType": "FullyReplicated",
            }
        },
    }


def processing_output(name: str) -> dict[str, Any]:
    """Return the output of `prepare` that becomes the channel of this name."""
    return {
        "OutputName": name,
        "S3Output": {
            "S3Uri": f"{ROOT}/data/{name}",
            "LocalPath": f"/opt/ml/processing/output/{name}",
            "S3UploadMode": "EndOfJob",
        },
    }


@task
def check_endpoint(
    *, endpoint: str, bucket: str, test_key: str, min_accuracy: str, aws_conn_id: str, region: str
) -> dict[str, Any]:
    """Predict the test split and fail if fewer than `min_accuracy` of the digits are right."""
    test = S3Hook(aws_conn_id=aws_conn_id, region_name=region).read_key(test_key, bucket)
    labels, pixels = zip(*(line.split(",", 1) for line in test.splitlines()), strict=True)
    runtime = AwsBaseHook(aws_conn_id, client_type="sagemaker-runtime", region_name=region).conn
    response = runtime.invoke_endpoint(
        EndpointName=endpoint, ContentType="text/csv", Accept="text/csv", Body="\n".join(pixels)
    )
    answers = response["Body"].read().decode().split()
    right = sum(answer == label for answer, label in zip(answers, labels, strict=True))
    accuracy = right / len(labels)
    if accuracy < float(min_accuracy):
        raise ValueError(f"{right} of {len(labels)} digits are right; at least {min_accuracy} are required")
    return {"accuracy": accuracy, "rows": len(labels)}


@task
def delete_endpoint(name: str, aws_conn_id: str, region: str) -> None:
    """Delete the endpoint, its configuration and the model, as far as they were made."""
    sagemaker = AwsBaseHook(aws_conn_id, client_type="sagemaker", region_name=region).conn
    for delete in (
        lambda: sagemaker.delete_endpoint(EndpointName=name),
        lambda: sagemaker.delete_endpoint_config(EndpointConfigName=name),
        lambda: sagemaker.delete_model(ModelName=name),
    ):
        try:
            delete()
        except sagemaker.exceptions.ClientError as error:
            # There is none. One that is still being created is refused with the same code, and is paid for: then the
            # task fails, and a retry deletes it.
            if not error.response["Error"]["Message"].startswith("Could not find"):
                raise


with DAG(
    dag_id="spot_training_pipeline",
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
        "model_group": Param("digits", type="string", description="of the model registry: has a version for each run"),
        "instance_type": Param("ml.m5.large", type="string"),
        "rounds": Param(60, type="integer", minimum=1),
        "checkpoint_every": Param(5, type="integer", minimum=1, description="rounds between checkpoints"),
        "seconds_per_round": Param(0.0, type="number", minimum=0, description="slows training to be watched"),
        "max_run": Param(3600, type="integer", minimum=1, description="seconds of training"),
        "max_wait": Param(7200, type="integer", minimum=1, description="seconds of waiting and training"),
        "min_accuracy": Param(0.9, type="number", minimum=0, maximum=1),
    },
) as dag:
    create_bucket = S3CreateBucketOperator(task_id="create_bucket", bucket_name="{{ params.bucket }}")

    upload_script = LocalFilesystemToS3Operator(
        task_id="upload_script",
        filename=str(SCRIPTS / "prepare.py"),
        dest_bucket="{{ params.bucket }}",
        dest_key="{{ params.prefix }}/code/prepare.py",
        replace=True,
    )

    # The stock operators wait in the worker: their deferrable mode needs aiobotocore.
    prepare = SageMakerProcessingOperator(
        task_id="prepare",
        config={
            "ProcessingJobName": f"{NAME}-prepare",
            "RoleArn": "{{ params.role }}",
            "AppSpecification": {
                "ImageUri": "{{ params.image }}",
                "ContainerEntrypoint": ["python3", "/opt/ml/processing/input/code/prepare.py"],
                "ContainerArguments": ["--output-dir", "/opt/ml/processing/output"],
            },
            "ProcessingInputs": [
                {
                    "InputName": "code",
                    "S3Input": {
                        "S3Uri": f"{ROOT}/code/prepare.py",
                        "LocalPath": "/opt/ml/processing/input/code",
                        "S3DataType": "S3Prefix",
                        "S3InputMode": "File",
                    },
                }
            ],
            "ProcessingOutputConfig": {
                "Outputs": [processing_output(name) for name in ("train", "validation", "test")]
            },
            "ProcessingResources": {
                "ClusterConfig": {
                    "InstanceCount": 1,
                    "InstanceType": "{{ params.instance_type }}",
                    "VolumeSizeInGB": 10,
                }
            },
        },
        check_interval=5,
        deferrable=False,
    )

    train = SageMakerSpotTrainingOperator(
        task_id="train",
        config={
            "TrainingJobName": "digits",
            "RoleArn": "{{ params.role }}",
            "AlgorithmSpecification": {"TrainingImage": "{{ params.image }}", "TrainingInputMode": "File"},
            "HyperParameters": {
                "rounds": "{{ params.rounds }}",
                "checkpoint_every": "{{ params.checkpoint_every }}",
                "seconds_per_round": "{{ params.seconds_per_round }}",
            },
            "InputDataConfig": [channel("train"), channel("validation")],
            "OutputDataConfig": {"S3OutputPath": f"{ROOT}/output"},
            "ResourceConfig": {
                "InstanceCount": 1,
                "InstanceType": "{{ params.instance_type }}",
                "VolumeSizeInGB": 10,
            },
        },
        entry_point="train.py",
        source_dir=str(SCRIPTS),
        max_run="{{ params.max_run }}",
        max_wait="{{ params.max_wait }}",
        retries=2,
        deferrable=True,
    )

    # A version of the model for each run of this DAG. Where a person approves it, register it as it is by default,
    # PENDING_MANUAL_APPROVAL, and deploy in a DAG of its own: SageMaker deploys none that is not approved.
    register = SageMakerRegisterModelVersionOperator(
        task_id="register",
        image_uri="{{ params.image }}",
        model_url="{{ ti.xcom_pull('train')['Spot']['model_artifacts'] }}",
        package_group_name="{{ params.model_group }}",
        package_desc="{{ dag.dag_id }}, {{ run_id }}",
        model_approval=ApprovalStatus.APPROVED,
    )

    create_model = SageMakerModelOperator(
        task_id="create_model",
        config={
            "ModelName": NAME,
            "ExecutionRoleArn": "{{ params.role }}",
            "PrimaryContainer": {
                "ModelPackageName": "{{ ti.xcom_pull('register') }}",
                # train.py put the code that serves the model beside it.
                "Environment": {
                    "SAGEMAKER_PROGRAM": "inference.py",
                    "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code",
                },
            },
        },
    )

    configure_endpoint = SageMakerEndpointConfigOperator(
        task_id="configure_endpoint",
        config={
            "EndpointConfigName": NAME,
            "ProductionVariants": [
                {
                    "VariantName": "only",
                    "ModelName": NAME,
                    "InstanceType": "{{ params.instance_type }}",
                    "InitialInstanceCount": 1,
                }
            ],
        },
    )

    deploy = SageMakerEndpointOperator(
        task_id="deploy",
        config={"EndpointName": NAME, "EndpointConfigName": NAME},
        check_interval=5,
        deferrable=False,
    )

    check = check_endpoint(
        endpoint=NAME,
        bucket="{{ params.bucket }}",
        test_key="{{ params.prefix }}/data/test/test.csv",
        min_accuracy="{{ params.min_accuracy }}",
        aws_conn_id="{{ params.aws_conn_id }}",
        region="{{ params.region }}",
    )

    # A teardown runs whatever became of the tasks before it, and does not count for the state of the run, which is
    # that of `check`. It hangs on the model, the first thing that it deletes, so that it also runs when the endpoint
    # fails to start. An endpoint is paid for until it is deleted, hence the retries.
    delete = delete_endpoint.override(retries=30, retry_delay=timedelta(minutes=1))(
        name=NAME, aws_conn_id="{{ params.aws_conn_id }}", region="{{ params.region }}"
    ).as_teardown(setups=[create_model])

    create_bucket >> upload_script >> prepare >> train >> register >> create_model
    create_model >> configure_endpoint >> deploy >> check >> delete


if __name__ == "__main__":
    dag.test()
