from __future__ import annotations

from collections.abc import Iterator

import pytest

from airflow_spot.local import LocalSageMaker
from tests.local.jobs import GRACE_SECONDS, SHORT_GRACE_SECONDS, Jobs


@pytest.fixture(scope="session")
def sm() -> Iterator[LocalSageMaker]:
    """One service for all tests that need no market of their own."""
    with LocalSageMaker(grace_seconds=GRACE_SECONDS, pending_timeout_seconds=0.5, checkpoint_seconds=0.2) as service:
        yield service


@pytest.fixture(scope="session")
def jobs(sm: LocalSageMaker) -> Jobs:
    return Jobs(sm)


@pytest.fixture(scope="session")
def simulated_jobs() -> Iterator[Jobs]:
    """Jobs of a service without processes."""
    with LocalSageMaker(engine="simulated") as service:
        yield Jobs(service)


@pytest.fixture(scope="session")
def impatient() -> Iterator[Jobs]:
    """Jobs of a service that soon kills what does not listen."""
    with LocalSageMaker(grace_seconds=SHORT_GRACE_SECONDS) as service:
        yield Jobs(service)
