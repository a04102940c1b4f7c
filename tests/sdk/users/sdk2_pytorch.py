"""SDK 2: the PyTorch estimator, on spot, with checkpoints; its logs while it trains."""

import json
import sys
from pathlib import Path

from sagemaker.pytorch import PyTorch

bucket, name = sys.argv[1:3]
estimator = PyTorch(
    base_job_name=name,
    entry_point="train.py",
    source_dir=str(Path(__file__).parent / "source"),
    framework_version="2.8.0",
    py_version="py312",
    role="arn:aws:iam::123456789012:role/trainer",
    instance_type="ml.m5.xlarge",
    instance_count=1,
    hyperparameters={"steps": 60, "hold-at": 30},
    use_spot_instances=True,
    max_run=600,
    max_wait=1200,
    checkpoint_s3_uri=f"s3://{bucket}/checkpoints/{name}",
    metric_definitions=[{"Name": "steps", "Regex": "trained ([0-9]+) steps"}],
)
estimator.fit({"train": f"s3://{bucket}/data"}, wait=True, logs="All")
print(json.dumps({"job": estimator.latest_training_job.name, "model_data": estimator.model_data}))
