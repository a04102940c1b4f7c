"""GetSpotPlacementScores, from what the local market has now."""

from __future__ import annotations

import re
from typing import Any

from airflow_spot.local.api.call import Call
from airflow_spot.local.backend import Backend, Operations
from airflow_spot.local.errors import ServiceError
from airflow_spot.local.market.placement import score
from airflow_spot.local.market.quotas import is_offered
from airflow_spot.local.offers.paging import paged
from airflow_spot.local.offers.query import check_members, invalid, texts, whole
from airflow_spot.local.offers.regions import regions, zone_id, zones

_MEMBERS = (
    *("InstanceType", "TargetCapacity", "TargetCapacityUnitType", "SingleAvailabilityZone", "RegionName"),
    *("MaxResults", "NextToken"),
)
_TYPE = re.compile(r"[a-z][a-z0-9-]*\.[a-z0-9-]+")
_UNITS = ("units", "vcpu", "memory-mib")
_MOST_REGIONS = 10
#: AWS answers with the best ten regions or zones [D].
_SHOWN = 10


def get_spot_placement_scores(backend: Backend, call: Call) -> dict[str, Any]:
    """Answer with the scores of regions or zones, best first.

    The local market has no regions: a type's pool is the same in all of them. Types that the region has not do not
    count; others need not be in the price table.
    """
    params = call.params
    check_members(params, _MEMBERS)
    types, names = sorted(set(texts(params, "InstanceType"))), texts(params, "RegionName")
    if not types:
        raise ServiceError("MissingParameter", "InstanceTypes: Local SageMaker scores instance types, not requirements")
    for name in types:
        if _TYPE.fullmatch(name) is None or name.startswith("ml."):
            raise invalid("InstanceTypes", name)
    if len(names) > _MOST_REGIONS:
        raise ServiceError(
            "InvalidParameterValue", f"RegionNames has {len(names)} regions; it can have {_MOST_REGIONS}"
        )
    for name in names:
        if name not in regions():
            raise invalid("RegionNames", name)
    if "TargetCapacity" not in params:
        raise ServiceError("MissingParameter", "The request must contain the parameter TargetCapacity")
    capacity = whole(params, "TargetCapacity", 1, least=1, most=2_000_000_000)
    unit = params.get("TargetCapacityUnitType", "units")
    if unit not in _UNITS:
        raise invalid("TargetCapacityUnitType", unit)
    most = whole(params, "MaxResults", 1000, least=10, most=1000)
    single = params.get("SingleAvailabilityZone") == "true"
    backend.configurations.ask((tuple(types), capacity, unit, single, tuple(sorted(names))))

    offered = [f"ml.{name}" for name in types if is_offered(backend.quotas, f"ml.{name}", spot=True)]
    glances = [backend.capacity.glance(name, spot=True) for name in offered]
    rows: list[dict[str, Any]] = []
    for region in names or regions():
        if single:
            for zone in zones(region):
                rows.append(
                    {"region": region, "availabilityZoneId": zone_id(zone), "score": score(glances, zone, capacity)}
                )
        else:
            rows.append({"region": region, "score": score(glances, region, capacity)})
    best = sorted(rows, key=_place)[:_SHOWN]
    shown, token = paged(best, {**params, "MaxResults": most}, _place, size=most, error="InvalidNextToken")
    return {"spotPlacementScoreSet": shown, **({"nextToken": token} if token else {})}


def _place(row: dict[str, Any]) -> tuple[Any, ...]:
    return -row["score"], row["region"], row.get("availabilityZoneId", "")


OPERATIONS: Operations = {"GetSpotPlacementScores": get_spot_placement_scores}
