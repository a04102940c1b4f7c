"""The public names are at the top of the package, and cost nothing until they are asked for."""

from __future__ import annotations

import subprocess
import sys

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
    code = (
        "import sys; from airflow_spot.operators.training import SageMakerSpotTrainingOperator; "
        "print(*sorted({'.'.join(m.split('.')[:2]) for m in sys.modules if m.startswith('airflow_spot.')}))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(told.stdout.splitlines()[-1].split())
    assert "airflow_spot.operators" in loaded
    rooms = ("runs", "policies", "triggers", "watch", "market", "preflight", "verify", "observers", "local", "cli")
    assert not loaded & {f"airflow_spot.{room}" for room in rooms}
