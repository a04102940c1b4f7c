"""The public names are at the top of the package, and cost nothing until they are asked for."""

from __future__ import annotations

import subprocess
import sys
from textwrap import dedent

import airflow_spot


def test_every_public_name_is_there() -> None:
    assert set(airflow_spot.__all__) == set(airflow_spot._LAZY) <= set(dir(airflow_spot))
    for name in airflow_spot.__all__:
        assert getattr(airflow_spot, name).__name__ == name


def test_the_package_alone_loads_nothing() -> None:
    code = "import sys, airflow_spot; print(*sorted(m for m in sys.modules if m.split('.')[0] in ('airflow', 'boto3')))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == ""


def test_a_dag_file_does_not_load_what_only_a_worker_or_a_triggerer_needs() -> None:
    """A worker has all of it once the task's fields are rendered: then Airflow's timeout has not begun."""
    code = """
        import sys
        from airflow_spot.operators.training import SageMakerSpotTrainingOperator

        def show():
            print(*sorted({".".join(name.split(".")[:2]) for name in sys.modules if name.startswith("airflow_spot.")}))

        show()
        request = {
            "AlgorithmSpecification": {"TrainingImage": "image", "TrainingInputMode": "File"},
            "RoleArn": "{{ role }}",
            "OutputDataConfig": {"S3OutputPath": "s3://bucket/output"},
            "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        }
        task = SageMakerSpotTrainingOperator(task_id="train", config=request)
        task.render_template_fields({"role": "arn:aws:iam::123456789012:role/r"})
        show()
    """
    told = subprocess.run([sys.executable, "-c", dedent(code)], capture_output=True, text=True, check=True)
    parsed, rendered = (set(line.split()) for line in told.stdout.splitlines()[-2:])
    assert "airflow_spot.operators" in parsed
    rooms = ("runs", "policies", "triggers", "watch", "market", "preflight", "verify", "observers", "local", "cli")
    assert not parsed & {f"airflow_spot.{room}" for room in rooms}
    rooms_of_a_worker = ("runs", "policies", "triggers", "market", "preflight", "observers")
    assert rendered >= {f"airflow_spot.{room}" for room in rooms_of_a_worker}
