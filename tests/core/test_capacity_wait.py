"""When spot can be had: by scores, by prices that have been low for a while, by the clock."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_spot.core.capacity_wait import Window, by_price, by_score, lowest_share
from airflow_spot.core.money.figures import Figure, unknown
from airflow_spot.core.money.market_values import SpotPrices
from airflow_spot.core.money.prices import Money
from airflow_spot.core.parameter_errors import InvalidParameterError
from tests.core.cases import NOW, later

Change = tuple[datetime, Decimal]


def prices(**zones: list[tuple[int, str]]) -> SpotPrices:
    """By zone: minutes before NOW, and the price from then on."""
    changes = {
        zone: tuple((later(minutes=-ago), Decimal(price)) for ago, price in said) for zone, said in zones.items()
    }
    return SpotPrices({}, Decimal(0), Decimal(0), Decimal(0), Decimal(0), changes=changes)


def score(value: int) -> Figure[int]:
    return Figure(value, "ec2:GetSpotPlacementScores", NOW)


@given(st.dictionaries(st.sampled_from(["ml.a", "ml.b", "ml.c"]), st.integers(1, 10), min_size=1), st.integers(1, 10))
def test_the_highest_score_wins_and_of_equal_ones_the_first(scores: dict[str, int], least: int) -> None:
    types = sorted(scores)
    verdict = by_score(types, {kind: score(value) for kind, value in scores.items()}, least)
    best = max(scores.values())
    assert verdict.done == (best >= least)
    if verdict.done:
        assert verdict.instance_type == next(kind for kind in types if scores[kind] == best)
    assert {kind: each["value"] for kind, each in verdict.figures.items()} == scores


def test_a_score_that_is_not_known_is_waited_for_and_said() -> None:
    none = unknown("ec2:GetSpotPlacementScores", "needs ec2:GetSpotPlacementScores")
    verdict = by_score(["ml.a"], {"ml.a": none}, 1)
    assert not verdict.done
    assert "nothing is known of ml.a (needs ec2:GetSpotPlacementScores)" in verdict.why
    assert by_score(["ml.a", "ml.b"], {"ml.a": none, "ml.b": score(4)}, 3).instance_type == "ml.b"


@pytest.mark.parametrize(
    ("zones", "share"),
    [
        ({"a": [(90, "0.30")]}, 0.3),
        ({"a": [(90, "0.30"), (30, "0.60")]}, 0.6),  # it rose within the hour
        ({"a": [(90, "0.60"), (60, "0.30")]}, 0.3),  # and here fell, just in time
        ({"a": [(90, "0.60"), (59, "0.30")]}, 0.6),
        ({"a": [(59, "0.30")]}, None),  # it was not read for so long
        ({"a": [(90, "0.60")], "b": [(90, "0.40")]}, 0.4),
        ({}, None),
    ],
)
def test_a_price_counts_by_the_highest_of_its_while_in_the_best_zone(
    zones: dict[str, list[tuple[int, str]]], share: float | None
) -> None:
    assert lowest_share(prices(**zones), Decimal(1), 3600, NOW) == share


amounts = st.decimals("0.01", "9", places=2)
histories = st.lists(st.tuples(st.integers(1, 10_000), amounts), min_size=1, max_size=8).map(sorted)


@given(st.dictionaries(st.sampled_from("abc"), histories, max_size=3), st.integers(1, 9000))
def test_a_share_is_never_negative_and_never_below_what_it_costs_now(
    zones: dict[str, list[tuple[int, Decimal]]], minutes: int
) -> None:
    said = prices(**{zone: [(ago, str(price)) for ago, price in reversed(each)] for zone, each in zones.items()})
    share = lowest_share(said, Decimal(3), minutes * 60, NOW)
    if share is not None:
        assert share > 0
        assert share >= min(float(changes[-1][1] / 3) for changes in said.changes.values())


def test_the_cheapest_part_of_on_demand_wins() -> None:
    spot = {
        "ml.a": Figure(prices(a=[(90, "0.50")]), "ec2", NOW),
        "ml.b": Figure(prices(a=[(90, "0.80")]), "ec2", NOW),
        "ml.c": unknown("ec2", "needs ec2:DescribeSpotPriceHistory"),
    }
    full = {kind: Figure(Money(Decimal(amount), "USD"), "pricing", NOW) for kind, amount in (("ml.a", 1), ("ml.b", 2))}
    full["ml.c"] = full["ml.a"]
    verdict = by_price(["ml.a", "ml.b", "ml.c"], spot, full, 0.5, 3600, NOW)
    assert (verdict.instance_type, verdict.done) == ("ml.b", True)
    assert "40% of on-demand" in verdict.why
    assert verdict.figures["ml.c"]["why"] == "needs ec2:DescribeSpotPriceHistory"
    none = by_price(["ml.a", "ml.b", "ml.c"], spot, full, 0.3, 3600, NOW)
    assert not none.done
    assert "none is 30% or less" in none.why
    only = by_price(["ml.c"], spot, full, 0.3, 3600, NOW)
    assert "nothing is known of ml.c (needs ec2:DescribeSpotPriceHistory)" in only.why


# ---- windows


def window(text: str, zone: str = "UTC") -> Window:
    return Window.read("window", text, "window_timezone", zone)


@pytest.mark.parametrize(
    ("text", "clock", "is_open"),
    [
        ("22:00-06:00", "21:59", False),
        ("22:00-06:00", "22:00", True),
        ("22:00-06:00", "05:59", True),
        ("22:00-06:00", "06:00", False),
        ("9:30 - 17:00", "09:30", True),
        ("9:30 - 17:00", "17:00", False),
    ],
)
def test_a_window_may_go_over_midnight(text: str, clock: str, is_open: bool) -> None:
    assert window(text).is_open(datetime.fromisoformat(f"2026-01-02T{clock}:00+00:00")) is is_open


@given(
    st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1), timezones=st.just(timezone.utc)),
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata"]),
    st.sampled_from(["22:00-06:00", "09:30-17:00", "00:00-00:01", "23:59-00:00", "02:30-03:10"]),
)
def test_it_opens_within_a_day_and_is_open_then(now: datetime, zone: str, text: str) -> None:
    asked = window(text, zone)
    opens = asked.opens(now)
    assert now <= opens <= now + timedelta(hours=25)
    assert (opens == now) or not asked.is_open(now)
    skipped = opens.astimezone(ZoneInfo(zone)).time().replace(second=0, microsecond=0) != asked.begins
    assert asked.is_open(opens) or skipped  # of the hour that is left out in spring


@pytest.mark.parametrize(
    ("text", "zone", "field"),
    [
        ("22-06", "UTC", "window"),
        ("25:00-06:00", "UTC", "window"),
        ("06:00-06:00", "UTC", "window"),
        ("22:00-06:00", "Mars/Olympus", "window_timezone"),
        ("22:00-06:00", "../etc/passwd", "window_timezone"),
        (None, "UTC", "window"),
    ],
)
def test_a_window_that_is_none_is_named(text: str | None, zone: str, field: str) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        Window.read("window", text, "window_timezone", zone)
    assert caught.value.name == field


@pytest.mark.parametrize(
    ("text", "now", "opens", "closes"),
    [
        # In the night of 2026-03-29 the clock goes from 02:00 to 03:00, in that of 2026-10-25 from 03:00 to 02:00.
        ("02:30-03:30", "2026-03-28T23:00Z", "2026-03-29T01:00Z", "2026-03-29T01:30Z"),
        ("02:00-02:30", "2026-03-28T23:00Z", "2026-03-30T00:00Z", "2026-03-30T00:30Z"),
        ("22:00-06:00", "2026-03-28T12:00Z", "2026-03-28T21:00Z", "2026-03-29T04:00Z"),
        ("02:30-04:00", "2026-10-24T22:00Z", "2026-10-25T00:30Z", "2026-10-25T01:00Z"),  # and then for 1.5 h once more
        ("02:30-04:00", "2026-10-25T01:00Z", "2026-10-25T01:30Z", "2026-10-25T03:00Z"),
        ("09:00-10:00", "2026-06-01T06:59:59Z", "2026-06-01T07:00Z", "2026-06-01T08:00Z"),
    ],
)
def test_a_window_opens_and_closes_by_a_clock_that_is_turned(text: str, now: str, opens: str, closes: str) -> None:
    berlin = window(text, "Europe/Berlin")
    begins = berlin.opens(at(now))
    assert begins == at(opens)
    assert berlin.is_open(begins)
    assert berlin.opens(begins) == begins
    assert berlin.closes(begins) == at(closes)
    assert not berlin.is_open(at(closes))
    assert berlin.closes(at(closes)) == at(closes)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
