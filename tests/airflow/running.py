"""A real `airflow standalone` whose AWS is a Local SageMaker."""

from __future__ import annotations

from pathlib import Path

from airflow_spot.local import LocalSageMaker
from demo.standalone import StandaloneAirflow

HERE = Path(__file__).parent


def airflow_of(service: LocalSageMaker, home: Path, dags: str, namespace: str, **environ: str) -> StandaloneAirflow:
    """
    Make one; it starts as a context.

    :param dags: a folder beside this file.
    :param environ: more of its environment.
    """
    common = {
        "AIRFLOW__AIRFLOW_SPOT__NAMESPACE": namespace,
        # What a run asks beside its training is tested elsewhere; forty members at once are enough for two cores.
        "AIRFLOW__AIRFLOW_SPOT__AWS_PRICES": "False",
        "AIRFLOW__AIRFLOW_SPOT__PREFLIGHT": "off",
        "PYTHONPATH": str(HERE.parent.parent),
    }
    return StandaloneAirflow(home=home, dags_folder=HERE / dags, environ={**service.environ, **common, **environ})
