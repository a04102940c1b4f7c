"""What one attempt costs at most: all of max_run, at the on-demand price."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from airflow_spot.core.durations import human
from airflow_spot.core.money.figures import Figure
from airflow_spot.core.money.prices import Money
from airflow_spot.preflight.findings import PreflightFinding, Severity
from airflow_spot.preflight.wanted import Rung, Wanted

_HOUR = Decimal(3600)


@dataclass(frozen=True)
class Cost:
    """
    What one attempt on a rung costs at most.

    :param seconds: ``max_run``: SageMaker bills no more of an attempt, and spot less than on-demand.
    :param at_most: None where it is not known.
    :param why: where it is not known, the reason.
    """

    rung: str
    seconds: int | None
    instances: tuple[tuple[str, int], ...]
    at_most: Money | None
    why: str = ""

    def __str__(self) -> str:
        many = " + ".join(f"{count} x {kind}" for kind, count in self.instances)
        amount = str(self.at_most) if self.at_most is not None else f"not known: {self.why}"
        if self.seconds is None:
            return f"{self.rung}: {amount}"
        return f"{self.rung}: {amount} ({human(self.seconds)}, {many}, at the on-demand price)"

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "rung": self.rung,
            "max_run_seconds": self.seconds,
            "instances": [{"instance_type": kind, "instance_count": count} for kind, count in self.instances],
            "at_most": None if self.at_most is None else self.at_most.to_json(),
            "why": self.why,
        }


def costs(wanted: Wanted, prices: Mapping[str, Figure[Money]]) -> tuple[Cost, ...]:
    """
    Return what an attempt on each rung costs at most.

    :param prices: of an hour of one instance, by type.
    """
    return tuple(_cost(rung, prices) for rung in wanted.rungs)


def _cost(rung: Rung, prices: Mapping[str, Figure[Money]]) -> Cost:
    total: list[Money] = []
    if rung.max_run is None:
        return Cost(rung.name, None, rung.instances, None, "max_run is known only when the task runs")
    for kind, count in rung.instances:
        figure = prices.get(kind)
        if figure is None or figure.value is None:
            why = f"no price of {kind}" + (f" ({figure.why})" if figure is not None and figure.why else "")
            return Cost(rung.name, rung.max_run, rung.instances, None, why)
        hourly = figure.value
        total.append(Money(hourly.amount * count * Decimal(rung.max_run) / _HOUR, hourly.currency))
    if not total:
        return Cost(rung.name, rung.max_run, rung.instances, None, "its instances are not known here")
    if len({each.currency for each in total}) > 1:
        return Cost(rung.name, rung.max_run, rung.instances, None, "its prices are of different currencies")
    # Of a choice of types the dearest, else all of them.
    if rung.is_choice:
        worst = max(total, key=lambda each: each.amount)
    else:
        worst = Money(sum((each.amount for each in total), Decimal(0)), total[0].currency)
    return Cost(rung.name, rung.max_run, rung.instances, worst)


def judge_costs(
    found: Iterable[Cost], max_cost: Decimal | None, *, price_needed: bool = True
) -> Iterator[PreflightFinding]:
    """
    Yield the rungs on which an attempt may cost more than it is to, or nobody knows what.

    :param max_cost: in the currency of the prices; None for no limit.
    :param price_needed: whether a cost that is not known is as bad as one above the limit; else it is not checked.
    """
    if max_cost is None:
        return
    for cost in found:
        if cost.at_most is None:
            why = f"what one attempt on {cost.rung} costs is not known: {cost.why}"
            fix = "give a price table (--prices), or grant pricing:GetProducts"
            severity = Severity.FAIL if price_needed else Severity.UNCHECKED
            yield PreflightFinding("cost", severity, "max_cost", f"{max_cost:f}", why, fix)
        elif cost.at_most.amount > max_cost:
            why = f"one attempt on {cost.rung} costs {cost.at_most} if it trains for all of {human(cost.seconds or 0)}"
            fix = "lower max_run or the number of instances, choose a cheaper type, or raise the limit"
            yield PreflightFinding("cost", Severity.FAIL, "max_cost", f"{max_cost:f}", why, fix)
