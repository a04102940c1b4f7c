"""A dictionary of templates: everything is text."""

from datetime import datetime

from airflow.providers.amazon.aws.operators.sagemaker import SageMakerTrainingOperator
from airflow.sdk import DAG

with DAG(
    "templated",
    schedule="@daily",
    start_date=datetime(2026, 1, 1),
    default_args={"aws_conn_id": "aws_default", "retries": 1},
    params={"bucket": "styles", "role": "arn:aws:iam::123456789012:role/trainer", "instances": 1, "epochs": 3},
) as dag:
    SageMakerTrainingOperator(
        task_id="train_model",
        config={
            "TrainingJobName": "churn-{{ ds_nodash }}",
            "AlgorithmSpecification": {
                "TrainingImage": "123456789012.dkr.ecr.us-east-1.amazonaws.com/churn:latest",
                "TrainingInputMode": "File",
            },
            "RoleArn": "{{ params.role }}",
            "InputDataConfig": [
                {
                    "ChannelName": "train",
                    "DataSource": {
                        "S3DataSource": {
                            "S3DataType": "S3Prefix",
                            "S3Uri": "s3://{{ params.bucket }}/data",
                            "S3DataDistributionType": "FullyReplicated",
                        }
                    },
                    "ContentType": "text/csv",
                }
            ],
            "OutputDataConfig": {"S3OutputPath": "s3://{{ params.bucket }}/models/{{ ds }}"},
            "ResourceConfig": {
                "InstanceCount": "{{ params.instances }}",
                "InstanceType": "ml.m5.large",
                "VolumeSizeInGB": "30",
            },
            "StoppingCondition": {"MaxRuntimeInSeconds": "3600"},
            "HyperParameters": {"epochs": "{{ params.epochs }}", "date": "{{ ds }}"},
        },
        wait_for_completion=True,
        print_log=False,
        check_interval=30,
    )
