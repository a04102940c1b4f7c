"""The price list: what there is to buy, as rows that a request selects from. No I/O.

The shape is that of GetProducts' answers [D, and T for the attributes]. Besides the price of training there are rows
that a client has to tell from it, as on AWS [T]: other components of the same ``instanceName`` at the same price, the
dearer Cluster of HyperPod and the one-off fee of a training plan, without component, for the largest types; of EC2,
Windows, and reserved capacity at 0.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from airflow_spot.local.market.on_demand import INSTANCE_TYPES, InstanceType, in_region
from airflow_spot.local.offers.regions import usage_prefix

#: When the table's figures were read.
PUBLISHED = "2026-09-27T00:00:00Z"
_TERM, _RATE = "JRTCKXETXF", "6YS6EN2CT7"
_LARGEST = ("ml.p4d.", "ml.p5.")
_CLUSTER = Decimal("1.026")  # ml.p4d: 25.910 to 25.251 [T]
_PLAN_FEE = Decimal("0.537")  # ml.p4d: 13.57 to 25.251 [T]
_WINDOWS = Decimal("0.046")  # a vCPU and hour [A]


@dataclass(frozen=True)
class Product:
    """One row of the price list.

    :param price: US dollars a unit.
    """

    service: str
    family: str
    attributes: dict[str, str]
    price: Decimal
    unit: str = "Hrs"

    @property
    def sku(self) -> str:
        """The row's number: the same at each start."""
        parts = (self.attributes.get(name, "") for name in ("usagetype", "operation", "capacitystatus", "regionCode"))
        digest = hashlib.blake2b("/".join((self.service, *parts)).encode(), digest_size=10).digest()
        return base64.b32encode(digest).decode()

    def value(self, field: str) -> str | None:
        """Return what a filter's field is of this row; None if it has none."""
        known = {"productFamily": self.family, "sku": self.sku, "ServiceCode": self.service}
        return known.get(field) or self.attributes.get(field)

    def document(self) -> dict[str, Any]:
        """Return the row as GetProducts shows it, in its ``aws_v1``."""
        sku = self.sku
        what = self.attributes.get("instanceName") or self.attributes.get("instanceType")
        price = {
            "unit": self.unit,
            "endRange": "Inf",
            "description": f"${self.price:f} per {what} {self.unit} in {self.attributes['location']}",
            "appliesTo": [],
            "rateCode": f"{sku}.{_TERM}.{_RATE}",
            "beginRange": "0",
            "pricePerUnit": {"USD": f"{self.price:.10f}"},
        }
        term = {
            "priceDimensions": {f"{sku}.{_TERM}.{_RATE}": price},
            "sku": sku,
            "effectiveDate": PUBLISHED,
            "offerTermCode": _TERM,
            "termAttributes": {},
        }
        return {
            "product": {"productFamily": self.family, "attributes": self.attributes, "sku": sku},
            "serviceCode": self.service,
            "terms": {"OnDemand": {f"{sku}.{_TERM}": term}},
            "version": PUBLISHED.translate({ord(each): None for each in "-:TZ"}),
            "publicationDate": PUBLISHED,
        }


def products(service: str, regions: dict[str, str]) -> Iterator[Product]:
    """Yield the rows of a service; none for one without prices here.

    :param service: ``AmazonSageMaker`` or ``AmazonEC2``.
    :param regions: names with what the price list calls them.
    """
    rows = {"AmazonSageMaker": _sagemaker, "AmazonEC2": _ec2}.get(service)
    if rows is not None:
        for region, location in regions.items():
            place = {"location": location, "locationType": "AWS Region", "regionCode": region}
            for each in INSTANCE_TYPES.values():
                yield from rows(each, region, place)


def _hardware(of: InstanceType) -> dict[str, str]:
    cpus = str(of.vcpus)
    # SageMaker's rows spell it in one way, EC2's in the other.
    return {"vCpu": cpus, "vcpu": cpus, "memory": f"{of.memory_gib} GiB", "gpu": str(of.gpus) if of.gpus else "N/A"}


def _sagemaker(of: InstanceType, region: str, place: dict[str, str]) -> Iterable[Product]:
    price = in_region(of.sagemaker, region)
    large = of.name.startswith(_LARGEST)
    parts = [("Training", "Train", price), ("Hosting", "Host", price), ("Processing", "Processing", price)]
    if large:
        parts.append(("Cluster", "Cluster", (price * _CLUSTER).quantize(Decimal("0.001"))))
    common = {
        **place,
        "servicecode": "AmazonSageMaker",
        "servicename": "Amazon SageMaker",
        "instanceName": of.name,
        "platoinstancename": of.ec2_name.partition(".")[0],
    }
    for component, usage, cost in parts:
        attributes = {
            **common,
            **_hardware(of),
            "component": component,
            "instanceType": f"{of.name}-{component}",
            "operation": "RunInstance",
            "usagetype": f"{usage_prefix(region)}-{usage}:{of.name}",
        }
        yield Product("AmazonSageMaker", "ML Instance", attributes, cost)
    if large:
        usage = f"{usage_prefix(region)}-TrainingPlanUpfrontFee:{of.name}"
        fee = (price * _PLAN_FEE).quantize(Decimal("0.01"))
        yield Product(
            "AmazonSageMaker", "ML Instance", {**common, "operation": "", "usagetype": usage}, fee, "Quantity"
        )


def _ec2(of: InstanceType, region: str, place: dict[str, str]) -> Iterable[Product]:
    price = in_region(of.ec2, region)
    # EC2's first region has no prefix.
    prefix = "" if region == "us-east-1" else f"{usage_prefix(region)}-"
    common = {
        **place,
        **_hardware(of),
        "servicecode": "AmazonEC2",
        "servicename": "Amazon Elastic Compute Cloud",
        "instanceType": of.ec2_name,
        "tenancy": "Shared",
        "preInstalledSw": "NA",
        "licenseModel": "No License required",
        "marketoption": "OnDemand",
    }
    for system, status, usage, operation, cost in (
        ("Linux", "Used", "BoxUsage", "RunInstances", price),
        ("Linux", "AllocatedCapacityReservation", "Reservation", "RunInstances", Decimal(0)),
        ("Linux", "UnusedCapacityReservation", "UnusedBox", "RunInstances", price),
        ("Windows", "Used", "BoxUsage", "RunInstances:0002", price + _WINDOWS * of.vcpus),
    ):
        attributes = {
            **common,
            "operatingSystem": system,
            "capacitystatus": status,
            "operation": operation,
            "usagetype": f"{prefix}{usage}:{of.ec2_name}",
        }
        yield Product("AmazonEC2", "Compute Instance", attributes, cost)
