"""A stand-in for the five services of the market, each of which may be refused, and counts what it was asked."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from typing import Any

from botocore.exceptions import ClientError

NOW = datetime(2026, 3, 1, tzinfo=timezone.utc)
REGION = "eu-west-1"
#: Type: SageMaker's and EC2's on-demand price, EC2's spot prices of two zones, score, spot quota, on-demand quota.
TYPES: dict[str, tuple[str, str, tuple[str, str], int, float, float]] = {
    "ml.g5.2xlarge": ("1.69", "1.35", ("0.54", "0.67"), 3, 2.0, 4.0),
    "ml.g6.2xlarge": ("1.36", "1.09", ("0.76", "0.87"), 1, 1.0, 2.0),
    "ml.p4d.24xlarge": ("25.25", "21.96", ("9.00", "11.00"), 1, 0.0, 0.0),
}
SOURCES = (
    "pricing:GetProducts",
    "ec2:DescribeSpotPriceHistory",
    "ec2:GetSpotPlacementScores",
    "servicequotas:ListServiceQuotas",
)
ADVISOR = {
    "spot_advisor": {
        REGION: {
            "Linux": {
                "g5.2xlarge": {"s": 55, "r": 1},
                "g6.2xlarge": {"s": 25, "r": 0},
                "p4d.24xlarge": {"s": 55, "r": 4},
            }
        }
    }
}


def refused(operation: str, code: str = "AccessDeniedException") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "no"}}, operation)


class FakeAws:
    """
    Answers as AWS does.

    :param denied: the permissions that are missing.
    :param page: entries in a page.
    """

    def __init__(self, denied: Iterable[str] = (), *, page: int = 2, used: dict[str, float] | None = None) -> None:
        self.denied = set(denied)
        self.page = page
        self.used = used
        self.made: list[tuple[str, str]] = []
        self.calls: list[tuple[str, dict[str, Any]]] = []
        #: Raised instead of an answer.
        self.error: Exception | None = None
        #: Returned instead of an answer.
        self.answer: Any = None

    def __call__(self, service: str, region: str) -> FakeAws:
        self.made.append((service, region))
        return self

    def asked(self, operation: str) -> list[dict[str, Any]]:
        return [given for name, given in self.calls if name == operation]

    def _ask(self, permission: str, given: dict[str, Any]) -> Any:
        self.calls.append((permission, given))
        if self.error is not None:
            raise self.error
        if permission in self.denied:
            raise refused(permission)
        return self.answer

    def _paged(self, key: str, entries: list[Any], given: dict[str, Any]) -> dict[str, Any]:
        begin = int(given.get("NextToken") or 0)
        more = {"NextToken": str(begin + self.page)} if begin + self.page < len(entries) else {}
        return {key: entries[begin : begin + self.page], **more}

    def get_products(self, **given: Any) -> Any:
        if (answer := self._ask("pricing:GetProducts", given)) is not None:
            return answer
        wanted = {each["Field"]: each["Value"] for each in given["Filters"]}
        entries = []
        for kind, (training, ec2, *_) in TYPES.items():
            if given["ServiceCode"] == "AmazonSageMaker":
                for component, price in (("Hosting", "0.01"), ("Notebook", "0.02"), ("Training", training)):
                    attributes = {"instanceName": kind, "regionCode": REGION, "component": component}
                    entries.append(_product(attributes, price, wanted))
            else:
                attributes = {"instanceType": kind[3:], "regionCode": REGION, "operatingSystem": "Linux"}
                attributes |= {"tenancy": "Shared", "preInstalledSw": "NA", "capacitystatus": "Used"}
                entries.append(_product(attributes, ec2, wanted))
        return self._paged("PriceList", [each for each in entries if each], given)

    def describe_spot_price_history(self, **given: Any) -> Any:
        if (answer := self._ask("ec2:DescribeSpotPriceHistory", given)) is not None:
            return answer
        (kind,) = given["InstanceTypes"]
        found = []
        for zone, price in zip("ab", TYPES.get(f"ml.{kind}", ("", "", ()))[2], strict=False):
            for days, factor in ((100, 1.5), (30, 1.2), (3, 1.1), (0.5, 1.0)):
                at = NOW - timedelta(days=days)
                found.append({"AvailabilityZone": f"{REGION}{zone}", "InstanceType": kind, "Timestamp": at})
                found[-1] |= {"ProductDescription": "Linux/UNIX", "SpotPrice": f"{float(price) * factor:.4f}"}
        return self._paged("SpotPriceHistory", found, given)

    def get_spot_placement_scores(self, **given: Any) -> Any:
        if (answer := self._ask("ec2:GetSpotPlacementScores", given)) is not None:
            return answer
        (kind,) = given["InstanceTypes"]
        return {"SpotPlacementScores": [{"Region": REGION, "Score": TYPES[f"ml.{kind}"][3]}]}

    def list_service_quotas(self, **given: Any) -> Any:
        if (answer := self._ask("servicequotas:ListServiceQuotas", given)) is not None:
            return answer
        found = []
        for nth, (kind, (*_, spot, on_demand)) in enumerate(TYPES.items()):
            for usage, value in (("spot training job", spot), ("training job", on_demand), ("transform job", 9.0)):
                name = f"{kind} for {usage} usage"
                entry = {"QuotaName": name, "QuotaCode": f"L-{nth}{len(found)}", "Value": value, "Adjustable": True}
                metric = {"MetricNamespace": "AWS/Usage", "MetricName": "ResourceCount"}
                metric |= {"MetricDimensions": {"Service": "SageMaker", "Resource": name}}
                found.append({**entry, **({"UsageMetric": metric} if self.used is not None else {})})
        return self._paged("Quotas", found, given)

    def get_metric_data(self, **given: Any) -> Any:
        if (answer := self._ask("cloudwatch:GetMetricData", given)) is not None:
            return answer
        results = []
        for query in given["MetricDataQueries"]:
            dimensions = {each["Name"]: each["Value"] for each in query["MetricStat"]["Metric"]["Dimensions"]}
            value = (self.used or {}).get(dimensions["Resource"])
            results.append({"Id": query["Id"], "Values": [] if value is None else [value, 99.0]})
        return {"MetricDataResults": results}


def _product(attributes: dict[str, str], price: str, wanted: dict[str, str]) -> str:
    if any(attributes.get(field) != value for field, value in wanted.items()):
        return ""
    dimensions = {"d": {"unit": "Hrs", "pricePerUnit": {"USD": price}}}
    terms = {"OnDemand": {"t": {"priceDimensions": dimensions}}}
    return json.dumps({"product": {"attributes": attributes}, "terms": terms})
