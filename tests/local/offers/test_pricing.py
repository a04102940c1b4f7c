"""The Price List API, by an unchanged client."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from botocore.exceptions import ClientError

from airflow_spot.local import LocalSageMaker
from airflow_spot.local.market.on_demand import INSTANCE_TYPES

LINUX = {"operatingSystem": "Linux", "tenancy": "Shared", "preInstalledSw": "NA", "capacitystatus": "Used"}


def rows(service: LocalSageMaker, code: str, kind: str = "TERM_MATCH", **fields: str) -> list[dict[str, Any]]:
    filters = [{"Type": kind, "Field": name, "Value": value} for name, value in fields.items()]
    pages = service.client("pricing", "us-east-1").get_paginator("get_products")
    found = pages.paginate(ServiceCode=code, Filters=filters).build_full_result()["PriceList"]
    return [json.loads(text) for text in found]


def price(row: dict[str, Any]) -> Decimal:
    (term,) = row["terms"]["OnDemand"].values()
    (dimension,) = term["priceDimensions"].values()
    return Decimal(dimension["pricePerUnit"]["USD"])


def test_an_hour_of_training(offers: LocalSageMaker) -> None:
    (row,) = rows(offers, "AmazonSageMaker", instanceName="ml.g5.xlarge", regionCode="us-east-1", component="Training")
    assert (price(row), row["serviceCode"]) == (Decimal("1.408"), "AmazonSageMaker")
    assert row["product"]["productFamily"] == "ML Instance"
    wanted = {
        "instanceType": "ml.g5.xlarge-Training",
        "usagetype": "USE1-Train:ml.g5.xlarge",
        "operation": "RunInstance",
    }
    assert wanted.items() <= row["product"]["attributes"].items()
    (term,) = row["terms"]["OnDemand"].values()
    (dimension,) = term["priceDimensions"].values()
    assert (dimension["unit"], term["sku"]) == ("Hrs", row["product"]["sku"])
    (same,) = rows(offers, "AmazonSageMaker", instanceType="ml.g5.xlarge-Training", regionCode="us-east-1")
    assert same == row


def test_an_hour_of_the_same_instance_of_ec2_is_cheaper(offers: LocalSageMaker) -> None:
    (row,) = rows(offers, "AmazonEC2", instanceType="g5.xlarge", regionCode="us-east-1", **LINUX)
    assert price(row) == Decimal("1.006")
    # Without capacitystatus a client also gets what is reserved, which costs nothing, as on AWS.
    every = rows(offers, "AmazonEC2", instanceType="g5.xlarge", regionCode="us-east-1")
    assert {row["product"]["attributes"]["operatingSystem"] for row in every} == {"Linux", "Windows"}
    assert 0 in {price(row) for row in every}


def test_other_components_of_the_same_instance_have_other_prices(offers: LocalSageMaker) -> None:
    found = rows(offers, "AmazonSageMaker", instanceName="ml.p4d.24xlarge", regionCode="us-east-1")
    prices = {row["product"]["attributes"].get("component"): price(row) for row in found}
    assert prices["Training"] == prices["Hosting"] < prices["Cluster"]
    # A one-off fee, and the cheapest of them.
    assert prices[None] == min(prices.values())


def test_other_regions_and_all_pages(offers: LocalSageMaker) -> None:
    found = rows(offers, "AmazonSageMaker", component="Training", instanceName="ml.m5.large")
    prices = {row["product"]["attributes"]["regionCode"]: price(row) for row in found}
    assert len(prices) == len(found) > 30
    assert prices["us-west-2"] == prices["us-east-1"] < prices["eu-central-1"]
    training = rows(offers, "AmazonSageMaker", component="Training", regionCode="eu-central-1")
    gone = {name for name in INSTANCE_TYPES if name.startswith("ml.p3.")}
    assert {row["product"]["attributes"]["instanceName"] for row in training} == set(INSTANCE_TYPES) - gone
    every = rows(offers, "AmazonEC2", regionCode="eu-central-1")
    assert len(every) == 4 * len(training) > 90
    client = offers.client("pricing", "us-east-1")
    request = {"ServiceCode": "AmazonEC2", "MaxResults": 7}
    first = client.get_products(**request)
    second = client.get_products(**request, NextToken=first["NextToken"])
    assert len(first["PriceList"]) == len(second["PriceList"]) == 7
    assert not set(first["PriceList"]) & set(second["PriceList"])


@pytest.mark.parametrize(
    ("kind", "value", "count"),
    [("ANY_OF", "ml.m5.large,ml.c5.xlarge", 2), ("CONTAINS", "ml.trn1.", 2), ("EQUALS", "a", 0)],
)
def test_other_ways_to_compare(offers: LocalSageMaker, kind: str, value: str, count: int) -> None:
    found = rows(offers, "AmazonSageMaker", kind, instanceName=value)
    assert len([row for row in found if row["product"]["attributes"].get("component") == "Training"]) == 34 * count


def test_what_a_row_has_not_selects_nothing(offers: LocalSageMaker) -> None:
    assert rows(offers, "AmazonSageMaker", flavour="sweet") == []
    assert rows(offers, "AmazonSageMaker", instanceName="ml.x9.big") == []


@pytest.mark.parametrize(
    ("region", "request_", "code"),
    [
        ("eu-west-1", {"ServiceCode": "AmazonSageMaker"}, "UnknownEndpoint"),
        ("ap-south-1", {"ServiceCode": "AmazonS3"}, "NotFoundException"),
        ("us-east-1", {"ServiceCode": "AmazonEC2", "NextToken": "x"}, "InvalidNextTokenException"),
    ],
)
def test_what_has_no_answer(offers: LocalSageMaker, region: str, request_: dict[str, Any], code: str) -> None:
    with pytest.raises(ClientError) as raised:
        offers.client("pricing", region).get_products(**request_)
    assert raised.value.response["Error"]["Code"] == code


def test_the_services_that_have_prices(offers: LocalSageMaker) -> None:
    found = offers.client("pricing", "us-east-1").describe_services()["Services"]
    assert [each["ServiceCode"] for each in found] == ["AmazonEC2", "AmazonSageMaker"]
    assert {"instanceName", "component", "regionCode", "productFamily"} <= set(found[1]["AttributeNames"])
