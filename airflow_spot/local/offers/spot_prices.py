"""EC2's spot price history, and which types it offers where, from the local market."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

from airflow_spot.local.api.call import Call
from airflow_spot.local.backend import Backend, Operations
from airflow_spot.local.market.on_demand import INSTANCE_TYPES, InstanceType, in_region
from airflow_spot.local.market.quotas import is_offered
from airflow_spot.local.market.spot_prices import HISTORY, PricePoint, history
from airflow_spot.local.offers.paging import paged
from airflow_spot.local.offers.query import check_members, filters, instant, invalid, iso, texts, whole
from airflow_spot.local.offers.regions import zone_id, zones

#: The only system that has prices here; the older name of it is understood too.
PRODUCT = "Linux/UNIX"
_PRODUCTS = (PRODUCT, "Linux/UNIX (Amazon VPC)")
_MOST = 1000
_HISTORY_FILTERS = ("availability-zone", "availability-zone-id", "instance-type", "product-description")
_HISTORY_MEMBERS = (
    *("InstanceType", "ProductDescription", "Filter", "AvailabilityZone", "AvailabilityZoneId"),
    *("StartTime", "EndTime", "MaxResults", "NextToken"),
)
_OFFERING_MEMBERS = ("LocationType", "Filter", "MaxResults", "NextToken")


def describe_spot_price_history(backend: Backend, call: Call) -> dict[str, Any]:
    """Answer with the changes of prices of the last 90 days at most, newest first, and those in force at the start."""
    params = call.params
    check_members(params, _HISTORY_MEMBERS)
    wanted = filters(params, _HISTORY_FILTERS)
    products = [*texts(params, "ProductDescription"), *wanted.get("product-description", [])]
    now = backend.clock.now()
    end = min(instant(params, "EndTime", now), now)
    start = max(instant(params, "StartTime", now - HISTORY), now - HISTORY)
    places = [zone for zone in zones(call.region) if _is_wanted(zone, params, wanted)]
    types = [each for each in _types(backend, spot=True) if _names(each, texts(params, "InstanceType"), wanted)]
    found: list[tuple[PricePoint, str, str]] = []
    if start <= end and (not products or set(products) & set(_PRODUCTS)):
        for each in types:
            glance = backend.capacity.glance(each.name, spot=True)
            turns = [turn for turn, _ in glance.turns]
            price = in_region(each.ec2, call.region)
            for zone in places:
                points = history(price, each.name, zone, start=start, end=end, short=glance.short, turns=turns)
                found.extend((point, each.ec2_name, zone) for point in points)
    # A page goes on where the one before has ended, whatever has come on top meanwhile.
    shown, token = paged(
        found,
        _page_of(params, _MOST, least=1),
        lambda one: (-one[0].time, one[1], one[2]),
        size=_MOST,
        error="InvalidNextToken",
    )
    rows = [
        {
            "availabilityZone": zone,
            "availabilityZoneId": zone_id(zone),
            "instanceType": name,
            "productDescription": PRODUCT,
            "spotPrice": f"{point.price:.6f}",
            "timestamp": iso(point.time),
        }
        for point, name, zone in shown
    ]
    return {"spotPriceHistorySet": rows, "nextToken": token}


def describe_instance_type_offerings(backend: Backend, call: Call) -> dict[str, Any]:
    """Answer with the types of the price table that the region, or each of its zones, has."""
    params = call.params
    check_members(params, _OFFERING_MEMBERS)
    wanted = filters(params, ("instance-type", "location"))
    kind = params.get("LocationType", "region")
    locations = {
        "region": [call.region],
        "availability-zone": zones(call.region),
        "availability-zone-id": [zone_id(zone) for zone in zones(call.region)],
    }.get(kind)
    if locations is None:
        raise invalid("LocationType", kind)
    rows = [
        {"instanceType": each.ec2_name, "locationType": kind, "location": location}
        for each in _types(backend, spot=False)
        for location in locations
        if _names(each, [], wanted) and _matches(location, wanted.get("location"))
    ]
    shown, token = paged(
        rows,
        _page_of(params, _MOST, least=5),
        lambda row: (row["instanceType"], row["location"]),
        size=_MOST,
        error="InvalidNextToken",
    )
    return {"instanceTypeOfferingSet": shown, **({"nextToken": token} if token else {})}


def _types(backend: Backend, *, spot: bool) -> list[InstanceType]:
    return [each for each in INSTANCE_TYPES.values() if is_offered(backend.quotas, each.name, spot=spot)]


def _names(each: InstanceType, names: list[str], wanted: dict[str, list[str]]) -> bool:
    return (not names or each.ec2_name in names) and _matches(each.ec2_name, wanted.get("instance-type"))


def _is_wanted(zone: str, params: dict[str, Any], wanted: dict[str, list[str]]) -> bool:
    return (
        params.get("AvailabilityZone") in (None, zone)
        and params.get("AvailabilityZoneId") in (None, zone_id(zone))
        and _matches(zone, wanted.get("availability-zone"))
        and _matches(zone_id(zone), wanted.get("availability-zone-id"))
    )


def _matches(value: str, patterns: list[str] | None) -> bool:
    return patterns is None or any(fnmatchcase(value, pattern) for pattern in patterns)


def _page_of(params: dict[str, Any], most: int, *, least: int) -> dict[str, Any]:
    return {**params, "MaxResults": whole(params, "MaxResults", most, least=least, most=most)}


OPERATIONS: Operations = {
    "DescribeSpotPriceHistory": describe_spot_price_history,
    "DescribeInstanceTypeOfferings": describe_instance_type_offerings,
}
