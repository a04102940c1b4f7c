"""The smallest change: a stock training task, on spot by its import.

    - from airflow.providers.amazon.aws.operators.sagemaker import SageMakerTrainingOperator
    + from airflow_spot.operators.training import SageMakerSpotTrainingOperator as SageMakerTrainingOperator

Nothing else differs from what the stock operator takes: the configuration is that of CreateTrainingJob, and the
checkpoint prefix is derived from its S3OutputPath. It trains on what `spot_training_pipeline` has prepared, and
runs against AWS with params of your own.
"""

from __future__ import annotations

from pathlib import Path

from airflow_spot.operators.training import SageMakerSpotTrainingOperator as SageMakerTrainingOperator

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

with DAG(
    dag_id="drop_in",
    schedule=None,
    catchup=False,
    doc_md=__doc__,
    tags=["airflow_spot", "example"],
    params={
        "bucket": "airflow-spot-demo",
        "role": "arn:aws:iam::123456789012:role/airflow-spot-demo",
        "image": "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1",
    },
) as dag:
    SageMakerTrainingOperator(
        task_id="train",
        aws_conn_id="aws_default",
        config={
            "TrainingJobName": "drop-in",
            "RoleArn": "{{ params.role }}",
            "AlgorithmSpecification": {"TrainingImage": "{{ params.image }}", "TrainingInputMode": "File"},
            "HyperParameters": {
                "rounds": "20",
                "sagemaker_program": "train.py",
                "sagemaker_submit_directory": "s3://{{ params.bucket }}/drop-in/sourcedir.tar.gz",
            },
            "InputDataConfig": [
                {
                    "ChannelName": "train",
                    "DataSource": {
                        "S3DataSource": {
                            "S3DataType": "S3Prefix",
                            "S3Uri": "s3://{{ params.bucket }}/digits/data/train",
                        }
                    },
                }
            ],
            "OutputDataConfig": {"S3OutputPath": "s3://{{ params.bucket }}/drop-in"},
            "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10},
            "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
            "S3Operations": {
                "S3Upload": [
                    {
                        "Path": str(Path(__file__).parent / "scripts"),
                        "Bucket": "{{ params.bucket }}",
                        "Key": "drop-in/sourcedir.tar.gz",
                        "Tar": True,
                    }
                ]
            },
        },
        retries=2,
    )


if __name__ == "__main__":
    dag.test()
