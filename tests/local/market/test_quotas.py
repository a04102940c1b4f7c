"""Quotas: how many instances the account may have at once."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from airflow_spot.local import LocalSageMaker
from airflow_spot.local.market.quotas import Quota, parse_quotas
from tests.local.jobs import Jobs


def resources(count: int = 1, instance_type: str = "ml.m5.large") -> dict[str, Any]:
    return {"InstanceType": instance_type, "InstanceCount": count, "VolumeSizeInGB": 1}


def test_quota_specifications() -> None:
    assert parse_quotas("ml.p3.2xlarge:spot=0; ml.g5.*=4; ml.p2.*=unavailable;") == (
        Quota("ml.p3.2xlarge", True, 0),
        Quota("ml.g5.*", None, 4),
        Quota("ml.p2.*", None, None),
    )
    assert parse_quotas("") == ()
    for wrong in ("ml.p3.2xlarge", "ml.p3.2xlarge=x", "ml.p3.2xlarge:sport=1", "=1"):
        with pytest.raises(ValueError, match="TYPE=N"):
            parse_quotas(wrong)


@pytest.mark.local_sagemaker(quotas="ml.p3.2xlarge:spot=0;ml.m5.large=2", grace_seconds=1)
def test_quotas_count_what_runs_and_speak_as_aws_does(local_sagemaker: LocalSageMaker) -> None:
    jobs = Jobs(local_sagemaker)
    create = jobs.sagemaker.create_training_job
    with pytest.raises(jobs.sagemaker.exceptions.ResourceLimitExceeded) as raised:
        create(**jobs.request("pass", ResourceConfig=resources(1, "ml.p3.2xlarge")))
    message = raised.value.response["Error"]["Message"]
    assert message.startswith(
        "The account-level service limit 'ml.p3.2xlarge for spot training job usage' is 0 Instances, with current "
        "utilization of 0 Instances and a request delta of 1 Instances."
    )
    assert "ml.p3.2xlarge" in json.dumps(
        jobs.describe(jobs.start("pass", spot=False, ResourceConfig=resources(1, "ml.p3.2xlarge"))), default=str
    )
    # Of many at once, exactly as many as the quota has get through.
    running: list[str] = []
    refused: list[str] = []

    def attempt() -> None:
        request = jobs.request("import time; time.sleep(600)")
        try:
            create(**request)
            running.append(request["TrainingJobName"])
        except jobs.sagemaker.exceptions.ResourceLimitExceeded:
            refused.append(request["TrainingJobName"])

    threads = [threading.Thread(target=attempt) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(running), len(refused)) == (2, 4)
    assert jobs.end(jobs.start("pass", spot=False))["TrainingJobStatus"] == "Completed"
    for name in running:
        jobs.sagemaker.stop_training_job(TrainingJobName=name)
        jobs.end(name)
    assert jobs.run("pass")["TrainingJobStatus"] == "Completed"
