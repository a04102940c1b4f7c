"""What EC2 tells of spot prices, placement and types, by an unchanged client."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from airflow_spot.local import LocalSageMaker
from airflow_spot.local.market.on_demand import INSTANCE_TYPES
from tests.local.jobs import Jobs, until

THREE = ["g5.xlarge", "g5.2xlarge", "g6.xlarge"]


@pytest.fixture(scope="session")
def ec2(offers: LocalSageMaker) -> Any:
    return offers.client("ec2")


def now(service: LocalSageMaker) -> float:
    """The service's time: of its last call."""
    return float(service.audit[-1]["time"])


def prices(ec2: Any, **request: Any) -> list[dict[str, Any]]:
    found = ec2.get_paginator("describe_spot_price_history").paginate(**request).build_full_result()
    return list(found["SpotPriceHistory"])


def test_ninety_days_of_prices_that_move_in_each_zone(ec2: Any) -> None:
    found = prices(ec2, InstanceTypes=["g5.xlarge"], ProductDescriptions=["Linux/UNIX"])
    zones = {each["AvailabilityZone"] for each in found}
    assert zones == {"us-east-1a", "us-east-1b", "us-east-1c"}
    times = [each["Timestamp"] for each in found]
    assert times == sorted(times, reverse=True)
    assert timedelta(days=89) < times[0] - times[-1] < timedelta(days=92)
    on_demand = INSTANCE_TYPES["ml.g5.xlarge"].ec2
    for zone in zones:
        values = [Decimal(each["SpotPrice"]) for each in found if each["AvailabilityZone"] == zone]
        assert len(set(values)) > 50
        assert all(on_demand / 4 < value < on_demand for value in values)


def test_the_price_now_is_one_that_began_earlier(ec2: Any, offers: LocalSageMaker) -> None:
    start = datetime.fromtimestamp(now(offers)).astimezone()
    found = prices(ec2, InstanceTypes=["g5.xlarge", "m5.large"], StartTime=start)
    assert {(each["InstanceType"], each["AvailabilityZoneId"]) for each in found} == {
        (name, f"use1-az{number}") for name in ("g5.xlarge", "m5.large") for number in (1, 2, 3)
    }
    assert len([each for each in found if each["Timestamp"] <= start]) == 6


def test_history_is_the_same_whenever_one_asks(ec2: Any, offers: LocalSageMaker) -> None:
    end = datetime.fromtimestamp(now(offers)).astimezone() - timedelta(days=1)
    request = {"InstanceTypes": ["p5.48xlarge"], "StartTime": end - timedelta(days=5), "EndTime": end}
    found = prices(ec2, **request)
    assert found == prices(ec2, **request)
    assert all(each["Timestamp"] <= end for each in found)
    assert len({each["AvailabilityZone"] for each in found if each["Timestamp"] <= request["StartTime"]}) == 3
    paged = prices(ec2, **request, PaginationConfig={"PageSize": 7})
    assert paged == found


@pytest.mark.parametrize(
    ("request_", "zones", "names"),
    [
        ({"AvailabilityZone": "us-east-1b"}, {"us-east-1b"}, None),
        ({"AvailabilityZoneId": "use1-az3"}, {"us-east-1c"}, None),
        ({"Filters": [{"Name": "instance-type", "Values": ["g5.*"]}]}, None, {"g5"}),
        ({"Filters": [{"Name": "availability-zone", "Values": ["us-east-1a"]}]}, {"us-east-1a"}, None),
        ({"ProductDescriptions": ["Windows"]}, set(), set()),
        ({"InstanceTypes": ["p3.2xlarge"]}, set(), set()),
        ({"InstanceTypes": ["x9.big"]}, set(), set()),
    ],
)
def test_filters(
    ec2: Any, offers: LocalSageMaker, request_: Any, zones: set[str] | None, names: set[str] | None
) -> None:
    start = datetime.fromtimestamp(now(offers)).astimezone()
    found = prices(ec2, StartTime=start, **request_)
    if zones is not None:
        assert {each["AvailabilityZone"] for each in found} == zones
    if names is not None:
        assert {each["InstanceType"].partition(".")[0] for each in found} == names


def test_a_pool_without_capacity_is_dearer(ec2: Any, market: LocalSageMaker) -> None:
    request = {"InstanceTypes": ["m5.xlarge"], "AvailabilityZone": "us-east-1a"}
    before = Decimal(prices(ec2, **request)[0]["SpotPrice"])
    market.set_market("ml.m5.xlarge=never")
    short = prices(ec2, **request)
    assert before < Decimal(short[0]["SpotPrice"]) <= INSTANCE_TYPES["ml.m5.xlarge"].ec2
    assert Decimal(short[1]["SpotPrice"]) == before
    market.set_market("always")
    assert Decimal(prices(ec2, **request)[0]["SpotPrice"]) == before


