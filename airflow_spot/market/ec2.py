"""EC2's spot prices of the last 90 days, and its spot placement scores."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from airflow_spot.core.money.figures import Figure, unknown
from airflow_spot.core.money.market_answers import read_amount, read_score, read_spot_changes, read_time, spot_prices
from airflow_spot.core.money.market_values import SCORE_NOTE, SpotPrices, ec2_type
from airflow_spot.market.asking import Asking

PRICES_PERMISSION = "ec2:DescribeSpotPriceHistory"
SCORES_PERMISSION = "ec2:GetSpotPlacementScores"
#: An hour. AWS limits how many different sets may be scored in 24 hours, so the same set is not asked for twice in it.
MAX_AGE = 3600.0
#: How far back EC2 tells prices. Source: DescribeSpotPriceHistory in EC2's API reference.
DAYS = 90
_MOST_PAGES = 60


def prices(asking: Asking, client: Callable[[], Any], region: str, instance_type: str) -> Figure[SpotPrices]:
    """Return EC2's spot prices of Linux instances of a type."""
    kind = ec2_type(instance_type)

    def call() -> list[list[Any]]:
        found: list[list[Any]] = []
        token: str | None = None
        ec2, begin = client(), asking.now - timedelta(days=DAYS)
        for _ in range(_MOST_PAGES):
            page = ec2.describe_spot_price_history(
                InstanceTypes=[kind],
                ProductDescriptions=["Linux/UNIX"],
                StartTime=begin,
                MaxResults=1000,
                **({"NextToken": token} if token else {}),
            )
            changes = read_spot_changes(page.get("SpotPriceHistory"), kind)
            found += [[zone, round(at.timestamp()), str(price)] for zone, at, price in changes]
            token = page.get("NextToken")
            if not token:
                break
        return found

    value, read, why = asking.ask(f"{region}|{kind}", MAX_AGE, PRICES_PERMISSION, call)
    if why:
        return unknown(PRICES_PERMISSION, why)
    changes = []
    for entry in value if isinstance(value, list) else ():
        if isinstance(entry, list) and len(entry) == 3 and isinstance(entry[0], str):
            at, price = read_time(entry[1]), read_amount(entry[2])
            if at is not None and price is not None:
                changes.append((entry[0], at, price))
    found = spot_prices(changes, asking.now)
    if found is None:
        return unknown(PRICES_PERMISSION, f"EC2 has no spot price of {kind} in {region}")
    return Figure(found, PRICES_PERMISSION, read)


def placement_score(
    asking: Asking, client: Callable[[], Any], region: str, instance_type: str, count: int
) -> Figure[int]:
    """
    Return how likely EC2 finds so many spot instances of a type in a region, 1 to 10; the note is in ``why``.

    :param count: the target capacity, in instances.
    """
    kind = ec2_type(instance_type)

    def call() -> int | None:
        answer = client().get_spot_placement_scores(
            InstanceTypes=[kind],
            TargetCapacity=count,
            TargetCapacityUnitType="units",
            SingleAvailabilityZone=False,
            RegionNames=[region],
        )
        return read_score(answer.get("SpotPlacementScores"), region)

    value, read, why = asking.ask(f"{region}|{kind}|{count}", MAX_AGE, SCORES_PERMISSION, call)
    if why:
        return unknown(SCORES_PERMISSION, why)
    score = read_score([{"Score": value}], region)
    if score is None:
        return unknown(SCORES_PERMISSION, f"no score of {kind} in {region}")
    return Figure(score, SCORES_PERMISSION, read, SCORE_NOTE)
