"""
What Airflow tells a task in a bad moment: the matrix's scenarios on the Airflow of this environment.

Those with many runs at once are left to the matrix, whose database is not SQLite: there each mark is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from airflow_spot.local import LocalSageMaker
from tests.airflow.running import airflow_of
from tests.matrix import signals
from tests.matrix.real import BUCKET, NAMESPACE, Real

pytestmark = [pytest.mark.slow, pytest.mark.airflow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Real]:
    with LocalSageMaker(grace_seconds=2) as service:
        service.client("s3").create_bucket(Bucket=BUCKET)
        home = tmp_path_factory.mktemp("airflow")
        with airflow_of(service, home, "dags", NAMESPACE, AIRFLOW__CORE__PARALLELISM="4") as airflow:
            yield Real(airflow, service)


@pytest.mark.parametrize(
    "act",
    [
        signals.marked_before_deferring,
        signals.variable_deleted,
        signals.retries_lowered,
        signals.script_failed,
    ],
)
def test_an_act(real: Real, act: Callable[[Real], None]) -> None:
    act(real)
