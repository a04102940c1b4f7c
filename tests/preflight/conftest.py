"""One Local SageMaker for all set-ups, and its clients, which take long to make."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from airflow_spot.local import LocalSageMaker
from tests.preflight.scene import Clients, Scene


@pytest.fixture(scope="module")
def clients(local: LocalSageMaker) -> Clients:
    return Clients(local)


@pytest.fixture
def scene(local: LocalSageMaker, clients: Clients, bucket: str) -> Iterator[Scene]:
    clients.instead.clear()
    yield Scene(local, clients, bucket)
    local.set_faults("")
