"""
AWS's answers about a market, read: any JSON in, a value or None out.

Nothing here raises: an answer that is not as it is documented is one that says nothing.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta, timezone
from decimal import Decimal, InvalidOperation
from typing import Any

from airflow_spot.core.money.market_values import Band, PriceRange, QuotaFigure, SpotPrices, ec2_type, sagemaker_type
from airflow_spot.core.money.prices import Money

#: ``r`` of the advisor's data: percent of instances interrupted in the trailing month. Source: its own ``ranges``.
_BANDS: tuple[tuple[int, int | None], ...] = ((0, 5), (5, 10), (10, 15), (15, 20), (20, None))
_TRAINING = re.compile(r"(?:^|-)Train:", re.IGNORECASE)
_QUOTA = re.compile(r"(?P<type>ml\.[\w.-]+) for (?P<spot>spot )?training job usage")
#: What a product of EC2's on-demand Linux instances says, where it says it.
_EC2 = {
    "operatingSystem": "linux",
    "tenancy": "shared",
    "preInstalledSw": "na",
    "capacitystatus": "used",
    "marketoption": "ondemand",
}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _items(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else []


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def read_amount(value: Any) -> Decimal | None:
    """Return a price: a finite decimal that is more than 0; else None."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float, Decimal)):
        return None
    try:
        amount = Decimal(str(value).strip())
    except (InvalidOperation, ValueError):
        return None
    return amount if amount.is_finite() and Decimal(0) < amount < Decimal(10) ** 9 else None


def read_time(value: Any) -> datetime | None:
    """Return a moment: of a ``datetime``, ISO text, or seconds since 1970; in UTC. None where it is none."""
    try:
        if isinstance(value, datetime):
            at = value
        elif isinstance(value, str):
            at = datetime.fromisoformat(value.strip().replace("Z", "+00:00"))
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            at = datetime.fromtimestamp(value, timezone.utc)
        else:
            return None
        return (at if at.tzinfo else at.replace(tzinfo=timezone.utc)).astimezone(timezone.utc)
    except (ValueError, OverflowError, OSError):
        return None


def read_sagemaker_price(products: Any, region: str, instance_type: str) -> Money | None:
    """
    Return what an hour of one instance costs in on-demand training; None where no product says it.

    :param products: ``PriceList`` of ``pricing:GetProducts`` for AmazonSageMaker: JSON text or objects. Both shapes
        are read: with ``component``, and with ``platoinstancetype`` or nothing but a usage type, as
        ``EUW1-Train:ml.g5.xlarge``.
    """
    wanted = sagemaker_type(instance_type)
    return _dearest(product for product in _products(products) if _trains(product, region, wanted))


def read_ec2_price(products: Any, region: str, instance_type: str) -> Money | None:
    """Return what an hour of EC2's own on-demand Linux instance costs, from ``pricing:GetProducts`` for AmazonEC2."""
    wanted = ec2_type(instance_type)

    def fits(product: Mapping[str, Any]) -> bool:
        said = _mapping(_mapping(product.get("product")).get("attributes"))
        if said.get("instanceType") != wanted or said.get("regionCode", region) != region:
            return False
        return all(_text(said[name]).lower() == value for name, value in _EC2.items() if name in said)

    return _dearest(product for product in _products(products) if fits(product))


def _products(products: Any) -> Iterator[Mapping[str, Any]]:
    for product in _items(products):
        if isinstance(product, str):
            try:
                yield _mapping(json.loads(product))
            except (ValueError, RecursionError):
                continue
        else:
            yield _mapping(product)


