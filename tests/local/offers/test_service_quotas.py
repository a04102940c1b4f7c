"""Service Quotas of SageMaker, by an unchanged client."""

from __future__ import annotations

import re
from typing import Any

import pytest
from botocore.exceptions import ClientError

from airflow_spot.local import LocalSageMaker
from airflow_spot.local.market.on_demand import INSTANCE_TYPES
from airflow_spot.local.market.quotas import parse_quotas
from airflow_spot.local.offers.service_quotas import UNLIMITED, listed


def quotas(service: LocalSageMaker) -> dict[str, dict[str, Any]]:
    pages = service.client("service-quotas").get_paginator("list_service_quotas").paginate(ServiceCode="sagemaker")
    return {each["QuotaName"]: each for each in pages.build_full_result()["Quotas"]}


def test_the_quotas_of_training_are_those_that_jobs_meet(offers: LocalSageMaker) -> None:
    found = quotas(offers)
    values = {name: each["Value"] for name, each in found.items()}
    assert values["ml.g5.xlarge for training job usage"] == 4
    assert values["ml.g5.xlarge for spot training job usage"] == 0
    assert values["ml.m5.large for spot training job usage"] == UNLIMITED
    assert values["ml.x9.big for spot training job usage"] == 3
    assert not [name for name in found if name.startswith("ml.p3.")]
    one = found["ml.g5.xlarge for training job usage"]
    assert one["Adjustable"] is True
    assert re.fullmatch("L-[0-9A-F]{8}", one["QuotaCode"])
    assert one["UsageMetric"]["MetricNamespace"] == "AWS/Usage"
    assert one["UsageMetric"]["MetricDimensions"]["Resource"] == "training-job/ml.g5.xlarge"
    same = offers.client("service-quotas").get_service_quota(ServiceCode="sagemaker", QuotaCode=one["QuotaCode"])
    assert same["Quota"] == one


def test_pages_of_a_hundred(offers: LocalSageMaker) -> None:
    client = offers.client("service-quotas")
    first = client.list_service_quotas(ServiceCode="sagemaker")
    second = client.list_service_quotas(ServiceCode="sagemaker", NextToken=first["NextToken"])
    assert len(first["Quotas"]) == 100
    assert "NextToken" not in second
    assert len(first["Quotas"]) + len(second["Quotas"]) == len(quotas(offers))


@pytest.mark.parametrize(
    ("operation", "request_", "code"),
    [
        ("list_service_quotas", {"ServiceCode": "sagemaker", "NextToken": "x"}, "InvalidPaginationTokenException"),
        ("list_service_quotas", {"ServiceCode": "sagemaker", "MaxResults": 101}, "ValidationException"),
        ("get_service_quota", {"ServiceCode": "sagemaker", "QuotaCode": "L-0"}, "NoSuchResourceException"),
        (
            "request_service_quota_increase",
            {"ServiceCode": "sagemaker", "QuotaCode": "L-0", "DesiredValue": 1},
            "NoSuchResourceException",
        ),
        ("get_service_quota", {"ServiceCode": "vpc", "QuotaCode": "L-0"}, "NoSuchResourceException"),
    ],
)
def test_what_is_refused(offers: LocalSageMaker, operation: str, request_: dict[str, Any], code: str) -> None:
    with pytest.raises(ClientError) as raised:
        getattr(offers.client("service-quotas"), operation)(**request_)
    assert raised.value.response["Error"]["Code"] == code


def test_an_increase_is_asked_for_and_granted(market: LocalSageMaker) -> None:
    client, name = market.client("service-quotas"), "ml.g5.xlarge for spot training job usage"
    wanted = {"ServiceCode": "sagemaker", "QuotaCode": quotas(market)[name]["QuotaCode"]}
    with pytest.raises(ClientError, match="IllegalArgumentException"):
        client.request_service_quota_increase(**wanted, DesiredValue=0)
    asked = client.request_service_quota_increase(**wanted, DesiredValue=2)["RequestedQuota"]
    assert (asked["QuotaName"], asked["DesiredValue"], asked["Status"]) == (name, 2, "PENDING")
    assert quotas(market)[name]["Value"] == 0
    market.set_quotas("ml.g5.xlarge:spot=2")
    assert quotas(market)[name]["Value"] == 2


def test_each_quota_has_a_code_of_its_own() -> None:
    found = list(listed(parse_quotas("")))
    assert len({each.code for each in found}) == len({each.name for each in found}) == 5 * len(INSTANCE_TYPES)
    assert not [each for each in listed(parse_quotas("*=unavailable")) if "training" in each.name]
    only_spot = [
        each.name for each in listed(parse_quotas("*:spot=unavailable")) if each.name.startswith("ml.c5.xlarge")
    ]
    assert "ml.c5.xlarge for training job usage" in only_spot
    assert "ml.c5.xlarge for spot training job usage" not in only_spot
