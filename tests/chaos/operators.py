"""The operators under test, and their arguments: the one place to change them."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

SCRIPTS = Path(__file__).parent
ROLE = "arn:aws:iam::123456789012:role/airflow-spot"
TYPE = "ml.m5.large"
#: Spot types whose capacity comes and goes, and types with a quota: see ``cloud``.
SCARCE, RARE = "ml.c5.4xlarge", "ml.c5.9xlarge"
DRY = "ml.c5.2xlarge"
FORBIDDEN, SHARED = "ml.g4dn.xlarge", "ml.g5.xlarge"


def config(name: str, bucket: str, engine: str, work: float, **more: Any) -> dict[str, Any]:
    """Make a config as users of the stock operator write it."""
    made: dict[str, Any] = {
        "TrainingJobName": name,
        "AlgorithmSpecification": {"TrainingImage": "image", "TrainingInputMode": "File"},
        "RoleArn": ROLE,
        "OutputDataConfig": {"S3OutputPath": f"s3://{bucket}/output/{name}"},
        "ResourceConfig": {"InstanceType": TYPE, "InstanceCount": 1, "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
        "HyperParameters": hyperparameters(engine, work),
    }
    return {**made, **more}


def hyperparameters(engine: str, work: float) -> dict[str, str]:
    """Say how long a job trains."""
    if engine == "simulated":
        return {"simulated_seconds": str(work), "simulated_checkpoint_seconds": "0.25"}
    return {"steps": str(int(work))}


def build(spec: dict[str, Any]) -> Any:
    """
    Make an operator.

    :param spec: ``kind`` (``ours`` or ``stock``), ``config``, ``engine``, and ``arguments`` for the operator, whose
        ``ladder`` may be the name of one of ours; ``timeout``: seconds after which a call that is not answered raises.
    """
    arguments = {"task_id": "train", "check_interval": 0.3, "aws_conn_id": "aws_default", **spec["arguments"]}
    if seconds := arguments.pop("timeout", None):
        # One call to the service is one of the operator's.
        arguments["botocore_config"] = {"read_timeout": seconds, "retries": {"total_max_attempts": 1}}
    if limit := arguments.pop("execution_timeout", None):
        arguments["execution_timeout"] = timedelta(seconds=limit)
    if spec["kind"] == "stock":
        from airflow.providers.amazon.aws.operators.sagemaker import SageMakerTrainingOperator

        return SageMakerTrainingOperator(config=spec["config"], **arguments)
    from airflow_spot.operators.training import SageMakerSpotTrainingOperator

    if isinstance(ladder := arguments.get("ladder"), str):
        arguments["ladder"] = _ladder(ladder)
    if spec["engine"] == "process":
        arguments |= {"entry_point": "steps.py", "source_dir": str(SCRIPTS / "script"), "print_log": False}
    return SageMakerSpotTrainingOperator(config=spec["config"], **arguments)


def _ladder(name: str) -> list[Any]:
    """Rungs where there is little to have, and one at the end where there is."""
    from airflow_spot.operators.training import Rung

    if name == "scarce":
        return [Rung(SCARCE), Rung(RARE, wait=2), Rung.on_demand([TYPE])]
    if name == "short":
        return [Rung(FORBIDDEN), Rung(DRY, wait=1), Rung(TYPE)]
    return [Rung(FORBIDDEN), Rung(SHARED, attempts=2), Rung(TYPE)]
