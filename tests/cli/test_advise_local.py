"""``airflow-spot advise`` on Local SageMaker: boto3's own clients, refusals by a fault plan, and a job's history."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_spot.cli.main import main
from airflow_spot.local import LocalSageMaker
from tests.local.jobs import until

G5, G6 = "ml.g5.2xlarge", "ml.g6.2xlarge"
#: An hour of a job passes in 0.2 s.
SCALE = 18_000
JOB = "digits-afspot-abcdefghij-1-1"
PERMISSIONS = {
    "pricing:GetProducts": "on-demand prices",
    "ec2:DescribeSpotPriceHistory": "EC2's spot prices",
    "ec2:GetSpotPlacementScores": "placement scores",
    "servicequotas:ListServiceQuotas": "quotas",
}


@pytest.fixture(scope="module")
def service() -> Iterator[LocalSageMaker]:
    with LocalSageMaker(engine="simulated", time_scale=SCALE, quotas=f"{G6}:spot=0;*=3") as service:
        yield service


@pytest.fixture
def advise(
    service: LocalSageMaker, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Iterator[Any]:
    for name, value in service.environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def go(*arguments: str) -> str:
        assert main(["advise", "--types", f"{G5},{G6}", "--hours", "6", *arguments]) == 0
        return capsys.readouterr().out

    yield go
    service.set_faults("")


def test_prices_discounts_scores_and_quotas_are_read(advise: Any) -> None:
    facts = json.loads(advise("--json"))
    first, second = facts["types"]
    for each in (first, second):
        figures = ("on_demand_price", "ec2_on_demand_price", "ec2_prices", "placement_score")
        assert all(each[name]["value"] for name in (*figures, "on_demand_quota"))
        assert len(each["ec2_discount_percent"]) > 1, "several zones"
        hours = float(each["on_demand_cost"]["amount"]) / float(each["on_demand_price"]["value"]["amount"])
        assert hours == pytest.approx(6)
    assert (first["spot_quota"]["value"]["limit"], second["spot_quota"]["value"]["limit"]) == (3, 0)
    assert facts["ladder"][0] == G5 and G6 not in facts["ladder"]
    assert [each["instance_type"] for each in facts["left_out"]] == [G6]
    assert facts["not_read"] == {}


@pytest.mark.slow
@pytest.mark.parametrize("permission", PERMISSIONS)
def test_a_permission_that_is_missing_is_named_once(service: LocalSageMaker, advise: Any, permission: str) -> None:
    service.set_faults(f"{permission}=denied")
    text = advise()
    assert text.count(f"needs {permission}") == 1
    assert f"{PERMISSIONS[permission]}: needs {permission}" in text
    assert "ladder=[" in text


def test_all_of_them(service: LocalSageMaker, advise: Any) -> None:
    service.set_faults(";".join(f"{permission}=denied" for permission in PERMISSIONS))
    text = advise()
    assert [text.count(f"needs {permission}") for permission in PERMISSIONS] == [1] * 4


@pytest.mark.slow
def test_a_service_that_fails_is_no_error(service: LocalSageMaker, advise: Any) -> None:
    service.set_faults("pricing:GetProducts=error;ec2:DescribeSpotPriceHistory=cut-before")
    assert "not known:" in advise()


@pytest.mark.slow
def test_what_the_accounts_own_job_got_goes_first(service: LocalSageMaker, advise: Any) -> None:
    service.client("s3").create_bucket(Bucket="models")
    sagemaker = service.client("sagemaker")
    sagemaker.create_training_job(
        TrainingJobName=JOB,
        RoleArn="arn:aws:iam::123456789012:role/trainer",
        AlgorithmSpecification={"TrainingImage": "image", "TrainingInputMode": "File"},
        OutputDataConfig={"S3OutputPath": "s3://models/out"},
        ResourceConfig={"InstanceType": G5, "InstanceCount": 1, "VolumeSizeInGB": 1},
        HyperParameters={"simulated_seconds": "7200", "password": "hunter2"},
        # 28 days: two minutes of this service, of which a day is five seconds.
        StoppingCondition={"MaxRuntimeInSeconds": 2_419_200, "MaxWaitTimeInSeconds": 2_419_200},
        EnableManagedSpotTraining=True,
    )
    until(
        lambda: sagemaker.describe_training_job(TrainingJobName=JOB)["TrainingJobStatus"] == "Completed" or None,
        "the job has ended",
    )
    job = sagemaker.describe_training_job(TrainingJobName=JOB)
    text = advise("--history", "--json")
    assert "hunter2" not in text
    row = json.loads(text)["types"][0]
    assert row["here"]["trained_hours"] == pytest.approx(job["TrainingTimeInSeconds"] / 3600, abs=0.01)
    discount = 100 * (1 - job["BillableTimeInSeconds"] / job["TrainingTimeInSeconds"])
    assert row["discount_percent"] == [pytest.approx(discount, abs=0.06)] * 2
    assert row["discount_by"] == "what SageMaker billed this account"