def _trains(product: Mapping[str, Any], region: str, wanted: str) -> bool:
    said = _mapping(_mapping(product.get("product")).get("attributes"))
    usage, kind = _text(said.get("usagetype")), _text(said.get("instanceType"))
    name = _text(said.get("instanceName")) or kind.partition("-")[0]
    if name in ("", "NA"):  # of most rows the usage type alone names the instance
        name = usage.rpartition(":")[2]
    if name != wanted or said.get("regionCode", region) != region or "Outposts" in _text(said.get("locationType")):
        return False
    # Others are SpotTraining, Hosting, Notebook, Processing, Cluster, Studio-JupyterLab, ...
    kinds = [_text(said[key]).lower() for key in ("component", "platoinstancetype") if said.get(key)]
    return (
        all(each == "training" for each in kinds)
        if kinds
        else bool(kind.lower().endswith("-training") or _TRAINING.search(usage))
    )


def _dearest(products: Iterable[Mapping[str, Any]]) -> Money | None:
    """Return the highest of the prices an hour: a free tier is a product too."""
    found = [price for product in products for price in _hourly(product)]
    return max(found, key=lambda price: price.amount, default=None)


def _hourly(product: Mapping[str, Any]) -> Iterator[Money]:
    for term in _mapping(_mapping(product.get("terms")).get("OnDemand")).values():
        for dimension in _mapping(_mapping(term).get("priceDimensions")).values():
            said = _mapping(dimension)
            if not _text(said.get("unit", "Hrs")).lower().startswith("h"):
                continue
            for currency, value in _mapping(said.get("pricePerUnit")).items():
                if (amount := read_amount(value)) is not None and re.fullmatch(r"[A-Z]{3}", _text(currency)):
                    yield Money(amount, currency)


def read_spot_changes(history: Any, instance_type: str) -> list[tuple[str, datetime, Decimal]]:
    """
    Return zone, time and price of each entry about a type, in order of time.

    :param history: ``SpotPriceHistory`` of ``ec2:DescribeSpotPriceHistory``.
    """
    wanted, found = ec2_type(instance_type), []
    for entry in map(_mapping, _items(history)):
        zone = _text(entry.get("AvailabilityZone")) or _text(entry.get("AvailabilityZoneId"))
        at, price = read_time(entry.get("Timestamp")), read_amount(entry.get("SpotPrice"))
        about = entry.get("InstanceType", wanted) == wanted and "Linux/UNIX" in _text(
            entry.get("ProductDescription", "Linux/UNIX")
        )
        if about and zone and at is not None and price is not None:
            found.append((zone, at, price))
    return sorted(found, key=lambda each: (each[1], each[0], each[2]))


def spot_prices(changes: Iterable[tuple[str, datetime, Decimal]], now: datetime) -> SpotPrices | None:
    """
    Return what changes of the price come to; None where there are none.

    A price holds until the next change, so the one that held when a span began belongs to its range.
    """
    zones: dict[str, list[tuple[datetime, Decimal]]] = {}
    for zone, at, price in sorted(changes):
        if at <= now + timedelta(hours=1):
            zones.setdefault(zone, []).append((at, price))
    if not zones:
        return None
    ranges = {}
    for zone, priced in zones.items():
        week, quarter = (_within(priced, now - timedelta(days=days)) for days in (7, 90))
        ranges[zone] = PriceRange(priced[-1][1], min(week), max(week), min(quarter), max(quarter))
    return SpotPrices(
        now={zone: each.now for zone, each in ranges.items()},
        low_7=min(each.low_7 for each in ranges.values()),
        high_7=max(each.high_7 for each in ranges.values()),
        low_90=min(each.low_90 for each in ranges.values()),
        high_90=max(each.high_90 for each in ranges.values()),
        zones=ranges,
        changes={zone: tuple(priced) for zone, priced in zones.items()},
    )


def _within(priced: list[tuple[datetime, Decimal]], begin: datetime) -> list[Decimal]:
    before = [price for at, price in priced if at <= begin]
    return before[-1:] + [price for at, price in priced if at > begin]


def read_score(scores: Any, region: str) -> int | None:
    """Return a region's score, 1 to 10, from ``SpotPlacementScores`` of ``ec2:GetSpotPlacementScores``."""
    for entry in map(_mapping, _items(scores)):
        if entry.get("Region", region) != region or entry.get("AvailabilityZoneId"):
            continue
        score = _whole(entry.get("Score"))
        if score is not None and 1 <= score <= 10:
            return score
    return None


