"""AWS's regions and zones, as far as prices and capacity are told by them."""

from __future__ import annotations

import re
from functools import lru_cache

import botocore.session

#: Where the Price List API has an endpoint [D: botocore's endpoints].
PRICING_REGIONS = ("us-east-1", "eu-central-1", "ap-south-1")
#: In each region [A]: AWS has from two to six.
ZONES = ("a", "b", "c")
_SHORT = {"north": "n", "south": "s", "east": "e", "west": "w", "central": "c"}
#: Of usage types, where they are not the region's short name in capitals [T].
_USAGE = {"us-east-1": "USE1", "eu-west-1": "EU", "ap-south-1": "APS3", "ca-central-1": "CAN1"}


@lru_cache(maxsize=1)
def regions() -> dict[str, str]:
    """Return AWS's regions with what the price list calls them: ``{"us-east-1": "US East (N. Virginia)", ...}``."""
    partitions = botocore.session.Session().get_data("endpoints")["partitions"]
    (known,) = (part["regions"] for part in partitions if part["partition"] == "aws")
    return {name: str(region["description"]) for name, region in sorted(known.items())}


def zones(region: str) -> list[str]:
    """Return a region's zones: ``us-east-1a``, ..."""
    return [f"{region}{letter}" for letter in ZONES]


def short_name(region: str) -> str:
    """Return a region's short name: ``use1`` for us-east-1, ``apne2`` for ap-northeast-2."""
    area, _, rest = region.partition("-")
    where, _, number = rest.rpartition("-")
    return f"{area}{''.join(_SHORT[part] for part in re.findall('|'.join(_SHORT), where))}{number}"


def zone_id(zone: str) -> str:
    """Return the ID of a zone: ``use1-az1`` for us-east-1a. Which letter has which ID differs on AWS by account [D]."""
    return f"{short_name(zone[:-1])}-az{ZONES.index(zone[-1]) + 1}"


def usage_prefix(region: str) -> str:
    """Return what a usage type of a region begins with: ``USE1``, ``EUC1``, ..."""
    return _USAGE.get(region, short_name(region).upper())
