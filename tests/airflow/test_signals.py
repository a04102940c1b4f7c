"""What Airflow tells a task in a bad moment: the matrix's scenarios on the Airflow of this environment."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from airflow_spot.local import LocalSageMaker
from tests.airflow.running import airflow_of
from tests.matrix import signals
from tests.matrix.real import BUCKET, NAMESPACE, Real

pytestmark = [pytest.mark.slow, pytest.mark.airflow, pytest.mark.timeout(900)]


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
        signals.marked_while_starting,
        signals.marked_while_resuming,
        signals.variable_deleted,
        signals.retries_lowered,
        signals.script_failed,
    ],
)
def test_an_act(real: Real, act: Callable[[Real], None]) -> None:
    act(real)
