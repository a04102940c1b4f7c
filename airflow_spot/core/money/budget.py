"""What a run may cost: calculated from its jobs, at on-demand prices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from airflow_spot.core.attempt import Attempt
from airflow_spot.core.money.prices import Money, Prices
from airflow_spot.core.outcomes import Outcome
from airflow_spot.core.parameter_errors import InvalidParameterError
from airflow_spot.core.placement import Placement

_HOUR = 3600
#: No run costs so much: what says so is no amount.
_ABSURD = Decimal(10) ** 15


@dataclass(frozen=True)
class Budget:
    """
    The most that a generation of a run may cost, over all its tries.

    A job that has ended counts as SageMaker bills it, ``BillableTimeInSeconds``. Of one that is live that is not said:
    it counts in full from the moment that it has its instances, as it would on-demand, so that the limit holds whatever
    the spot discount turns out to be. So does one that has ended before SageMaker says what it bills, and the newest,
    where it was stopped for its cost: a retry is not to spend what its discount has saved, until the limit is raised.

    :param max_cost: the limit.
    :param prices: on-demand prices.
    :param spent: what attempts up to ``through`` have cost: a deferral carries that, and no more of them.
    :param through: the number of an attempt.
    :param open: numbers up to ``through`` that are not in it: a list that lags can show an older job late.
    """

    max_cost: Money
    prices: Prices
    spent: Decimal = Decimal(0)
    through: int = 0
    open: tuple[int, ...] = ()

    def spent_on(self, attempts: Iterable[Attempt], now: datetime) -> Money:
        """Return what a generation's attempts have cost by now, at most. Where a price is unknown it counts nothing."""
        known = tuple(attempts)
        return self._spent_on(known, known, now)

    def _spent_on(self, counted: Sequence[Attempt], attempts: Sequence[Attempt], now: datetime) -> Money:
        newest, amount = max((attempt.number for attempt in attempts), default=0), self.spent
        for attempt in counted:
            if attempt.number <= self.through and attempt.number not in self.open:
                continue
            seconds = _billed(attempt, now, in_full=attempt.number == newest and attempt.outcome is Outcome.MAX_COST)
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

    def covers(self, attempts: Iterable[Attempt], placement: Placement, seconds: float, now: datetime) -> bool:
        """Return whether what is left is enough for one more attempt that nobody watches."""
        cost = self.prices.cost(placement.instances, seconds)
        return cost is not None and self.spent_on(attempts, now).amount + cost.amount <= self.max_cost.amount

    def unpriced(self, placements: Iterable[Placement]) -> str:
        """Return how to mend that the price of one of some placements is not known; empty where all are."""
        unknown = (each for each in placements if self.prices.cost(each.instances, _HOUR) is None)
        return next((no_price(each, self.prices) for each in unknown), "")

    def closed(self, attempts: Sequence[Attempt], now: datetime) -> Budget:
        """Return it with all attempts that have ended summed up, for a deferral to carry."""
        ended = [attempt for attempt in attempts if not attempt.live]
        through = max((self.through, *(attempt.number for attempt in ended)))
        waits = {attempt.number for attempt in attempts if attempt.live and attempt.number <= through}
        spent = self._spent_on(ended, attempts, now).amount
        return replace(self, spent=spent, through=through, open=tuple(sorted(waits)))

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
        return replace(self, spent=Decimal(0), through=0, open=())

    def to_json(self) -> dict[str, Any]:
        """Return what a deferral carries of it."""
        spent = {"spent": str(self.spent), "through": self.through, "currency": self.prices.currency}
        return {**spent, **({"open": list(self.open)} if self.open else {})}

    def going_on_from(self, carried: Any) -> Budget | None:
        """Return it with what a deferral carried; None where that cannot be read, or is in another currency."""
        if not isinstance(carried, Mapping) or carried.get("currency", self.prices.currency) != self.prices.currency:
            return None
        try:
            spent, through = Decimal(carried["spent"]), int(carried["through"])
            waits = tuple(int(number) for number in carried.get("open") or ())
        except (ArithmeticError, KeyError, TypeError, ValueError):
            return None
        if not spent.is_finite() or not 0 <= spent < _ABSURD or through < 0:
            return None
        return replace(self, spent=spent, through=through, open=waits)


def _billed(attempt: Attempt, now: datetime, *, in_full: bool) -> float:
    """Return the seconds of an attempt that count, at most."""
    until = now if attempt.live else attempt.ended
    had = sum(start.launched(until) + start.trained(until) for start in attempt.starts)
    if attempt.live or in_full:
        return max(float(attempt.training_seconds), float(attempt.billable_seconds), had)
    return attempt.billable_seconds or max(float(attempt.training_seconds), had)


def no_price(placement: Placement, prices: Prices | None) -> str:
    """Return how to mend that the price of a placement is not known."""
    known = prices.hourly if prices is not None else {}
    missing = ", ".join(dict.fromkeys(kind for kind, _ in placement.instances if kind not in known))
    return (
        f"needs the on-demand price of {missing}, which is not known: add it to the file of [airflow_spot] prices, or "
        "grant pricing:GetProducts"
    )
