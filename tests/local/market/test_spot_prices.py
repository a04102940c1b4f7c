"""Spot prices: a function of seed, type, zone and time, and dearer without capacity."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from airflow_spot.local.market.on_demand import INSTANCE_TYPES, in_region
from airflow_spot.local.market.spot_prices import HISTORY, history, price_at

NOW = 1.8e9
TYPES = st.sampled_from(sorted(INSTANCE_TYPES))
TIMES = st.floats(NOW - HISTORY, NOW)


@given(TYPES, TIMES)
def test_a_price_is_below_on_demand_and_dearer_without_capacity(name: str, time: float) -> None:
    on_demand = INSTANCE_TYPES[name].ec2
    price, short = (price_at(on_demand, name, "us-east-1a", time, short=each) for each in (False, True))
    assert 0 < price < short <= on_demand


@given(TYPES, TIMES, st.floats(0, 5 * 86400.0), st.lists(TIMES, max_size=3, unique=True).map(sorted))
def test_a_history_says_the_price_of_each_moment(name: str, start: float, lasts: float, turns: list[float]) -> None:
    def short(time: float) -> bool:
        return len([turn for turn in turns if turn <= time]) % 2 == 1

    on_demand, end = INSTANCE_TYPES[name].ec2, min(start + lasts, NOW)
    points = history(on_demand, name, "b", start=start, end=end, short=short, turns=turns)
    assert [point.time for point in points] == sorted((point.time for point in points), reverse=True)
    # The last one is what held at the start; no other is as old.
    assert points[-1].time <= start < min((point.time for point in points[:-1]), default=NOW + 1)
    for moment in (start, (start + end) / 2, end):
        (held, *_) = (point.price for point in points if point.time <= moment)
        assert held == price_at(on_demand, name, "b", moment, short=short(moment))


def test_seeds_and_zones_differ() -> None:
    def prices(zone: str, seed: int) -> list[Decimal]:
        points = history(
            Decimal(1), "ml.g5.xlarge", zone, start=NOW - HISTORY, end=NOW, short=lambda _: False, seed=seed
        )
        return [point.price for point in points]

    assert prices("a", 0) == prices("a", 0)
    assert len({tuple(prices(zone, seed)) for zone in "abc" for seed in (0, 1)}) == 6


def test_the_table_of_on_demand_prices() -> None:
    assert len(INSTANCE_TYPES) >= 25
    for each in INSTANCE_TYPES.values():
        assert each.ec2 < each.sagemaker < each.ec2 * Decimal("1.45")
        assert each.ec2_name == each.name.removeprefix("ml.")
    assert in_region(Decimal("1.006"), "us-east-1") == Decimal("1.006") < in_region(Decimal("1.006"), "eu-west-1")
