"""A config as `sagemaker.workflow.airflow.training_config` returns it: made, and named, when the DAG is parsed."""

import json
import tempfile
from datetime import datetime, timezone
from pathlib import Path

from airflow.providers.amazon.aws.operators.sagemaker import SageMakerTrainingOperator
from airflow.sdk import DAG

parsed = datetime.now(timezone.utc).strftime("%Y-%m-%d-%H-%M-%S-%f")[:-3]
source = Path(tempfile.mkdtemp()) / "train.py"
source.write_text("import os, pathlib\npathlib.Path(os.environ['SM_MODEL_DIR'], 'weights').write_text('1')\n")
key = f"pytorch-training-{parsed}/source/sourcedir.tar.gz"

config = {
    "AlgorithmSpecification": {
        "TrainingImage": "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:2.3-cpu-py311",
        "TrainingInputMode": "File",
    },
    "OutputDataConfig": {"S3OutputPath": "s3://styles/"},
    "TrainingJobName": f"pytorch-training-{parsed}",
    "StoppingCondition": {"MaxRuntimeInSeconds": 86400},
    "ResourceConfig": {"InstanceCount": 1, "InstanceType": "ml.c5.xlarge", "VolumeSizeInGB": 30},
    "RoleArn": "arn:aws:iam::123456789012:role/trainer",
    "HyperParameters": {
        "epochs": "1",
        "sagemaker_submit_directory": json.dumps(f"s3://styles/{key}"),
        "sagemaker_program": json.dumps("train.py"),
        "sagemaker_container_log_level": "20",
        "sagemaker_job_name": json.dumps(f"pytorch-training-{parsed}"),
        "sagemaker_region": json.dumps("us-east-1"),
    },
    "S3Operations": {"S3Upload": [{"Path": str(source), "Bucket": "styles", "Key": key, "Tar": True}]},
}

with DAG("sdk_made", schedule=None) as dag:
    SageMakerTrainingOperator(task_id="train", config=config, wait_for_completion=True, print_log=False)
