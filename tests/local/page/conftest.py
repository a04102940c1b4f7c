from __future__ import annotations

from collections.abc import Iterator

import pytest

from airflow_spot.local import LocalSageMaker
from tests.local.jobs import GRACE_SECONDS, Jobs


@pytest.fixture(scope="package")
def sm() -> Iterator[LocalSageMaker]:
    """The page's own service: what other tests have made is not among what it lists."""
    with LocalSageMaker(grace_seconds=GRACE_SECONDS, checkpoint_seconds=0.2) as service:
        yield service


@pytest.fixture(scope="package")
def jobs(sm: LocalSageMaker) -> Jobs:
    return Jobs(sm)
