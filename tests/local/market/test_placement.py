"""Placement scores, and how many may be asked for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_spot.local.clock import Clock
from airflow_spot.local.errors import ServiceError
from airflow_spot.local.market.capacity import Capacity, Glance
from airflow_spot.local.market.placement import MOST_CONFIGURATIONS, PERIOD, Configurations, score
from airflow_spot.local.market.spec import State


class Hand(Clock):
    """A clock that is set by hand."""

    time = 1000.0

    def now(self) -> float:
        return self.time


GLANCES = st.sampled_from(State).map(lambda state: Glance(((0.0, state),)))


@given(st.lists(GLANCES, max_size=5), st.sampled_from(["us-east-1", "us-east-1a", ""]), st.integers(1, 2_000_000_000))
def test_a_score_is_from_one_to_ten(glances: list[Glance], place: str, capacity: int) -> None:
    found = score(glances, place, capacity)
    up = any(glance.state is State.UP for glance in glances)
    assert (2 <= found <= 10) if up else found == 1
    if len(glances) < 3:
        assert found <= 3


def test_what_was_asked_for_in_a_day_is_free() -> None:
    clock = Hand()
    asked = Configurations(clock)
    for number in range(MOST_CONFIGURATIONS):
        clock.time += 1
        asked.ask(number)
    with pytest.raises(ServiceError, match="MaxConfigLimitExceeded"):
        asked.ask("new")
    clock.time += PERIOD - MOST_CONFIGURATIONS
    asked.ask(0)
    with pytest.raises(ServiceError, match="MaxConfigLimitExceeded"):
        asked.ask("new")
    clock.time += 2  # the second one is a day old now
    asked.ask("new")


def test_a_glance_starts_no_pools_time() -> None:
    clock = Hand()
    capacity = Capacity(clock, "script:up=10,down=5", "always")
    clock.time += 100
    glance = capacity.glance("ml.g5.xlarge", spot=True)
    assert glance == Glance(((1000.0, State.UP),))
    assert capacity.pools(spot=True) == {}
    capacity.outlook("ml.g5.xlarge", True)
    clock.time += 12
    glance = capacity.glance("ml.g5.xlarge", spot=True)
    assert glance.turns == ((1100.0, State.UP), (1110.0, State.DOWN))
    assert [glance.short(time) for time in (0.0, 1100.0, 1109.9, 1110.0, 9999.0)] == [False, False, False, True, True]
    capacity.switch(spot=True, on=False)
    clock.time += 5
    assert capacity.glance("ml.g5.xlarge", spot=True).turns == (*glance.turns, (1112.0, State.DOWN))
    capacity.switch(spot=True, on=True)
    assert capacity.glance("ml.g5.xlarge", spot=True).state is State.UP
    capacity.set_markets(spot="never")
    assert capacity.glance("ml.g5.xlarge", spot=True).turns == ((1117.0, State.DOWN),)