def test_prices_and_scores_follow_a_pool_that_a_job_has_asked_for(ec2: Any, market: LocalSageMaker) -> None:
    jobs = Jobs(market)
    market.set_market("ml.c5.*=script:up=0.2,down=inf;*=never")
    request = {"InstanceTypes": ["c5.xlarge"], "AvailabilityZone": "us-east-1a"}
    before = prices(ec2, **request)[0]
    resources = {"InstanceType": "ml.c5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 1}
    name = jobs.start(HyperParameters={"simulated_seconds": "600"}, ResourceConfig=resources)
    until(lambda: jobs.events("capacity", job=name, action="reclaimed"), "the pool is empty")
    after = prices(ec2, **request)[0]
    assert Decimal(after["SpotPrice"]) > Decimal(before["SpotPrice"])
    assert after["Timestamp"] > before["Timestamp"]
    jobs.sagemaker.stop_training_job(TrainingJobName=name)


def scores(ec2: Any, names: list[str], **request: Any) -> list[dict[str, Any]]:
    answer = ec2.get_spot_placement_scores(InstanceTypes=names, TargetCapacity=1, **request)
    return list(answer["SpotPlacementScores"])


def test_scores_tell_capacity_from_none(ec2: Any, market: LocalSageMaker) -> None:
    regions = {"RegionNames": ["us-east-1", "eu-west-1"]}
    found = scores(ec2, THREE, **regions)
    assert {each["Region"] for each in found} == {"us-east-1", "eu-west-1"}
    assert all(each["Score"] >= 7 for each in found)
    assert all(2 <= each["Score"] <= 3 for each in scores(ec2, THREE[:2], **regions))
    market.set_market("never")
    assert [each["Score"] for each in scores(ec2, THREE, **regions)] == [1, 1]


def test_scores_of_zones_and_of_all_regions(ec2: Any) -> None:
    found = scores(ec2, THREE, RegionNames=["eu-west-1"], SingleAvailabilityZone=True)
    assert {each["AvailabilityZoneId"] for each in found} == {"euw1-az1", "euw1-az2", "euw1-az3"}
    every = scores(ec2, THREE)
    assert len(every) == 10
    assert [each["Score"] for each in every] == sorted((each["Score"] for each in every), reverse=True)


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({"InstanceTypes": THREE, "TargetCapacity": 1, "RegionNames": ["us-east-1"] * 11}, "InvalidParameterValue"),
        ({"InstanceTypes": THREE, "TargetCapacity": 1, "RegionNames": ["moon-1"]}, "InvalidParameterValue"),
        ({"InstanceTypes": ["ml.g5.xlarge"], "TargetCapacity": 1}, "InvalidParameterValue"),
        ({"TargetCapacity": 1}, "MissingParameter"),
        ({"InstanceTypes": THREE, "TargetCapacity": 0}, "InvalidParameterValue"),
        ({"InstanceTypes": THREE, "TargetCapacity": 1, "IncludeLocalZones": True}, "UnknownParameter"),
        ({"InstanceTypes": THREE, "TargetCapacity": 1, "DryRun": True}, "DryRunOperation"),
    ],
)
def test_wrong_requests(offers: LocalSageMaker, request_: dict[str, Any], code: str) -> None:
    client = boto3.client(
        "ec2",
        endpoint_url=offers.endpoint_url,
        region_name="us-east-1",
        aws_access_key_id="x",
        aws_secret_access_key="x",
        config=Config(parameter_validation=False, retries={"max_attempts": 0}),
    )
    with pytest.raises(ClientError) as raised:
        client.get_spot_placement_scores(**request_)
    assert raised.value.response["Error"]["Code"] == code


@pytest.mark.local_sagemaker(engine="simulated")
def test_ten_configurations_a_day(local_sagemaker: LocalSageMaker) -> None:
    client = local_sagemaker.client("ec2")
    for number in range(10):
        scores(client, [*THREE, f"m5.{number}xlarge"])
    with pytest.raises(ClientError) as raised:
        scores(client, [*THREE, "m5.large"])
    assert raised.value.response["Error"]["Code"] == "MaxConfigLimitExceeded"
    # One that was asked for before is answered; the order of its types makes no other of it.
    assert scores(client, ["m5.3xlarge", *reversed(THREE)])


def test_which_types_the_region_has(ec2: Any) -> None:
    found = ec2.describe_instance_type_offerings()["InstanceTypeOfferings"]
    names = {each["InstanceType"] for each in found}
    assert names == {each.ec2_name for each in INSTANCE_TYPES.values() if not each.name.startswith("ml.p3.")}
    assert {(each["LocationType"], each["Location"]) for each in found} == {("region", "us-east-1")}
    filters = [{"Name": "instance-type", "Values": ["g5.xlarge", "p3.2xlarge"]}]
    found = ec2.describe_instance_type_offerings(LocationType="availability-zone", Filters=filters)
    assert [each["Location"] for each in found["InstanceTypeOfferings"]] == ["us-east-1a", "us-east-1b", "us-east-1c"]
    pages = ec2.get_paginator("describe_instance_type_offerings").paginate(PaginationConfig={"PageSize": 5})
    assert {each["InstanceType"] for page in pages for each in page["InstanceTypeOfferings"]} == names
