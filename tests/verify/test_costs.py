"""What the experiments can cost, and what --max-cost leaves out."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_spot.verify.costs import PRICES, ceiling, known_price, within
from airflow_spot.verify.experiment import Setup, setups_of
from airflow_spot.verify.pace import OVERHEAD_SECONDS, Length, on_aws, on_local
from airflow_spot.verify.scratch import Scratch
from airflow_spot.verify.suite import EXPERIMENTS

PACE = on_aws(600)


def nothing(scratch: Scratch) -> None:
    raise AssertionError("no setup runs here")


SETUPS = st.lists(st.lists(st.sampled_from(Length), max_size=3)).map(
    lambda lists: [Setup(str(number), tuple(jobs), nothing) for number, jobs in enumerate(lists)]
)
AMOUNTS = st.decimals(0, 20, places=3)


@given(SETUPS, AMOUNTS, AMOUNTS)
def test_what_runs_never_costs_more_than_the_limit(setups: list[Setup], price: Decimal, limit: Decimal) -> None:
    run, left = within(setups, price, PACE, limit)
    assert sum(ceiling(setup, price, PACE) for setup in run) <= limit
    assert sorted([*run, *left], key=setups.index) == setups


@given(SETUPS, AMOUNTS, AMOUNTS)
def test_it_stops_before_the_first_that_would_exceed_it(setups: list[Setup], price: Decimal, limit: Decimal) -> None:
    run, left = within(setups, price, PACE, limit)
    if not left:
        return
    before = [setup for setup in run if setups.index(setup) < setups.index(left[0])]
    assert sum(ceiling(setup, price, PACE) for setup in [*before, left[0]]) > limit
    after = [setup for setup in run if setups.index(setup) > setups.index(left[0])]
    assert all(ceiling(setup, price, PACE) == 0 for setup in after)


@given(SETUPS, AMOUNTS)
def test_with_money_enough_all_run(setups: list[Setup], price: Decimal) -> None:
    assert within(setups, price, PACE, Decimal("1e9")) == (setups, [])


def test_a_ceiling_is_each_jobs_limit_and_what_comes_after() -> None:
    setup = Setup("p", (Length.BRIEF, Length.TRAINS), nothing)
    seconds = PACE.max_run[Length.BRIEF] + PACE.max_run[Length.TRAINS] + 2 * OVERHEAD_SECONDS
    assert ceiling(setup, Decimal("3600"), PACE) == seconds
    assert PACE.grace <= OVERHEAD_SECONDS


def test_the_whole_suite_costs_less_than_the_default_limit() -> None:
    setups = setups_of(EXPERIMENTS)
    assert sum(ceiling(setup, PRICES["ml.m5.large"], PACE) for setup in setups) < 1


def test_a_price_is_assumed_for_the_default_alone() -> None:
    assert known_price("ml.m5.large", "us-east-1") == Decimal("0.115")
    assert known_price("ml.m5.large", "eu-central-1") is None
    assert known_price("ml.p4d.24xlarge", "us-east-1") is None


@pytest.mark.parametrize("pace", [on_aws(60), on_aws(3600), on_local(0), on_local(120)])
def test_every_job_has_a_limit_of_minutes(pace: object) -> None:
    assert all(0 < seconds <= 3600 for seconds in pace.max_run.values())  # type: ignore[attr-defined]
    assert set(pace.max_run) == set(Length)  # type: ignore[attr-defined]
