"""What a run came to, as Airflow's metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from airflow_spot.compat.stats import stats
from airflow_spot.core.events import Event, RunFailed, RunSucceeded
from airflow_spot.core.identity import RunIdentity
from airflow_spot.core.money.prices import Money
from airflow_spot.core.money.totals import RunTotals
from airflow_spot.core.try_marks import TryMark
from airflow_spot.errors import NonRetryableSpotError, error_for
from airflow_spot.observers import Log

PREFIX = "airflow_spot"


class RunMetrics:
    """
    Counts a run once it has ended: at a failure that no retry follows, and at its success once that is delivered.

    A success that cannot be delivered is found again by the next try, which tells of it as well: it is counted there.

    :param take: returns Airflow's metrics. Nothing of them fails a task.
    """

    def __init__(self, run: RunIdentity, this_try: TryMark, log: Log, take: Callable[[], Any] = stats) -> None:
        self._tags = {"dag_id": run.dag_id, "task_id": run.task_id}
        self._try = this_try
        self._log = log
        self._take = take
        self._succeeded: RunSucceeded | None = None

    def observe(self, event: Event) -> None:
        """Count an event of the run."""
        if isinstance(event, RunSucceeded):
            self._succeeded = event
        elif isinstance(event, RunFailed) and _is_last(event, self._try):
            self._send("failed", event.totals)

    def delivered(self) -> None:
        """Count the success that was told, if one was: its result is handed over."""
        if self._succeeded is not None:
            self._send("succeeded", self._succeeded.totals)
            self._succeeded = None

    def _send(self, end: str, totals: RunTotals) -> None:
        tags = self._tags
        try:
            metrics = self._take()
            metrics.incr(f"{PREFIX}.runs_{end}", tags=tags)
            for name, count in counts(totals).items():
                metrics.incr(f"{PREFIX}.{name}", count, tags=tags)
            for name, money in (("cost", totals.cost), ("saved", totals.saved)):
                if money is not None:
                    metrics.gauge(f"{PREFIX}.{name}_cents", _cents(money), tags={**tags, "currency": money.currency})
        except Exception as error:
            self._log.warning("The metrics of this run could not be sent: %s", type(error).__name__)


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
