"""SDK 2: trainers to be exported; run as a script, one of them asks SageMaker for a job, as its users do."""

import sys
from pathlib import Path

from sagemaker import image_uris
from sagemaker.estimator import Estimator
from sagemaker.inputs import TrainingInput
from sagemaker.pytorch import PyTorch

ROLE = "arn:aws:iam::123456789012:role/trainer"
SPOT = {
    "use_spot_instances": True,
    "max_run": 600,
    "max_wait": 1200,
    "checkpoint_s3_uri": "s3://bucket/checkpoints",
}
PLACE = {"role": ROLE, "instance_type": "ml.m5.xlarge", "instance_count": 1}
INPUTS = {"train": TrainingInput("s3://bucket/data", content_type="text/csv"), "validation": "s3://bucket/data"}


class Ours(PyTorch):
    """A team's own estimator."""

    def hyperparameters(self):
        return {**super().hyperparameters(), "team": '"vision"'}


def script(kind=PyTorch, **more):
    return kind(
        base_job_name="digits",
        entry_point="train.py",
        source_dir=str(Path(__file__).parent / "source"),
        framework_version="2.8.0",
        py_version="py312",
        hyperparameters={"steps": 60},
        environment={"COLOUR": "blue"},
        metric_definitions=[{"Name": "steps", "Regex": "trained ([0-9]+) steps"}],
        tags=[{"Key": "team", "Value": "vision"}],
        **PLACE,
        **more,
    )


def spot_script():
    return script(**SPOT)


def on_demand_script():
    return script(max_run=900)


def own_class():
    return script(Ours, **SPOT)


def built_in():
    return Estimator(
        image_uri=image_uris.retrieve("xgboost", "us-east-1", version="1.7-1"),
        hyperparameters={"objective": "reg:squarederror", "num_round": 30},
        **PLACE,
        **SPOT,
    )


if __name__ == "__main__":
    globals()[sys.argv[1]]().fit(INPUTS, wait=False)
