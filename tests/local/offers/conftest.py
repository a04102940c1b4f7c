from __future__ import annotations

from collections.abc import Iterator

import pytest

from airflow_spot.local import LocalSageMaker

#: ml.p3 is not in the region, spot instances of ml.g5.xlarge are none, and there is a type without a price.
QUOTAS = "ml.p3.*=unavailable;ml.g5.xlarge:spot=0;ml.g5.*=4;ml.x9.big:spot=3"


@pytest.fixture(scope="session")
def offers() -> Iterator[LocalSageMaker]:
    """One service for all tests of what it tells of prices, capacity and quotas."""
    with LocalSageMaker(engine="simulated", quotas=QUOTAS) as service:
        yield service


@pytest.fixture
def market(offers: LocalSageMaker) -> Iterator[LocalSageMaker]:
    """That service, for a test that changes its market or faults."""
    yield offers
    offers.set_market("always")
    offers.set_quotas(QUOTAS)
    offers.set_faults("")
