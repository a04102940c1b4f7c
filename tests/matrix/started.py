"""Starts an Airflow of the version under test, and ends it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from airflow_spot.local import LocalSageMaker
from demo.standalone import StandaloneAirflow, StandaloneError
from tests.matrix.airflow2 import StandaloneAirflow2
from tests.matrix.environment import Environment, MatrixError
from tests.matrix.postgres import Postgres
from tests.matrix.real import DAGS, NAMESPACE, Real

#: A lost worker or scheduler is noticed within seconds rather than minutes.
_NOTICES_SOON = {
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "20",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "5",
}
_HEARTBEAT_2 = {
    "AIRFLOW__SCHEDULER__SCHEDULER_ZOMBIE_TASK_THRESHOLD": "30",
    "AIRFLOW__SCHEDULER__ZOMBIE_DETECTION_INTERVAL": "5",
}
_HEARTBEAT = {
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
}


@contextlib.contextmanager
def real_airflow(environment: Environment, service: LocalSageMaker, log: Path, *, kills: bool) -> Iterator[Real]:
    """
    Start the version's Airflow, with the wheel and nothing of the checkout but its DAG files.

    :param kills: whether a worker or a scheduler will be killed. Then Airflow finds out soon; and on a busy machine it
        takes for lost what is only late.
    """
    notices = {**_NOTICES_SOON, **(_HEARTBEAT_2 if environment.target.is_airflow_2 else _HEARTBEAT)}
    environ = {
        **service.environ,
        "AIRFLOW__AIRFLOW_SPOT__NAMESPACE": NAMESPACE,
        "AIRFLOW_CONN_AWS_DEFAULT": "aws://",
        "AIRFLOW__CORE__PARALLELISM": "8",  # both modes run at once
        **(notices if kills else {}),
    }
    place: dict[str, Any] = {
        "home": environment.folder / "real",
        "dags_folder": DAGS,
        "python": str(environment.python),
    }
    with contextlib.ExitStack() as stack:
        # As in production. SQLite has one writer: on Airflow 2 one task at a time, on 3 lost requests of the API.
        for driver in ("psycopg2-binary",) if environment.target.is_airflow_2 else ("psycopg2-binary", "asyncpg"):
            environment.add(driver, log)
        environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = stack.enter_context(Postgres(log, ends_idle=kills)).url
        kind = StandaloneAirflow2 if environment.target.is_airflow_2 else StandaloneAirflow
        airflow = kind(**place, environ=environ)
        for name in ("PYTHONPATH", "VIRTUAL_ENV"):
            airflow.environ.pop(name, None)
        try:
            airflow.start(timeout=240)
            yield Real(airflow, service)
        except StandaloneError as error:
            raise MatrixError(str(error)) from error
        finally:
            airflow.stop()
