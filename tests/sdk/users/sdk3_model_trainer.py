"""SDK 3: ModelTrainer with source code, on spot, with checkpoints, without a role; its logs while it trains."""

import json
import sys
from pathlib import Path

from sagemaker.core.shapes import CheckpointConfig
from sagemaker.core.utils.utils import configure_logging
from sagemaker.train import ModelTrainer
from sagemaker.train.configs import Compute, InputData, SourceCode, StoppingCondition

configure_logging("INFO")
bucket, name = sys.argv[1:3]
here = Path(__file__).parent
trainer = ModelTrainer(
    base_job_name=name,
    training_image="763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:2.8.0-cpu-py312-ubuntu22.04-sagemaker",
    source_code=SourceCode(source_dir=str(here / "source"), entry_script="train.py"),
    compute=Compute(instance_type="ml.m5.xlarge", instance_count=1, enable_managed_spot_training=True),
    stopping_condition=StoppingCondition(max_runtime_in_seconds=600, max_wait_time_in_seconds=1200),
    checkpoint_config=CheckpointConfig(s3_uri=f"s3://{bucket}/checkpoints/{name}"),
    hyperparameters={"steps": 60, "hold-at": 30},
)
trainer.train(input_data_config=[InputData(channel_name="train", data_source=f"s3://{bucket}/data")], wait=True)
job = trainer._latest_training_job
print(json.dumps({"job": job.training_job_name, "model_data": job.model_artifacts.s3_model_artifacts}))
