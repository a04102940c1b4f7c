"""What a run came to, in seconds, percent and money: nothing is guessed."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_spot.core.ladder import Rung
from airflow_spot.core.money.prices import Money, Prices, read_prices
from airflow_spot.core.money.totals import RunTotals, total
from airflow_spot.core.outcomes import Outcome
from airflow_spot.core.parameter_errors import InvalidParameterError
from airflow_spot.core.starts import Start
from tests.core.cases import NOW, attempt, later

PRICES = Prices("USD", {"ml.g5.xlarge": Decimal("1.408")})


@pytest.mark.parametrize(
    ("training", "billable", "percent"),
    [(100, 30, 70.0), (100, 100, 0.0), (3, 1, 66.7), (100, 0, 100.0), (60, 90, -50.0), (0, 0, None)],
)
def test_the_spot_discount_is_awss_own_measure(training: int, billable: int, percent: float | None) -> None:
    sums = RunTotals(training_seconds=training, billable_seconds=billable)
    assert sums.spot_discount_percent == percent
    assert sums.savings_percent == percent  # nothing was trained twice


@given(st.integers(1, 10**7), st.integers(0, 10**7), st.floats(0, 10**6))
def test_savings_never_exceed_the_discount(training: int, billable: int, twice: float) -> None:
    sums = RunTotals(training_seconds=training, billable_seconds=billable, trained_twice_seconds=twice)
    discount, savings = sums.spot_discount_percent, sums.savings_percent
    assert discount is not None and discount <= 100
    assert savings is None or savings <= discount


def test_a_script_that_never_checkpoints_saved_nothing() -> None:
    """Three starts of 100 s for 100 s of work, at 64 % discount: spot cost more than on-demand would have."""
    sums = RunTotals(training_seconds=300, billable_seconds=108, trained_twice_seconds=200)
    assert (sums.spot_discount_percent, sums.savings_percent) == (64.0, -8.0)


@pytest.mark.parametrize(
    "attempts",
    [
        [attempt(1, Outcome.COMPLETED, training_seconds=100, billable_seconds=40, interruptions=1)],
        [
            attempt(1, Outcome.CAPACITY_TIMEOUT, training_seconds=100, billable_seconds=40),
            attempt(2, Outcome.COMPLETED, training_seconds=100, billable_seconds=40),
        ],
    ],
)
def test_what_was_trained_twice_is_not_guessed(attempts: list[Any]) -> None:
    sums = total(attempts, NOW, PRICES)
    assert (sums.trained_twice_seconds, sums.savings_percent, sums.on_demand_cost, sums.saved) == (None,) * 4
    assert sums.spot_discount_percent == 60.0
    assert sums.cost is not None
    assert float(sums.cost.amount) == pytest.approx(1.408 / 3600 * sum(each.billable_seconds for each in attempts))


def test_a_run_that_was_started_once_knows_its_savings_in_money() -> None:
    waited = attempt(1, Outcome.CAPACITY_TIMEOUT)
    done = attempt(2, Outcome.COMPLETED, training_seconds=3600, billable_seconds=1800, rung=Rung("ml.g5.xlarge", 2))
    sums = total([waited, done], NOW, PRICES)
    assert sums.cost == Money(Decimal("1.408"), "USD")
    assert sums.on_demand_cost == Money(Decimal("2.816"), "USD")
    assert str(sums.saved) == "1.41 USD"
    assert sums.savings_percent == 50.0
    assert sums.to_json()["saved"] == {"amount": "1.4080", "currency": "USD"}
    assert json.loads(json.dumps(sums.to_json())) == sums.to_json()


def test_without_a_price_there_is_no_money() -> None:
    done = attempt(1, Outcome.COMPLETED, training_seconds=100, billable_seconds=40, rung=Rung("ml.p5.48xlarge"))
    assert total([done], NOW, PRICES).cost is None
    assert total([done], NOW).cost is None
    assert total([done], NOW).savings_percent == 60.0


def test_waits_and_launches_are_summed_over_all_starts() -> None:
    first = Start(NOW, later(seconds=30), later(seconds=50), later(seconds=90), later(seconds=90))
    second = Start(later(seconds=90), later(seconds=100), later(seconds=105), None, later(seconds=200))
    still = Start(later(seconds=200))
    done = attempt(1, Outcome.COMPLETED, starts=(first, second), ended=later(seconds=200))
    live = attempt(2, None, starts=(still,))
    sums = total([done, live], later(seconds=260))
    assert (sums.waited_seconds, sums.launch_seconds) == (30 + 10 + 60, 20 + 5)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "must be a JSON object"),
        ("[]", "hourly"),
        ('{"hourly": []}', "hourly"),
        ('{"hourly": {"ml.a": "x"}}', "ml.a"),
        ('{"hourly": {"ml.a": true}}', "ml.a"),
        ('{"hourly": {"ml.a": -1}}', "ml.a"),
        ('{"hourly": {"ml.a": "NaN"}}', "ml.a"),
        ('{"currency": "usd", "hourly": {}}', "three capitals"),
    ],
)
def test_a_price_table_that_is_wrong_is_refused_by_its_entry(text: str, says: str) -> None:
    with pytest.raises(InvalidParameterError, match=says):
        read_prices(text, "[airflow_spot] prices")


def test_a_price_table_keeps_decimals() -> None:
    assert read_prices('{"currency": "EUR", "hourly": {"ml.a": 0.1, "ml.b": "0.2", "ml.c": 3}}', "p") == Prices(
        "EUR", {"ml.a": Decimal("0.1"), "ml.b": Decimal("0.2"), "ml.c": Decimal(3)}, "p"
    )


def test_a_job_that_trains_is_not_free() -> None:
    """SageMaker says how long it trained, and only at its end what it bills."""
    sums = total([attempt(1, None, training_seconds=100)], NOW, PRICES)
    assert (sums.spot_discount_percent, sums.savings_percent, sums.cost, sums.saved) == (None,) * 4
    assert sums.to_json()["billable_seconds"] is None


def test_a_start_without_an_interruption_before_it_may_train_twice_too() -> None:
    """The RetryStrategy's restarts show no Interrupted."""
    starts = (Start(NOW, NOW, NOW, None, later(seconds=5)), Start(later(seconds=5), later(seconds=6), later(seconds=6)))
    done = attempt(1, Outcome.COMPLETED, training_seconds=100, billable_seconds=40, starts=starts)
    assert total([done], NOW).trained_twice_seconds is None


