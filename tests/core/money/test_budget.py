"""What a run may cost: calculated from its jobs, carried through deferrals, and kept to."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_spot.core.attempt import Attempt
from airflow_spot.core.decide import Fail, Stop, Submit, Succeed, Wait, decide
from airflow_spot.core.history import History
from airflow_spot.core.ladder import Rung
from airflow_spot.core.money.budget import Budget
from airflow_spot.core.money.prices import Money, Prices
from airflow_spot.core.money.totals import total
from airflow_spot.core.outcomes import Outcome
from airflow_spot.core.parameter_errors import InvalidParameterError
from airflow_spot.core.placement import Placement
from airflow_spot.core.starts import Start
from airflow_spot.core.stop_reasons import StopReason
from tests.core.cases import NOW, attempt, later, limits

#: One hundredth of a dollar a second.
PRICES = Prices("USD", {"ml.g5.xlarge": Decimal(36), "ml.m5.large": Decimal("3.6")})


def budget(most: int | str = 10) -> Budget:
    return Budget(Money(Decimal(most), "USD"), PRICES)


def trains(number: int, seconds: float, **more: object) -> Attempt:
    """A live attempt that has trained for so long at NOW."""
    began = later(seconds=-seconds)
    return attempt(number, None, starts=(Start(began, began, began),), **more)  # type: ignore[arg-type]


ended = st.builds(
    lambda trained, discount, rung: {
        "training_seconds": trained,
        "billable_seconds": max(min(1, trained), round(trained * discount)),
        "rung": Rung(rung),
    },
    st.integers(0, 10**6),
    st.floats(0, 1),
    st.sampled_from(["ml.g5.xlarge", "ml.m5.large"]),
)
pasts = st.lists(ended, max_size=8).map(
    lambda facts: [attempt(number, Outcome.MOVED, **each) for number, each in enumerate(facts, 1)]
)


@given(pasts)
def test_what_was_spent_is_the_sum_of_the_attempts_costs(past: list[Attempt]) -> None:
    spent = budget().spent_on(past, NOW)
    parts = [total([one], NOW, PRICES).cost for one in past]
    assert spent.amount == sum((part.amount for part in parts if part is not None), Decimal(0))
    assert spent.amount >= 0


@given(pasts, st.integers(0, 8), st.integers(1, 10**6))
def test_a_deferral_carries_what_was_spent(past: list[Attempt], seen: int, most: int) -> None:
    """Whatever was summed up when the run was deferred: those attempts are not known in whole afterwards."""
    whole = budget(most)
    carried = whole.closed(past[:seen], NOW).to_json()
    again = budget(most).going_on_from(carried)
    assert again is not None
    known = [replace(one, placement=Placement("unknown", 1)) for one in past[:seen]] + past[seen:]
    assert again.spent_on(known, NOW) == whole.spent_on(past, NOW)
    assert again.is_spent(known, NOW) == whole.is_spent(past, NOW)
    assert again.closed(known, NOW) == whole.closed(past, NOW)
    assert again.anew() == whole


@pytest.mark.parametrize(
    "carried",
    [
        None,
        "text",
        {},
        {"spent": "much", "through": 1},
        {"spent": "NaN", "through": 1},
        {"spent": "-1", "through": 1},
        {"spent": "1", "through": float("inf")},
        {"spent": "1", "through": -1},
        {"spent": "1e999999", "through": 1},
        {"spent": [1], "through": 1},
        {"spent": "1", "through": 1, "open": 5},
        {"spent": "1", "through": 1, "currency": "EUR"},
    ],
)
def test_what_cannot_be_read_is_not_gone_on_from(carried: object) -> None:
    assert budget().going_on_from(carried) is None


def test_a_job_that_a_list_shows_late_counts_after_a_deferral() -> None:
    """It has a lower number than one that has ended, and trains."""
    late, done = trains(1, 300), attempt(2, Outcome.MOVED, training_seconds=200, billable_seconds=200)
    again = budget().going_on_from(budget().closed((late, done), NOW).to_json())
    assert again is not None
    known = (late, replace(done, placement=Placement("unknown", 1)))
    assert again.spent_on(known, NOW) == Money(Decimal(5), "USD")
    over = replace(late, outcome=Outcome.MOVED, ended=NOW, billable_seconds=100)
    closed = again.closed((over, known[1]), NOW)
    assert (closed.spent, closed.through, closed.open) == (3, 2, ())
    assert closed.closed((over, known[1]), NOW) == closed


def test_a_live_job_counts_from_when_it_has_its_instances() -> None:
    """SageMaker bills the download of its data as well."""
    downloads = attempt(1, None, starts=(Start(later(seconds=-900), later(seconds=-600)),))
    assert budget().spent_on((downloads,), NOW) == Money(Decimal(6), "USD")


def test_one_that_has_ended_counts_in_full_until_sagemaker_says_what_it_bills() -> None:
    done = attempt(1, Outcome.MOVED, training_seconds=500)
    assert budget().spent_on((done,), NOW) == Money(Decimal(5), "USD")
    by_starts = replace(trains(1, 700), outcome=Outcome.MOVED, ended=NOW)
    assert budget().spent_on((by_starts,), NOW) == Money(Decimal(7), "USD")


def test_a_job_that_is_live_counts_in_full() -> None:
    """What SageMaker bills of it is told at its end."""
    live = trains(2, 300)
    past = (attempt(1, Outcome.MOVED, training_seconds=1000, billable_seconds=400), live)
    assert budget().spent_on(past, NOW) == Money(Decimal(7), "USD")
    assert budget().seconds_left(past, live, NOW) == 300
    assert budget(5).seconds_left(past, live, NOW) == -200


def test_a_job_of_no_known_price_is_not_bounded() -> None:
    live = attempt(1, None, rung=Rung("ml.p5.48xlarge"), training_seconds=10**6)
    assert budget().seconds_left([live], live, NOW) == float("inf")
    assert act((live,), 10) == Wait(live, None)


@pytest.mark.parametrize(
    ("placement", "max_run", "fix"),
    [
        (Placement("ml.g5.xlarge", 1), 1000, ""),
        (Placement("ml.g5.xlarge", 1), 1001, r"may cost 10\.01 USD: lower max_run"),
        (Placement("ml.g5.xlarge", 2), 600, r"2 x ml\.g5\.xlarge spot may cost 12\.00 USD"),
        (Placement("ml.p5.48xlarge", 1), 1, r"needs the on-demand price of ml\.p5\.48xlarge, which is not known"),
        (Placement("a, b", 3, groups=(("ml.g5.xlarge", 1), ("ml.p3.2xlarge", 2))), 1, r"price of ml\.p3\.2xlarge"),
    ],
)
def test_one_attempt_may_not_cost_more_than_all(placement: Placement, max_run: float, fix: str) -> None:
    check = budget().check_attempt
    if not fix:
        check([placement], max_run)
        return
    with pytest.raises(InvalidParameterError, match=fix) as caught:
        check([Placement("ml.m5.large", 1), placement], max_run)
    assert caught.value.name == "max_cost"
    assert "10.00 USD" in str(caught.value)


# ---- decisions


def act(past: tuple[Attempt, ...], most: int, at: float = 0.0) -> object:
    case = limits(budget=budget(most))
    return decide(case.limits, History(1, past), later(seconds=at), case.policy)


def test_a_job_that_trains_is_looked_at_when_the_money_is_spent() -> None:
    past = (attempt(1, Outcome.MOVED, training_seconds=1000, billable_seconds=400), trains(2, 300))
    wait = act(past, 10)
    assert isinstance(wait, Wait)
    assert wait.until == later(seconds=300)
    stop = act(past, 10, 300)
    assert isinstance(stop, Stop)
    assert stop.reason is StopReason.MAX_COST
    assert stop.why == "the run has cost 10.00 USD of max_cost (10.00 USD)"


def test_a_job_that_uploads_what_it_has_trained_is_not_stopped() -> None:
    uploads = replace(trains(1, 5000), secondary_status="Uploading")
    assert isinstance(act((uploads,), 10), Wait)


def test_one_that_waits_is_not_looked_at_again_and_again_for_its_last_cent() -> None:
    """But soon: it may train by now, and no transition ends the wait."""
    waits = attempt(1, None, training_seconds=999, waiting_since=NOW)
    wait = act((waits,), 10)
    assert isinstance(wait, Wait)
    assert wait.until == later(seconds=60)


def test_a_job_that_was_stopped_for_its_cost_is_the_last_though_it_was_billed_less() -> None:
    stopped = attempt(1, Outcome.MAX_COST, training_seconds=1000, billable_seconds=300)
    end = act((stopped,), 10)
    assert isinstance(end, Fail)
    assert (end.kind, end.attempt) == (Outcome.MAX_COST, stopped)
    assert "Raise it, then clear the task to resume from the checkpoint" in end.why


def test_no_further_job_is_created_once_the_money_is_spent() -> None:
    moved = attempt(1, Outcome.MOVED, training_seconds=2000, billable_seconds=1000)
    end = act((moved,), 10)
    assert isinstance(end, Fail)
    assert end.kind is Outcome.MAX_COST
    assert isinstance(act((moved,), 11), Submit)


def test_a_retry_of_a_run_that_has_spent_its_money_creates_none_either() -> None:
    case = limits(budget=budget(10))
    moved = attempt(1, Outcome.STOPPED_BY_OPERATOR, billable_seconds=1000)
    end = decide(case.limits, History(1, (moved,), first_of_try=2), NOW, case.policy)
    assert isinstance(end, Fail)
    assert end.kind is Outcome.MAX_COST


def test_a_retry_after_a_stop_for_cost_spends_nothing_of_the_discount() -> None:
    """The worker was lost between the stop and the failure. Until the limit is raised, for which a person clears it."""
    stopped = attempt(2, Outcome.MAX_COST, training_seconds=600, billable_seconds=200)
    past = (attempt(1, Outcome.MOVED, training_seconds=1000, billable_seconds=400), stopped)
    for most, after in ((10, Fail), (11, Submit)):
        case = limits(budget=budget(most))
        assert isinstance(decide(case.limits, History(1, past, first_of_try=3), NOW, case.policy), after)
    # Once another one has followed, it counts as it was billed.
    assert budget().spent_on((*past, attempt(3, Outcome.MOVED)), NOW) == Money(Decimal(6), "USD")
    assert budget().closed((*past, trains(3, 0)), NOW).spent == 6


@pytest.mark.parametrize("rung", [Rung("ml.p5.48xlarge"), Rung.on_demand(["ml.g5.xlarge", "ml.p5.48xlarge"])])
def test_no_job_is_created_of_which_no_price_is_known(rung: Rung) -> None:
    """The ladder was changed while the task was deferred: what a try begins with is refused before."""
    case = limits(rung, budget=budget())
    moved = attempt(1, Outcome.MOVED, training_seconds=10, billable_seconds=10)
    for past in ((), (moved,)):
        end = decide(case.limits, History(1, past), NOW, case.policy)
        assert isinstance(end, Fail)
        assert end.kind is Outcome.INVALID_REQUEST
        assert "max_cost (10.00 USD) needs the on-demand price of ml.p5.48xlarge" in end.why


def test_what_has_completed_is_delivered_whatever_it_cost() -> None:
    done = attempt(1, Outcome.COMPLETED, training_seconds=9000, billable_seconds=9000)
    assert isinstance(act((done,), 10), Succeed)