def read_bands(document: Any, region: str) -> dict[str, Band]:
    """
    Return the interruption bands of a region's Linux instances, by EC2's type.

    :param document: the Spot Instance Advisor's JSON: ``spot_advisor[region]["Linux"][type] = {"s": ..., "r": ...}``.
    """
    types = _mapping(_mapping(_mapping(_mapping(document).get("spot_advisor")).get(region)).get("Linux"))
    return {name: band for name, said in types.items() if isinstance(name, str) and (band := read_band(said))}


def read_band(said: Any) -> Band | None:
    """Return the band of ``{"s": savings percent, "r": 0 to 4}``; None where it is none."""
    entry = _mapping(said)
    nth, saves = _whole(entry.get("r")), _whole(entry.get("s"))
    if nth is None or saves is None or not 0 <= nth < len(_BANDS):
        return None
    return Band(*_BANDS[nth], min(100, saves))


def _number(value: Any) -> float | None:
    """Return a finite number that is not negative; else None."""
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        return None
    try:
        number = float(value)
    except (OverflowError, ValueError):
        return None
    return number if 0 <= number < math.inf else None


def _whole(value: Any) -> int | None:
    number = _number(value)
    return int(number) if number is not None and number == int(number) else None


def training_quotas(quotas: Any) -> list[dict[str, Any]]:
    """
    Return the quotas of training instances, each with nothing but what :func:`read_quota` needs: JSON-clean.

    :param quotas: ``Quotas`` of ``servicequotas:ListServiceQuotas`` for sagemaker.
    """
    kept = ("QuotaName", "QuotaCode", "Value", "Adjustable", "UsageMetric")
    return [
        {name: entry[name] for name in kept if name in entry}
        for entry in map(_mapping, _items(quotas))
        if _QUOTA.fullmatch(_text(entry.get("QuotaName")))
    ]


def read_quota(quotas: Any, instance_type: str, spot: bool, region: str) -> QuotaFigure | None:
    """Return the quota of a type's training instances, on spot or not; None where it is not among them."""
    if (entry := find_quota(quotas, instance_type, spot)) is None:
        return None
    code = _text(entry.get("QuotaCode"))
    url = f"https://{region}.console.aws.amazon.com/servicequotas/home/services/sagemaker/quotas/{code}"
    limit = float(entry["Value"])
    return QuotaFigure(str(entry["QuotaName"]), code, limit, None, entry.get("Adjustable") is True, url)


def find_quota(quotas: Any, instance_type: str, spot: bool) -> Mapping[str, Any] | None:
    """Return the entry of a type's training instances, whose ``Value`` is a number that is not negative."""
    for entry in map(_mapping, _items(quotas)):
        named = _QUOTA.fullmatch(_text(entry.get("QuotaName")))
        if named is None or named["type"] != sagemaker_type(instance_type) or bool(named["spot"]) != spot:
            continue
        if _number(entry.get("Value")) is not None:
            return entry
    return None


def read_usage_metric(entry: Any) -> tuple[str, str, dict[str, str]] | None:
    """Return namespace, name and dimensions of the CloudWatch metric of a quota's use; None where it has none."""
    metric = _mapping(_mapping(entry).get("UsageMetric"))
    namespace, name = _text(metric.get("MetricNamespace")), _text(metric.get("MetricName"))
    dimensions = {key: value for key, value in _mapping(metric.get("MetricDimensions")).items() if _text(value)}
    return (namespace, name, dimensions) if namespace and name and all(map(_text, dimensions)) else None


def read_used(result: Any) -> float | None:
    """Return the last value of one of ``MetricDataResults`` of ``cloudwatch:GetMetricData``, the newest first."""
    values = _items(_mapping(result).get("Values"))
    return _number(values[0]) if values else None
