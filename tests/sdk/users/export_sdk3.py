"""SDK 3: trainers to be exported; run as a script, one of them asks SageMaker for a job, as its users do."""

import sys
from pathlib import Path

from sagemaker.core.shapes import CheckpointConfig
from sagemaker.train import ModelTrainer
from sagemaker.train.configs import Compute, InputData, SourceCode, StoppingCondition

IMAGE = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:2.8.0-cpu-py312-ubuntu22.04-sagemaker"
INPUTS = [InputData(channel_name=name, data_source="s3://bucket/data") for name in ("train", "validation")]


def trainer(**more):
    return ModelTrainer(
        base_job_name="digits",
        training_image=IMAGE,
        role="arn:aws:iam::123456789012:role/trainer",
        source_code=SourceCode(source_dir=str(Path(__file__).parent / "source"), entry_script="train.py"),
        hyperparameters={"steps": 60},
        environment={"COLOUR": "blue"},
        **more,
    )


def spot_script():
    return trainer(
        compute=Compute(instance_type="ml.m5.xlarge", instance_count=1, enable_managed_spot_training=True),
        stopping_condition=StoppingCondition(max_runtime_in_seconds=600, max_wait_time_in_seconds=1200),
        checkpoint_config=CheckpointConfig(s3_uri="s3://bucket/checkpoints"),
    )


def on_demand_script():
    return trainer(compute=Compute(instance_type="ml.m5.xlarge", instance_count=1))


if __name__ == "__main__":
    globals()[sys.argv[1]]().train(input_data_config=INPUTS, wait=False, logs=False)
