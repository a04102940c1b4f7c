"""Local SageMaker says what the real service was recorded to say. Each test names its case of ``cases.json``."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from airflow_spot.local import LocalSageMaker
from tests.local.jobs import Jobs
from tests.recorded.test_cases import by_id


def test_ld11_a_max_wait_without_spot_is_refused_in_awss_words(local: LocalSageMaker, bucket: str) -> None:
    jobs = Jobs(local)
    stopping = {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 60}
    with pytest.raises(ClientError, match=by_id("LD11")["expected"]):
        jobs.start("pass", EnableManagedSpotTraining=False, StoppingCondition=stopping)
