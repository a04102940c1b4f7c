"""What a job that holds spot instances is told of the market."""

from __future__ import annotations

import math
from typing import cast

import pytest

from airflow_spot.local.clock import Clock
from airflow_spot.local.market.capacity import Capacity, Stay

TYPE = "ml.m5.large"


class Hands:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.time = 1000.0

    def now(self) -> float:
        return self.time


@pytest.fixture
def hands() -> Hands:
    return Hands()


def market(hands: Hands, spec: str) -> Capacity:
    capacity = Capacity(cast(Clock, hands), spec, "always")
    capacity.outlook(TYPE, spot=True)  # its time starts
    return capacity


@pytest.mark.parametrize(
    ("spec", "held", "now", "stay"),
    [
        ("script:up=20,down=10,up=inf", 0, 19, Stay(1)),
        ("script:up=20,down=10,up=inf", 0, 20, Stay(0, 1020)),
        ("script:up=20,down=10,up=inf", 0, 60, Stay(0, 1020)),  # a late look: there is capacity again
        ("script:up=20,down=10,up=inf", 30, 60, Stay(math.inf)),
        ("script:up=20,up=10,down=5", 0, 25, Stay(5)),
        ("script:up=20,fail=10,up=inf", 19, 31, Stay(0, 1020)),
        ("always", 0, 60, Stay(math.inf)),
        ("never", 0, 60, Stay(0, 1000)),
    ],
)
def test_how_long_instances_stay(hands: Hands, spec: str, held: float, now: float, stay: Stay) -> None:
    capacity = market(hands, spec)
    hands.time += now
    assert capacity.stay(TYPE, 1000.0 + held) == stay


def test_a_market_that_is_off_takes_them_and_a_new_one_does_not(hands: Hands) -> None:
    capacity = market(hands, "script:up=20,down=10")
    capacity.switch(spot=True, on=False)
    assert capacity.stay(TYPE, 1000.0) == Stay(0, 1000)
    hands.time += 25
    assert capacity.stay(TYPE, 1000.0) == Stay(0, 1000)
    capacity.set_markets(spot="script:up=20,down=10")
    assert capacity.stay(TYPE, 1000.0) == Stay(20)
