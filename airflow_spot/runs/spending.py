"""What a try does about the money of its run, beside deciding by it: finds prices, and refuses what nobody watches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TypeAlias

from airflow_spot.core.attempt import Attempt
from airflow_spot.core.decide import Action, Fail, Stop, Submit, Wait
from airflow_spot.core.money.budget import Budget
from airflow_spot.core.money.prices import Prices
from airflow_spot.core.outcomes import Outcome
from airflow_spot.core.stop_reasons import StopReason
from airflow_spot.observers import Log

#: Adds the prices of further types, as far as they are known.
MorePrices: TypeAlias = Callable[[Prices, Sequence[str]], Prices]


def price_earlier(budget: Budget, attempts: Sequence[Attempt], more_prices: MorePrices, log: Log) -> Budget:
    """
    Return a budget with the prices of what earlier attempts ran on, which the ladder may not have any more.

    What stays unknown counts nothing, and that is said.
    """
    counts = (each for each in attempts if each.live or each.trained or each.billable_seconds or not each.whole)
    ran_on = tuple(dict.fromkeys(attempt.placement for attempt in counts))
    if not budget.unpriced(ran_on):
        return budget
    types = [kind for placement in ran_on for kind, _ in placement.instances if kind.startswith("ml.")]
    found = replace(budget, prices=more_prices(budget.prices, types))
    if missing := found.unpriced(ran_on):
        log.warning("max_cost does not count earlier attempts: it %s", missing)
    return found


def afford(budget: Budget | None, attempts: Sequence[Attempt], action: Action, max_run: float, now: datetime) -> Action:
    """
    Return an action; in the place of an attempt that nobody watches, a failure where its whole may cost too much.

    :param attempts: of the generation.
    :param max_run: seconds that an attempt may train.
    """
    if budget is None or not isinstance(action, Submit):
        return action
    if all(budget.covers(attempts, each, max_run, now) for each in action.rung.placements):
        return action
    why = (
        f"the run has cost {budget.spent_on(attempts, now)}, and one more attempt may cost more than is left of "
        f"max_cost ({budget.max_cost}): raise it, or lower max_run. With wait_for_completion=False nobody stops it"
    )
    return Fail(attempts[-1] if attempts else None, Outcome.MAX_COST, why)


def is_too_dear(action: Action) -> bool:
    """Return whether a job is to be stopped for its cost, or ends because it was."""
    if isinstance(action, Stop):
        return action.reason is StopReason.MAX_COST
    stop = action.attempt.stop if isinstance(action, Wait) else None
    return stop is not None and stop.reason == StopReason.MAX_COST and not stop.withdrawn
