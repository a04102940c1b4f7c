"""What a run may cost: reckoned of its jobs, at on-demand prices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from airflow_spot.core.attempt import Attempt
from airflow_spot.core.parameter_errors import InvalidParameterError
from airflow_spot.core.placement import Placement
from airflow_spot.core.prices import Money, Prices

_HOUR = 3600


@dataclass(frozen=True)
class Budget:
    """
    The most that a generation of a run may cost, over all its tries.

    A job that has ended counts as SageMaker bills it, ``BillableTimeInSeconds``. Of one that is live that is not said:
    it counts in full, as it would on-demand, so that the limit holds whatever the spot discount turns out to be.

    :param max_cost: the limit.
    :param prices: on-demand prices.
    :param spent: what attempts up to ``through`` have cost: a deferral carries that, and no more of them.
    :param through: the number of an attempt.
    """

    max_cost: Money
    prices: Prices
    spent: Decimal = Decimal(0)
    through: int = 0

    def spent_on(self, attempts: Iterable[Attempt], now: datetime) -> Money:
        """Return what a generation's attempts have cost by now, at most. Where a price is unknown it counts nothing."""
        amount = self.spent
        for attempt in attempts:
            if attempt.number <= self.through:
                continue
            seconds = attempt.trained_seconds(now) if attempt.live else attempt.billable_seconds
            cost = self.prices.cost(attempt.placement.instances, seconds)
            amount += cost.amount if cost is not None else 0
        return Money(amount, self.prices.currency)

    def seconds_left(self, attempts: Sequence[Attempt], live: Attempt, now: datetime) -> float:
        """
        Return for how many seconds a live attempt may still train; infinity where its price is not known.

        :param attempts: all of the generation, with the live one as it was read last.
        """
        hourly = self.prices.cost(live.placement.instances, _HOUR)
        if hourly is None or not hourly.amount:
            return float("inf")
        return float((self.max_cost.amount - self.spent_on(attempts, now).amount) / hourly.amount * _HOUR)

    def is_spent(self, attempts: Iterable[Attempt], now: datetime) -> bool:
        """Return whether a generation's attempts have cost what they may."""
        return self.spent_on(attempts, now).amount >= self.max_cost.amount

    def closed(self, attempts: Sequence[Attempt], now: datetime) -> Budget:
        """Return it with all attempts up to the newest that has ended summed up, for a deferral to carry."""
        ended = [attempt for attempt in attempts if not attempt.live]
        through = max((attempt.number for attempt in ended), default=0)
        if through <= self.through:
            return self
        return replace(self, spent=self.spent_on(ended, now).amount, through=through)

    def check_attempt(self, placements: Iterable[Placement], max_run: float) -> None:
        """
        Refuse a run of which one attempt may cost more than all may, before its first call.

        :param placements: where its attempts may run.
        :param max_run: seconds that one may train.
        :raises InvalidParameterError: it may, or the price of an instance is not known.
        """
        for placement in placements:
            cost = self.prices.cost(placement.instances, max_run)
            if cost is None:
                raise InvalidParameterError("max_cost", str(self.max_cost), no_price(placement, self.prices))
            if cost.amount > self.max_cost.amount:
                fix = (
                    f"one attempt on {placement} may cost {cost}: lower max_run ({max_run / _HOUR:g} h), or raise "
                    "max_cost"
                )
                raise InvalidParameterError("max_cost", str(self.max_cost), fix)

    def anew(self) -> Budget:
        """Return it for a generation that begins."""
        return replace(self, spent=Decimal(0), through=0)

    def to_json(self) -> dict[str, Any]:
        """Return what a deferral carries of it."""
        return {"spent": str(self.spent), "through": self.through}

    def going_on_from(self, carried: Any) -> Budget:
        """Return it with what a deferral carried; as it is where that cannot be read."""
        if not isinstance(carried, Mapping):
            return self
        try:
            spent, through = Decimal(carried["spent"]), int(carried["through"])
        except (KeyError, TypeError, ValueError, InvalidOperation):
            return self
        return replace(self, spent=spent, through=through) if spent.is_finite() and spent >= 0 else self


def no_price(placement: Placement, prices: Prices | None) -> str:
    """Return how to mend that the price of a placement is not known."""
    known = prices.hourly if prices is not None else {}
    missing = ", ".join(dict.fromkeys(kind for kind, _ in placement.instances if kind not in known))
    return (
        f"needs the on-demand price of {missing}, which is not known: add it to the file of [airflow_spot] prices, or "
        "permit pricing:GetProducts"
    )
