"""What the experiments can cost, and what --max-cost leaves out."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_spot.verify.costs import PRICES, ceiling, known_price, within
from airflow_spot.verify.experiment import Probe, probes_of
from airflow_spot.verify.pace import OVERHEAD_SECONDS, Length, on_aws, on_local
from airflow_spot.verify.scratch import Scratch
from airflow_spot.verify.suite import EXPERIMENTS

PACE = on_aws(600)


def nothing(scratch: Scratch) -> None:
    raise AssertionError("no probe runs here")


PROBES = st.lists(st.lists(st.sampled_from(Length), max_size=3)).map(
    lambda lists: [Probe(str(number), tuple(jobs), nothing) for number, jobs in enumerate(lists)]
)
AMOUNTS = st.decimals(0, 20, places=3)


@given(PROBES, AMOUNTS, AMOUNTS)
def test_what_runs_never_costs_more_than_the_limit(probes: list[Probe], price: Decimal, limit: Decimal) -> None:
    run, left = within(probes, price, PACE, limit)
    assert sum(ceiling(probe, price, PACE) for probe in run) <= limit
    assert sorted([*run, *left], key=probes.index) == probes


@given(PROBES, AMOUNTS, AMOUNTS)
def test_it_stops_before_the_first_that_would_exceed_it(probes: list[Probe], price: Decimal, limit: Decimal) -> None:
    run, left = within(probes, price, PACE, limit)
    if not left:
        return
    before = [probe for probe in run if probes.index(probe) < probes.index(left[0])]
    assert sum(ceiling(probe, price, PACE) for probe in [*before, left[0]]) > limit
    after = [probe for probe in run if probes.index(probe) > probes.index(left[0])]
    assert all(ceiling(probe, price, PACE) == 0 for probe in after)


@given(PROBES, AMOUNTS)
def test_with_money_enough_all_run(probes: list[Probe], price: Decimal) -> None:
    assert within(probes, price, PACE, Decimal("1e9")) == (probes, [])


def test_a_ceiling_is_each_jobs_limit_and_what_comes_after() -> None:
    probe = Probe("p", (Length.BRIEF, Length.TRAINS), nothing)
    seconds = PACE.max_run[Length.BRIEF] + PACE.max_run[Length.TRAINS] + 2 * OVERHEAD_SECONDS
    assert ceiling(probe, Decimal("3600"), PACE) == seconds
    assert PACE.grace <= OVERHEAD_SECONDS


def test_the_whole_suite_costs_less_than_the_default_limit() -> None:
    probes = probes_of(EXPERIMENTS)
    assert sum(ceiling(probe, PRICES["ml.m5.large"], PACE) for probe in probes) < 1


def test_a_price_is_known_only_where_it_was_looked_up() -> None:
    assert known_price("ml.m5.large", "us-east-1") == Decimal("0.115")
    assert known_price("ml.m5.large", "eu-central-1") is None
    assert known_price("ml.p4d.24xlarge", "us-east-1") is None


@pytest.mark.parametrize("pace", [on_aws(60), on_aws(3600), on_local(0), on_local(120)])
def test_every_job_has_a_limit_of_minutes(pace: object) -> None:
    assert all(0 < seconds <= 3600 for seconds in pace.max_run.values())  # type: ignore[attr-defined]
    assert set(pace.max_run) == set(Length)  # type: ignore[attr-defined]
