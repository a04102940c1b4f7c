"""A run is counted once it has ended, by what it came to."""

from __future__ import annotations

import logging
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from airflow_spot.core.events import Event, Paused, RunFailed, RunSucceeded
from airflow_spot.core.money.prices import Money
from airflow_spot.core.money.totals import RunTotals
from airflow_spot.core.outcomes import Outcome
from airflow_spot.core.try_marks import TryMark
from airflow_spot.runs.metrics import RunMetrics, counts
from tests.core.cases import NOW, RUN, tried

TOTALS = RunTotals(
    attempts=2,
    interruptions=3,
    waited_seconds=4.4,
    training_seconds=500,
    billable_seconds=200,
    cost=Money(Decimal("1.236"), "EUR"),
    on_demand_cost=Money(Decimal("0.5"), "EUR"),
)


class Sent:
    """In the place of Airflow's metrics."""

    def __init__(self) -> None:
        self.counted: dict[str, Any] = {}
        self.gauges: dict[str, Any] = {}
        self.tags: list[dict[str, str]] = []

    def incr(self, name: str, count: int = 1, *, tags: dict[str, str]) -> None:
        self.counted[name] = self.counted.get(name, 0) + count
        self.tags.append(tags)

    def gauge(self, name: str, value: float, *, tags: dict[str, str]) -> None:
        self.gauges[name] = value
        self.tags.append(tags)


def sent(event: Event, this_try: TryMark) -> Sent:
    metrics = Sent()
    run = RunMetrics(RUN, this_try, logging.getLogger("test"), lambda: metrics)
    run.observe(event)
    run.delivered()
    return metrics


def test_a_success_that_is_not_delivered_is_not_counted_and_one_that_is_once() -> None:
    metrics = Sent()
    for delivered in (0, 2):  # the model could not be copied; then a retry finds the same success
        run = RunMetrics(RUN, tried(1, 3), logging.getLogger("test"), lambda: metrics)
        run.observe(RunSucceeded((), TOTALS))
        for _ in range(delivered):
            run.delivered()
    assert metrics.counted["airflow_spot.runs_succeeded"] == 1
    assert metrics.counted["airflow_spot.attempts"] == 2


def test_a_success_is_counted_with_what_it_came_to() -> None:
    metrics = sent(RunSucceeded((), TOTALS), tried(1, 3))
    assert metrics.counted == {
        "airflow_spot.runs_succeeded": 1,
        "airflow_spot.attempts": 2,
        "airflow_spot.interruptions": 3,
        "airflow_spot.waited_seconds": 4,
        "airflow_spot.training_seconds": 500,
        "airflow_spot.billable_seconds": 200,
    }
    assert metrics.gauges == {"airflow_spot.cost_cents": 124, "airflow_spot.saved_cents": -74}
    assert {tags["dag_id"] for tags in metrics.tags} == {RUN.dag_id}
    assert [tags["currency"] for tags in metrics.tags if "currency" in tags] == ["EUR", "EUR"]


@pytest.mark.parametrize(
    ("outcome", "this_try", "counted"),
    [
        (Outcome.SCRIPT_ERROR, tried(1, 2), 0),  # a retry follows
        (Outcome.SCRIPT_ERROR, tried(3, 2), 1),
        (Outcome.MAX_COST, tried(1, 2), 1),  # none does
        (None, tried(1, 2), 0),
        (None, tried(1, 0), 1),
    ],
)
def test_a_failure_is_counted_once_no_retry_follows(outcome: Outcome | None, this_try: TryMark, counted: int) -> None:
    metrics = sent(RunFailed(outcome, "why", TOTALS), this_try)
    assert metrics.counted.get("airflow_spot.runs_failed", 0) == counted
    assert bool(metrics.gauges) == bool(counted)


def test_nothing_else_is_counted() -> None:
    assert not sent(Paused(NOW, "why"), tried(1, 1)).counted
    unknown = replace(TOTALS, billed=False, cost=None)
    assert not sent(RunSucceeded((), unknown), tried(1, 1)).gauges
    assert "billable_seconds" not in counts(unknown)


def test_metrics_that_fail_fail_no_task(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> Any:
        raise OSError("no route to statsd")

    run = RunMetrics(RUN, tried(1, 1), logging.getLogger("test"), broken)
    run.observe(RunSucceeded((), TOTALS))
    run.delivered()
    assert "could not be sent: OSError" in caplog.text


def test_airflows_own_take_them() -> None:
    caught: list[str] = []
    log = logging.getLogger("test-own")
    log.addHandler(type("Keep", (logging.Handler,), {"emit": lambda _, record: caught.append(record.getMessage())})())
    run = RunMetrics(RUN, tried(1, 1), log)
    run.observe(RunSucceeded((), TOTALS))
    run.delivered()
    assert caught == []
