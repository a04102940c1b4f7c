"""What a run came to: seconds, interruptions, savings and money. Summed up here, and nowhere else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from airflow_spot.core.attempt import Attempt
from airflow_spot.core.money.prices import Money, Prices


@dataclass(frozen=True)
class RunTotals:
    """
    The sums over attempts of a run.

    :param attempts: how many there are.
    :param interruptions: how often SageMaker took instances back.
    :param waited_seconds: in which a job of the run asked for instances and had none.
    :param launch_seconds: from having instances to the begin of the script, over all starts.
    :param training_seconds: SageMaker's ``TrainingTimeInSeconds``.
    :param billable_seconds: SageMaker's ``BillableTimeInSeconds``.
    :param trained_twice_seconds: of the training time, what was lost and had to be done again; None where that is not
        known: it is never guessed. Where nothing was ever started again it is 0.
    :param cost: of the billable time at on-demand rates, as SageMaker bills it; None where a price is not known.
    :param on_demand_cost: what the useful training time would have cost on-demand; None where it is not known.
    :param billed: whether SageMaker has said what it bills: of a job that trains, it says so only at its end.
    """

    attempts: int = 0
    interruptions: int = 0
    waited_seconds: float = 0.0
    launch_seconds: float = 0.0
    training_seconds: int = 0
    billable_seconds: int = 0
    trained_twice_seconds: float | None = 0.0
    cost: Money | None = None
    on_demand_cost: Money | None = None
    billed: bool = True

    @property
    def spot_discount_percent(self) -> float | None:
        """
        Return AWS's own figure, as the console shows it: ``1 - BillableTimeInSeconds / TrainingTimeInSeconds``.

        It counts seconds that were trained twice as saved too. Source: the managed spot training guide of SageMaker's
        documentation. None where nothing was trained.
        """
        return _percent(self.billable_seconds, self.training_seconds) if self.billed else None

    @property
    def savings_percent(self) -> float | None:
        """
        Return what was saved against on-demand for the useful training; None where that is not known.

        Negative where spot cost more than on-demand would have.
        """
        if self.cost is not None and self.on_demand_cost is not None:
            return _percent(float(self.cost.amount), float(self.on_demand_cost.amount))
        if self.trained_twice_seconds is None or not self.billed:
            return None
        return _percent(self.billable_seconds, self.training_seconds - self.trained_twice_seconds)

    @property
    def saved(self) -> Money | None:
        """Return the money saved against on-demand for the useful training; None where that is not known."""
        return None if self.cost is None or self.on_demand_cost is None else self.on_demand_cost - self.cost

    def to_json(self) -> dict[str, Any]:
        """Return it as the result, the history and the pages have it. The keys never change."""
        return {
            "interruptions": self.interruptions,
            "waited_seconds": round(self.waited_seconds),
            "launch_seconds": round(self.launch_seconds),
            "training_seconds": self.training_seconds,
            "billable_seconds": self.billable_seconds if self.billed else None,
            "trained_twice_seconds": None if self.trained_twice_seconds is None else round(self.trained_twice_seconds),
            "spot_discount_percent": self.spot_discount_percent,
            "savings_percent": self.savings_percent,
            "cost": _money(self.cost),
            "on_demand_cost": _money(self.on_demand_cost),
            "saved": _money(self.saved),
        }


def total(
    attempts: Sequence[Attempt], now: datetime, prices: Prices | None = None, lost: float | None = None
) -> RunTotals:
    """
    Sum up attempts.

    :param attempts: of one generation, or of several. Where one is not read in whole, what was billed is not known.
    :param now: until when a start that still waits or launches counts.
    :param prices: on-demand prices; without them no money.
    :param lost: seconds of the training that were lost and had to be done again, where looks at the checkpoints tell.
    """
    starts = [(start, attempt.ended if not attempt.live else now) for attempt in attempts for start in attempt.starts]
    interruptions = sum(attempt.interruptions for attempt in attempts)
    began = sum(1 for start, _ in starts if start.training is not None)
    once = interruptions == 0 and began <= 1 and sum(1 for attempt in attempts if attempt.trained) <= 1
    trained = sum(attempt.training_seconds for attempt in attempts)
    twice = 0.0 if once else lost if lost is None else min(lost, float(trained))
    billed = all(attempt.whole and not (attempt.live and attempt.training_seconds) for attempt in attempts)
    costs = _costs(attempts, prices) if billed else None
    useful = _useful_cost(attempts, prices, twice) if billed else None
    return RunTotals(
        attempts=len(attempts),
        interruptions=interruptions,
        waited_seconds=sum(start.waited(until) for start, until in starts),
        launch_seconds=sum(start.launched(until) for start, until in starts),
        training_seconds=trained,
        billable_seconds=sum(attempt.billable_seconds for attempt in attempts),
        trained_twice_seconds=twice,
        cost=costs,
        on_demand_cost=useful,
        billed=billed,
    )


def _costs(attempts: Sequence[Attempt], prices: Prices | None, *, useful: bool = False) -> Money | None:
    """Return what attempts cost, or what their training would have cost on-demand; None where a price is missing."""
    if prices is None:
        return None
    whole: Money | None = None
    for attempt in attempts:
        seconds = attempt.training_seconds if useful else attempt.billable_seconds
        cost = prices.cost(attempt.placement.instances, seconds)
        if cost is None:
            if seconds:
                return None
            continue
        whole = cost if whole is None else whole + cost
    return whole


def _useful_cost(attempts: Sequence[Attempt], prices: Prices | None, twice: float | None) -> Money | None:
    """
    Return what the useful training would have cost on-demand; None where that is not known.

    What was lost is not known by attempt, so where their instances differ in price, neither is this.
    """
    whole = _costs(attempts, prices, useful=True) if twice is not None else None
    if whole is None or not twice or prices is None:
        return whole
    kinds = {one.placement.instances for one in attempts if one.training_seconds}
    if len(kinds) != 1:
        return None
    useful = sum(attempt.training_seconds for attempt in attempts) - twice
    return prices.cost(kinds.pop(), round(useful))


def _percent(paid: float, worth: float) -> float | None:
    return None if worth <= 0 else round(100 * (1 - paid / worth), 1)


def _money(money: Money | None) -> dict[str, str] | None:
    return None if money is None else money.to_json()
