"""A rehearsal before the training: where the script would not survive an interruption, nothing is paid for.

`rehearse_script` runs the training script on its worker, on Local SageMaker, with little data and few rounds, and
interrupts it in several ways. It fails with the verdict where a fault is found; `train` then does not begin. The worker
needs `pip install 'airflow-spot[local]'` and what the script imports.

It trains on what `spot_training_pipeline` has prepared, and runs against AWS with params of your own.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from airflow_spot.operators.training import SageMakerSpotTrainingOperator

try:
    from airflow.sdk import DAG, Param, task
except ImportError:  # Airflow 2
    from airflow import DAG
    from airflow.decorators import task
    from airflow.models.param import Param

SCRIPTS = Path(__file__).parent / "scripts"


@task
def rehearse_script(script: str, rounds: str) -> list[str]:
    """Fail where the script has a fault; return what was found, such as ["resumes"]."""
    from airflow_spot.rehearsal import rehearse

    with TemporaryDirectory() as folder:
        prepare = [sys.executable, str(SCRIPTS / "prepare.py"), "--output-dir", folder]
        subprocess.run(prepare, check=True)  # noqa: S603 - the example's own script
        report = rehearse(
            script,
            source_dir=SCRIPTS,
            channels={"train": f"{folder}/train"},
            hyperparameters={"rounds": int(rounds), "checkpoint_every": 2, "seconds_per_round": 0.05},
            interruptions=1,
            tell=print,
        )
    print(report)
    if not report.sound:
        raise ValueError(str(report))
    return list(report.kinds)


with DAG(
    dag_id="spot_rehearsal",
    schedule=None,
    catchup=False,
    doc_md=__doc__,
    tags=["airflow_spot", "example"],
    params={
        "bucket": "airflow-spot-demo",
        "role": "arn:aws:iam::123456789012:role/airflow-spot-demo",
        "image": "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1",
        "script": "train.py",
        "rehearsal_rounds": Param(16, type="integer", minimum=8),
    },
) as dag:
    train = SageMakerSpotTrainingOperator(
        task_id="train",
        config={
            "TrainingJobName": "rehearsed",
            "RoleArn": "{{ params.role }}",
            "AlgorithmSpecification": {"TrainingImage": "{{ params.image }}", "TrainingInputMode": "File"},
            "HyperParameters": {"rounds": "60"},
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
            "OutputDataConfig": {"S3OutputPath": "s3://{{ params.bucket }}/rehearsed"},
            "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10},
        },
        entry_point="{{ params.script }}",
        source_dir=str(SCRIPTS),
        max_run="1h",
        retries=2,
    )

    rehearse_script("{{ params.script }}", "{{ params.rehearsal_rounds }}") >> train


if __name__ == "__main__":
    dag.test()