def test_a_start_that_was_lost_before_it_had_its_instances_waited_until_then() -> None:
    starts = (Start(NOW, None, None, later(seconds=100), later(seconds=100)), Start(later(seconds=100)))
    assert total([attempt(1, None, starts=starts)], later(seconds=200)).waited_seconds == 200


def test_what_was_billed_is_not_guessed_where_an_attempt_could_not_be_read() -> None:
    read = attempt(2, Outcome.COMPLETED, training_seconds=100, billable_seconds=30)
    sums = total([attempt(1, Outcome.NO_CAPACITY, whole=False), read], NOW, PRICES)
    assert (sums.attempts, sums.training_seconds) == (2, 100)
    assert (sums.to_json()["billable_seconds"], sums.cost, sums.spot_discount_percent) == (None, None, None)


def test_what_looks_at_the_checkpoints_tell_is_lost_is_not_saved() -> None:
    """300 s were trained for 120 s of money, and 150 of them again: an on-demand job had trained for 150."""
    taken = [attempt(1, Outcome.COMPLETED, interruptions=2, training_seconds=300, billable_seconds=120)]
    sums = total(taken, NOW, PRICES, 150.0)
    assert sums.trained_twice_seconds == 150.0
    assert sums.savings_percent == 20.0
    assert sums.on_demand_cost is not None and sums.cost is not None
    assert float(sums.on_demand_cost.amount) == pytest.approx(float(sums.cost.amount) / 0.8)
    assert total(taken, NOW, PRICES, 900.0).trained_twice_seconds == 300.0
    assert total(taken, NOW).trained_twice_seconds is None
    other = attempt(2, Outcome.COMPLETED, rung=Rung("ml.p3.2xlarge"), training_seconds=300, billable_seconds=120)
    mixed = total([*taken, other], NOW, PRICES, 150.0)
    assert (mixed.on_demand_cost, mixed.trained_twice_seconds) == (None, 150.0)
