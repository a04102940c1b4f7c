"""On-demand prices from the Price List API: SageMaker's training, and EC2's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from airflow_spot.core.money.figures import Figure, unknown
from airflow_spot.core.money.market_answers import read_amount, read_ec2_price, read_sagemaker_price
from airflow_spot.core.money.market_values import ec2_type, sagemaker_type
from airflow_spot.core.money.prices import Money
from airflow_spot.market.asking import Asking

PERMISSION = "pricing:GetProducts"
#: A day: list prices change a few times a year.
MAX_AGE = 86_400.0
_MOST_PAGES = 20


def endpoint_region(region: str) -> str:
    """
    Return where the prices of a region are asked for: the Price List API has few endpoints.

    Source: Price List Query API in the AWS Billing user guide.
    """
    if region.startswith("cn-"):
        return "cn-northwest-1"
    return "ap-south-1" if region.startswith("ap-") else "us-east-1"


def sagemaker_price(asking: Asking, client: Callable[[], Any], region: str, instance_type: str) -> Figure[Money]:
    """Return what an hour of one instance costs in on-demand training."""
    kind = sagemaker_type(instance_type)

    def call() -> dict[str, str]:
        # Older products name the type with what it is for, and no instanceName.
        for field, value in (("instanceName", kind), ("instanceType", f"{kind}-Training"), ("instanceType", kind)):
            found = _products(client(), "AmazonSageMaker", {field: value, "regionCode": region})
            if price := read_sagemaker_price(list(found), region, kind):
                return {"amount": str(price.amount), "currency": price.currency}
        return {}

    return _figure(asking, f"AmazonSageMaker|{region}|{kind}", call, f"no training price of {kind} in {region}")


def ec2_price(asking: Asking, client: Callable[[], Any], region: str, instance_type: str) -> Figure[Money]:
    """Return what an hour of EC2's own on-demand Linux instance costs, which its spot discount is measured by."""
    kind = ec2_type(instance_type)
    filters = {
        "instanceType": kind,
        "regionCode": region,
        "operatingSystem": "Linux",
        "tenancy": "Shared",
        "preInstalledSw": "NA",
        "capacitystatus": "Used",
    }

    def call() -> dict[str, str]:
        price = read_ec2_price(list(_products(client(), "AmazonEC2", filters)), region, kind)
        return {"amount": str(price.amount), "currency": price.currency} if price else {}

    return _figure(asking, f"AmazonEC2|{region}|{kind}", call, f"no on-demand price of EC2's {kind} in {region}")


def _figure(asking: Asking, key: str, call: Callable[[], Any], none: str) -> Figure[Money]:
    value, read, why = asking.ask(key, MAX_AGE, PERMISSION, call)
    if why:
        return unknown(PERMISSION, why)
    found = value if isinstance(value, dict) else {}
    amount, currency = read_amount(found.get("amount")), found.get("currency")
    if amount is None or not isinstance(currency, str):
        return unknown(PERMISSION, none)
    return Figure(Money(amount, currency), PERMISSION, read)


def _products(client: Any, service: str, filters: dict[str, str]) -> Iterator[Any]:
    asked = [{"Type": "TERM_MATCH", "Field": field, "Value": value} for field, value in filters.items()]
    token: str | None = None
    for _ in range(_MOST_PAGES):
        more = {"NextToken": token} if token else {}
        page = client.get_products(ServiceCode=service, Filters=asked, FormatVersion="aws_v1", MaxResults=100, **more)
        yield from page.get("PriceList") or ()
        token = page.get("NextToken")
        if not token:
            return
