"""Requests that the tests train with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

SCRIPTS = Path(__file__).parent.parent / "scripts"
ROLE = "arn:aws:iam::123456789012:role/airflow-spot"


def stock_config(bucket: str, name: str = "digits", **hyperparameters: Any) -> dict[str, Any]:
    """A config as a user of the stock operator has it: nothing of spot, nothing of checkpoints."""
    return {
        "TrainingJobName": name,
        "AlgorithmSpecification": {"TrainingImage": "image", "TrainingInputMode": "File"},
        "RoleArn": ROLE,
        "OutputDataConfig": {"S3OutputPath": f"s3://{bucket}/output"},
        "ResourceConfig": {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 10},
        "StoppingCondition": {"MaxRuntimeInSeconds": 120},
        "HyperParameters": {key: str(value) for key, value in hyperparameters.items()},
    }
