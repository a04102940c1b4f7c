"""Advice: ranges that are the right way round, money that is exact, and an order with reasons."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_spot.core.ladder import read_ladder
from airflow_spot.core.money.advice import Row, TypeFigures, Work, advise, to_json
from airflow_spot.core.money.advice_ladder import (
    advise_ladder,
    ladder_json,
    left_out,
    nothing_known,
    order_types,
    requests_of,
)
from airflow_spot.core.money.experience import Experience
from airflow_spot.core.money.figures import Figure, unknown
from airflow_spot.core.money.market_answers import spot_prices
from airflow_spot.core.money.market_values import Band, QuotaFigure
from airflow_spot.core.money.prices import Money
from airflow_spot.core.money.totals import RunTotals
from tests.core.cases import NOW

G5, G6, P4 = "ml.g5.2xlarge", "ml.g6.2xlarge", "ml.p4d.24xlarge"


def price(amount: str, currency: str = "USD") -> Figure[Money]:
    return Figure(Money(Decimal(amount), currency), "pricing:GetProducts", NOW)


def quota(limit: float, used: float | None = None, adjustable: bool = True) -> Figure[QuotaFigure]:
    return Figure(QuotaFigure("q", "L-1", limit, used, adjustable, "https://console/L-1"), "quotas", NOW)


def seen(hours: float, interruptions: int, *, billed: float = 0.5, changeovers: tuple[float, ...] = ()) -> Experience:
    trained = round(hours * 3600)
    totals = RunTotals(1, interruptions, training_seconds=trained, billable_seconds=round(trained * billed))
    return Experience(totals, hours, (), changeovers)


def figures(kind: str = G5, on_demand: str | None = "1.50", **more: Any) -> TypeFigures:
    """A type with a price; anything else is not known unless it is given."""
    found: dict[str, Any] = {} if on_demand is None else {"on_demand": price(on_demand)}
    if spot := more.pop("spot", None):
        changes = [("a", NOW - timedelta(days=ago), Decimal(amount)) for ago, amount in spot]
        found |= {"spot": Figure(spot_prices(changes, NOW), "ec2", NOW), "ec2_on_demand": price("1.00")}
    if band := more.pop("band", None):
        found["band"] = Figure(Band(*band), "advisor", NOW)
    return TypeFigures(kind, **{**found, **more})


def row(work: Work | None = None, **more: Any) -> Row:
    (found,) = advise([figures(**more)], work or Work(6))
    return found


def amounts(of: Row) -> tuple[Decimal, Decimal]:
    assert of.spot_cost is not None
    low, high = of.spot_cost
    return low.amount, high.amount


@pytest.mark.parametrize(
    ("hours", "count", "told"), [(6, 1, "9.00"), (0.1, 1, "0.15"), (6, 4, "36.00"), (1 / 3, 1, None)]
)
def test_on_demand_costs_hours_times_price_exactly(hours: float, count: int, told: str | None) -> None:
    cost = row(Work(hours, count)).on_demand_cost
    assert cost == Money(Decimal("1.50") * count * Decimal(str(hours)), "USD")
    assert told is None or (cost is not None and cost.amount == Decimal(told))


def test_without_a_price_no_money_but_time() -> None:
    found = row(on_demand=None, band=(5, 10, 60))
    assert (found.on_demand_cost, found.spot_cost, found.expected_cost, found.useful_hour) == (None,) * 4
    assert found.spot_hours[1] > 6


def test_an_interruption_costs_half_a_checkpoint_interval_and_a_changeover() -> None:
    work = Work(6, checkpoint_minutes=20, changeover_minutes=5)
    found = row(work, band=(5, 10, 60))
    assert found.interruptions == (pytest.approx(0.05 * 6 / 730), pytest.approx(0.10))
    for hours, times in zip(found.spot_hours, found.interruptions, strict=True):
        assert hours == pytest.approx(6 + times * (10 + 5) / 60)


def test_cost_on_spot_is_that_time_less_the_discount() -> None:
    found = row(Work(10, checkpoint_minutes=20, changeover_minutes=5), spot=[(30, "0.60"), (2, "0.40")])
    low, high = found.discount
    assert (low, high) == (Decimal("0.4"), Decimal("0.6"))
    cheap, dear = amounts(found)
    assert cheap == Decimal("1.50") * Decimal(str(found.spot_hours[0])) * Decimal("0.4")
    assert dear == Decimal("1.50") * Decimal(str(found.spot_hours[1])) * Decimal("0.6")
    assert found.discount_why == "EC2's spot discount of 90 days"


@pytest.mark.parametrize(
    ("more", "percent", "why"),
    [
        ({}, (0, 90), "not known: AWS says up to 90 %"),
        ({"band": (0, 5, 62)}, (62, 62), "the advisor's savings on EC2"),
        ({"band": (0, 5, 62), "spot": [(1, "0.30")]}, (70, 70), "EC2's spot discount of 90 days"),
        (
            {"spot": [(1, "0.30")], "experience": seen(2, 0, billed=0.68)},
            (32, 32),
            "what SageMaker billed this account",
        ),
        ({"spot": [(1, "0.30")], "experience": seen(0.5, 0)}, (70, 70), "EC2's spot discount of 90 days"),
        ({"spot": [(1, "1.30")]}, (0, 0), "EC2's spot discount of 90 days"),
        ({"spot": [(1, "0.30")], "ec2_on_demand": price("1", "CNY")}, (0, 90), "not known: AWS says up to 90 %"),
    ],
)
def test_the_discount_is_by_the_best_source_that_there_is(
    more: dict[str, Any], percent: tuple[int, int], why: str
) -> None:
    found = row(**more)
    assert tuple(100 * each for each in found.discount) == percent
    assert found.discount_why == why


@pytest.mark.parametrize(
    ("more", "expected", "why"),
    [
        ({}, (0, 0.5), "not known"),
        ({"band": (20, None, 60)}, (0.2 * 6 / 730, 0.5), "the advisor's band"),
        ({"band": (0, 5, 60), "experience": seen(24, 4)}, (0.5, 1.75), "what this account had"),
        ({"experience": seen(60, 0)}, (0, 0.1), "what this account had"),
        ({"band": (0, 5, 60), "experience": seen(0.5, 3)}, (0, 0.05), "the advisor's band"),
    ],
)  # fmt: skip
def test_interruptions_are_by_this_account_before_the_advisor(
    more: dict[str, Any], expected: tuple[float, float], why: str
) -> None:
    found = row(**more)
    assert found.interruptions == (pytest.approx(expected[0]), pytest.approx(expected[1]))
    assert found.interruptions_why == why


def test_a_longer_training_and_more_instances_are_interrupted_more() -> None:
    assert row(Work(48), band=(5, 10, 60)).interruptions[1] == pytest.approx(0.2)
    assert row(Work(6, 4), band=(5, 10, 60)).interruptions[1] == pytest.approx(0.4)


def test_the_changeover_is_what_it_took_here() -> None:
    found = row(Work(6, checkpoint_minutes=0, changeover_minutes=5), experience=seen(6, 1, changeovers=(600.0, 1200.0)))
    assert found.spot_hours[1] == pytest.approx(6 + found.interruptions[1] * 15 / 60)


def test_ec2s_discounts_are_by_zone_and_may_be_negative() -> None:
    (zone,) = row(spot=[(30, "1.20"), (3, "0.70"), (1, "0.40")]).zones
    assert (zone.now, zone.low_7, zone.high_7, zone.low_90, zone.high_90) == (60.0, -20.0, 60.0, -20.0, 60.0)


MONEY = st.integers(1, 4000).map(lambda cents: f"{cents / 100:.2f}")
SPOT = st.lists(st.tuples(st.integers(0, 95), MONEY), min_size=1, max_size=5)
ANY = st.builds(
    lambda on_demand, spot, band, hours, times, billed: (
        {"on_demand": on_demand}
        | ({"spot": spot} if spot else {})
        | ({"band": (*band, 60)} if band else {})
        | ({"experience": seen(hours, times, billed=billed)} if hours else {})
    ),
    MONEY,
    st.none() | SPOT,
    st.sampled_from([None, (0, 5), (5, 10), (10, 15), (15, 20), (20, None)]),
    st.sampled_from([None, 0.2, 5.0, 400.0]),
    st.integers(0, 50),
    st.sampled_from([0.0, 0.4, 1.0, 1.7]),
)
WORKS = st.builds(
    Work, st.floats(0.01, 2000), st.integers(1, 50), st.floats(0, 600), st.floats(0, 120)
)  # fmt: skip


@settings(max_examples=80)
@given(ANY, WORKS)
def test_ranges_are_the_right_way_round_and_savings_between_0_and_100_percent(more: dict[str, Any], work: Work) -> None:
    found = row(work, **more)
    assert 0 <= found.interruptions[0] <= found.interruptions[1]
    assert work.hours <= found.spot_hours[0] <= found.spot_hours[1]
    assert 0 <= found.discount[0] <= found.discount[1] <= 1
    cheap, dear = amounts(found)
    assert 0 <= cheap <= dear
    assert found.on_demand_cost == Money(Decimal(more["on_demand"]) * work.count * Decimal(str(work.hours)), "USD")
    json.dumps(to_json([found]))


def test_the_cheapest_useful_hour_comes_first_with_the_reason() -> None:
    ordered = order_types(
        [
            figures(G5, "2.00", spot=[(1, "0.50")], spot_quota=quota(2), band=(0, 5, 60)),
            figures(G6, "1.50", spot=[(1, "0.50")], spot_quota=quota(2), score=Figure(3, "ec2", NOW)),
        ]
    )
    assert [kind for kind, _ in ordered] == [G6, G5]
    assert ordered[0][1] == "about 0.79 USD an hour of useful work, spot quota 2, placement score 3"
    assert ordered[1][1] == "about 1.01 USD an hour of useful work, spot quota 2, interrupted <5 % a month"


def test_what_this_account_saw_is_the_reason_before_the_advisor() -> None:
    ((_, why),) = order_types([figures(band=(0, 5, 60), experience=seen(41, 3))])
    assert why.endswith("here: 3 interruptions in 41 h")


def test_a_type_that_trains_faster_may_be_cheaper() -> None:
    types = [figures(G5, "2.00", band=(0, 5, 60)), figures(G6, "1.50", band=(0, 5, 60))]
    assert [kind for kind, _ in order_types(types, Work(6))] == [G6, G5]
    assert [kind for kind, _ in order_types(types, Work(6, hours_of={G5: 3}))] == [G5, G6]


def test_a_quota_that_is_too_small_leaves_a_type_out_with_the_reason_and_a_used_one_puts_it_behind() -> None:
    rows = advise(
        [
            figures(P4, "1.00", spot_quota=quota(0), on_demand_quota=quota(1, adjustable=False)),
            figures(G5, "2.00", spot_quota=quota(4, 3), on_demand_quota=quota(2)),
            figures(G6, "3.00", spot_quota=quota(2, 0), on_demand_quota=unknown("x", "y")),
        ],
        Work(1, 2),
    )
    steps = advise_ladder(rows)
    assert ladder_json(steps) == [G6, G5, {"on_demand": [G5, G6]}]
    assert "of the spot quota 4, 3 are in use" in steps[1].why and "spot quota 2" in steps[0].why
    assert left_out(rows) == [
        (P4, "the quota 'q' (L-1) is 0, and the job needs 2: request an increase at https://console/L-1")
    ]
    assert steps[2].why == "where spot has no capacity: 4.00 USD for the whole training"


def test_no_quota_at_all_is_no_ladder() -> None:
    rows = advise([figures(spot_quota=quota(0), on_demand_quota=quota(0))], Work())
    assert advise_ladder(rows) == []
    assert [(each.instance_type, each.count) for each in requests_of(rows)] == [(G5, 1)]
    spot_only = advise([figures(spot_quota=quota(1), on_demand_quota=quota(0))], Work())
    assert ladder_json(advise_ladder(spot_only)) == [G5]


def test_quotas_to_ask_for_are_in_the_order_of_the_ladder_to_come_without_those_that_aws_does_not_raise() -> None:
    small = [
        figures(G5, "2.00", spot_quota=quota(1)),
        figures(G6, "1.50", spot_quota=quota(0)),
        figures(P4, "1.00", spot_quota=quota(0, adjustable=False)),
    ]
    asked = requests_of(advise(small, Work(1, 2)))
    assert [(each.instance_type, each.quota.limit, each.count) for each in asked] == [(G6, 0, 2), (G5, 1, 2)]
    assert all(each.why.startswith("about ") and "quota" not in each.why for each in asked)
    assert requests_of(advise([*small, figures("ml.m5.large", spot_quota=quota(2))], Work(1, 2))) == []
    assert requests_of(advise([*small, figures("ml.m5.large")], Work(1, 2))) == [], "a quota that is not known may do"


def test_types_of_which_nothing_is_known_are_no_ladder() -> None:
    empty = advise([figures(G5, None), figures(G6, None)], Work())
    assert nothing_known(empty) and advise_ladder(empty) == [] == requests_of(empty)
    for one in (
        figures(G6, "1.00"),
        figures(G6, None, score=Figure(2, "ec2", NOW)),
        figures(G6, None, on_demand_quota=quota(1)),
        figures(G6, None, experience=seen(5, 0)),
    ):
        rows = advise([figures(G5, None), one], Work())
        assert not nothing_known(rows) and advise_ladder(rows)


def test_prices_that_are_not_known_or_in_another_currency_come_behind() -> None:
    ordered = order_types(
        [
            figures(P4, None),
            replace(figures(G6, None), on_demand=price("0.01", "CNY")),
            figures(G5, "9.00"),
            figures("ml.m5.large", "8.00"),
        ]
    )
    assert [kind for kind, _ in ordered] == ["ml.m5.large", G5, P4, G6]
    assert ordered[2][1] == "its price is not known, spot quota not known"
    assert ordered[3][1] == "its price is in CNY, spot quota not known"


def test_where_nothing_is_known_the_score_decides_and_else_the_order_given() -> None:
    scored = [figures(G5, None), figures(G6, None, score=Figure(2, "ec2", NOW)), figures(P4, None)]
    assert [kind for kind, _ in order_types(scored)] == [G6, G5, P4]


def test_the_operator_takes_the_ladder() -> None:
    kinds = [f"ml.g5.{size}xlarge" for size in (2, 4, 8, 12, 16, 24, 48)]
    steps = advise_ladder(advise([figures(kind) for kind in kinds], Work()))
    assert len(steps[-1].types) == 5, "InstancePreferences takes five"
    rungs = read_ladder(json.dumps(ladder_json(steps)))
    assert [rung.instance_type for rung in rungs] == [*kinds, kinds[0]]
    assert [rung.on_spot for rung in rungs] == [True] * 7 + [False]


def test_json_has_the_source_or_the_reason_of_each_figure() -> None:
    (told,) = to_json([row(band=(0, 5, 60), experience=seen(41, 3), spot_quota=quota(2, 1))])
    assert told["on_demand_price"]["source"] == "pricing:GetProducts"
    assert told["placement_score"] == {"value": None, "source": "ec2:GetSpotPlacementScores", "why": "not asked"}
    assert told["spot_quota"]["value"]["used"] == 1
    assert told["here"] == {
        "jobs": 1,
        "trained_hours": 41,
        "interruptions": 3,
        "discount_percent": 50.0,
        "longest_wait_seconds": None,
    }
