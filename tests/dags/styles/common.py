"""What several of the DAG files share."""

from typing import Any

IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/model:latest"
ROLE = "arn:aws:iam::123456789012:role/trainer"


def training_config(name: str, **hyperparameters: str) -> dict[str, Any]:
    """CreateTrainingJob's parameters, of the simplest training."""
    return {
        "TrainingJobName": name,
        "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
        "HyperParameters": hyperparameters,
        "InputDataConfig": [
            {
                "ChannelName": "train",
                "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://styles/data"}},
            }
        ],
        "OutputDataConfig": {"S3OutputPath": "s3://styles/output"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10},
        "RoleArn": ROLE,
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
    }
