"""What a run came to, as Airflow's metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from airflow_spot.compat.stats import stats
from airflow_spot.core.events import Event, Observer, RunFailed, RunSucceeded
from airflow_spot.core.identity import RunIdentity
from airflow_spot.core.prices import Money
from airflow_spot.core.totals import RunTotals
from airflow_spot.core.try_marks import TryMark
from airflow_spot.errors import NonRetryableSpotError, error_for
from airflow_spot.observers import Log

PREFIX = "airflow_spot"


def metrics_observer(run: RunIdentity, this_try: TryMark, log: Log, take: Callable[[], Any] = stats) -> Observer:
    """
    Return what counts a run once it has ended: at its success, or at a failure that no retry follows.

    :param take: returns Airflow's metrics. Nothing of them fails a task.
    """

    def observe(event: Event) -> None:
        if not isinstance(event, (RunSucceeded, RunFailed)) or (
            isinstance(event, RunFailed) and not _is_last(event, this_try)
        ):
            return
        tags = {"dag_id": run.dag_id, "task_id": run.task_id}
        try:
            metrics = take()
            metrics.incr(f"{PREFIX}.runs_{'succeeded' if isinstance(event, RunSucceeded) else 'failed'}", tags=tags)
            for name, count in counts(event.totals).items():
                metrics.incr(f"{PREFIX}.{name}", count, tags=tags)
            for name, money in (("cost", event.totals.cost), ("saved", event.totals.saved)):
                if money is not None:
                    metrics.gauge(f"{PREFIX}.{name}_cents", _cents(money), tags={**tags, "currency": money.currency})
        except Exception as error:
            log.warning("The metrics of this run could not be sent: %s", type(error).__name__)

    return observe


def counts(totals: RunTotals) -> Mapping[str, int]:
    """Return what is counted of a run, by metric."""
    return {
        "attempts": totals.attempts,
        "interruptions": totals.interruptions,
        "waited_seconds": round(totals.waited_seconds),
        "training_seconds": totals.training_seconds,
        **({"billable_seconds": totals.billable_seconds} if totals.billed else {}),
    }


def _is_last(event: RunFailed, this_try: TryMark) -> bool:
    ends = event.outcome is not None and issubclass(error_for(event.outcome), NonRetryableSpotError)
    return ends or this_try.number > this_try.max_tries


def _cents(money: Money) -> int:
    return round(money.amount * 100)
