"""
What a training would cost and take on each instance type, on spot and on-demand, as ranges.

How it is calculated, which ``docs/advise.md`` says to users:

- On-demand: hours x price x instances.
- Interruptions: where this account has trained for an hour on the type, n of them in h hours are a rate from
  (n - sqrt n) / h to (n + sqrt n + 1) / h. Else the Spot Instance Advisor's band: its low end is taken as the share of
  instances that a month of running loses, its high end as the share that each day, or part of one, loses; more than
  20 % is taken as 20 to 50 %, and no band as 0 to 50 %. A job is interrupted when any of its instances is.
- Time: each interruption costs half a checkpoint interval, which is trained again, and a changeover.
- Cost on spot: that time at the on-demand price, less the discount: what SageMaker billed this account less; else
  EC2's spot discount from its worst to its best of 90 days; else the advisor's savings; else 0 to 90 %, since AWS says
  "up to 90 %". SageMaker does not publish its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from airflow_spot.core.money.experience import Experience
from airflow_spot.core.money.figures import Figure, unknown
from airflow_spot.core.money.market_values import Band, QuotaFigure, SpotPrices
from airflow_spot.core.money.prices import Money

_MONTH_HOURS = 730.0
_DAY_HOURS = 24.0
#: What "more than 20 %", or no band at all, is taken for at its worst, in percent.
_WORST_PERCENT = 50
_MOST_DISCOUNT = Decimal("0.9")
_ONE, _NONE = Decimal(1), Decimal(0)


@dataclass(frozen=True)
class Work:
    """
    What is to be trained.

    :param hours: of training, without any interruption, on each type; more than 0.
    :param count: instances.
    :param checkpoint_minutes: from one checkpoint to the next.
    :param changeover_minutes: from an interruption to the script's next begin, where no history tells it.
    :param hours_of: by type, where it takes another time there.
    """

    hours: float = 1.0
    count: int = 1
    checkpoint_minutes: float = 15.0
    changeover_minutes: float = 5.0
    hours_of: Mapping[str, float] = field(default_factory=dict)

    def hours_on(self, instance_type: str) -> float:
        """Return how long it trains on a type."""
        return self.hours_of.get(instance_type, self.hours)


@dataclass(frozen=True)
class TypeFigures:
    """
    What is known of an instance type in a region.

    :param on_demand: SageMaker's price of an hour of one instance in training.
    :param ec2_on_demand: EC2's own, by which ``spot``, EC2's spot prices, is a discount.
    :param experience: what this account got of it; None where that was not looked at, or it never had one.
    """

    instance_type: str
    on_demand: Figure[Money] = field(default_factory=lambda: unknown("pricing:GetProducts", "not asked"))
    ec2_on_demand: Figure[Money] = field(default_factory=lambda: unknown("pricing:GetProducts", "not asked"))
    spot: Figure[SpotPrices] = field(default_factory=lambda: unknown("ec2:DescribeSpotPriceHistory", "not asked"))
    score: Figure[int] = field(default_factory=lambda: unknown("ec2:GetSpotPlacementScores", "not asked"))
    band: Figure[Band] = field(default_factory=lambda: unknown("spot advisor", "not asked"))
    spot_quota: Figure[QuotaFigure] = field(
        default_factory=lambda: unknown("servicequotas:ListServiceQuotas", "not asked")
    )
    on_demand_quota: Figure[QuotaFigure] = field(
        default_factory=lambda: unknown("servicequotas:ListServiceQuotas", "not asked")
    )
    experience: Experience | None = None


@dataclass(frozen=True)
class Discount:
    """EC2's spot discount against EC2's on-demand price in a zone, in percent: now, and its lowest and highest."""

    zone: str
    now: float
    low_7: float
    high_7: float
    low_90: float
    high_90: float


@dataclass(frozen=True)
class Row:
    """
    What a training comes to on a type.

    :param on_demand_cost: None where the price is not known; so is ``spot_cost``, from its low end to its high end.
    :param spot_hours: from its low end to its high end; so is ``interruptions``, expected during the training.
    :param discount: what SageMaker is taken to bill less on spot, from 0 to 1; ``discount_why`` says by what.
    :param zones: EC2's discounts; empty where EC2's prices are not known.
    """

    figures: TypeFigures
    work: Work
    on_demand_cost: Money | None
    spot_cost: tuple[Money, Money] | None
    spot_hours: tuple[float, float]
    interruptions: tuple[float, float]
    interruptions_why: str
    discount: tuple[Decimal, Decimal]
    discount_why: str
    zones: tuple[Discount, ...] = ()

    @property
    def instance_type(self) -> str:
        """The type."""
        return self.figures.instance_type

    @property
    def hours(self) -> float:
        """The hours of work."""
        return self.work.hours_on(self.instance_type)

    @property
    def expected_cost(self) -> Money | None:
        """The middle of what it costs on spot; None where the price is not known."""
        if self.spot_cost is None:
            return None
        low, high = self.spot_cost
        return Money((low.amount + high.amount) / 2, low.currency)

    @property
    def useful_hour(self) -> Money | None:
        """The middle of what an hour of useful work costs on spot, of all instances; None where that is not known."""
        cost = self.expected_cost
        return None if cost is None else Money(cost.amount / _decimal(self.hours), cost.currency)


def advise(figures: Iterable[TypeFigures], work: Work) -> list[Row]:
    """Return a row for each type, in their order."""
    return [_row(each, work) for each in figures]


def _row(figures: TypeFigures, work: Work) -> Row:
    hours = work.hours_on(figures.instance_type)
    interruptions, interrupted = expected_interruptions(figures, hours, work.count)
    discount, discounted = expected_discount(figures)
    changeover = figures.experience.changeover_minutes if figures.experience and figures.experience.enough else None
    lost = (work.checkpoint_minutes / 2 + (work.changeover_minutes if changeover is None else changeover)) / 60
    spot_hours = (hours + interruptions[0] * lost, hours + interruptions[1] * lost)
    on_demand = spot = None
    if (price := figures.on_demand.value) is not None:
        hourly = price.amount * work.count
        on_demand = Money(hourly * _decimal(hours), price.currency)
        spot = (
            Money(hourly * _decimal(spot_hours[0]) * (_ONE - discount[1]), price.currency),
            Money(hourly * _decimal(spot_hours[1]) * (_ONE - discount[0]), price.currency),
        )
    return Row(
        figures,
        work,
        on_demand,
        spot,
        spot_hours,
        interruptions,
        interrupted,
        discount,
        discounted,
        discounts(figures),
    )


def expected_interruptions(figures: TypeFigures, hours: float, count: int) -> tuple[tuple[float, float], str]:
    """Return how many interruptions are expected in so many hours, as a range, and by what."""
    seen = figures.experience
    if seen is not None and seen.enough:
        times = seen.totals.interruptions
        # A job is interrupted when any of its instances is.
        of_each = seen.trained_hours if seen.instance_hours is None else seen.instance_hours
        rates = [each / of_each for each in (times - math.sqrt(times), times + math.sqrt(times) + 1)]
        return (rates[0] * hours * count, rates[1] * hours * count), "what this account had"
    band = figures.band.value
    low, high = (band.low, band.high) if band else (0, None)
    worst = max(_WORST_PERCENT, low) if high is None else max(high, low)
    months, days = hours / _MONTH_HOURS, max(1.0, hours / _DAY_HOURS)
    why = "the advisor's band" if band else "not known"
    return (max(0, low) / 100 * months * count, worst / 100 * days * count), why


def expected_discount(figures: TypeFigures) -> tuple[tuple[Decimal, Decimal], str]:
    """Return what SageMaker is taken to bill less on spot, from 0 to 1 as a range, and by what."""
    seen = figures.experience
    if seen is not None and seen.enough and (own := seen.discount) is not None:
        return (_decimal(own), _decimal(own)), "what SageMaker billed this account"
    prices, on_demand = figures.spot.value, figures.ec2_on_demand.value
    if prices is not None and on_demand is not None and _comparable(prices, on_demand):
        ends = [_ONE - each / on_demand.amount for each in (prices.high_90, prices.low_90)]
        return (_share(min(ends)), _share(max(ends))), "EC2's spot discount of 90 days"
    if (band := figures.band.value) is not None:
        saves = _share(Decimal(band.savings_percent) / 100)
        return (saves, saves), "the advisor's savings on EC2"
    return (_NONE, _MOST_DISCOUNT), "not known: AWS says up to 90 %"


def discounts(figures: TypeFigures) -> tuple[Discount, ...]:
    """Return EC2's spot discount by zone; empty where EC2's prices are not known. It is not SageMaker's."""
    prices, on_demand = figures.spot.value, figures.ec2_on_demand.value
    if prices is None or on_demand is None or not _comparable(prices, on_demand):
        return ()

    def percent(price: Decimal) -> float:
        return round(float(100 * (1 - price / on_demand.amount)), 1)

    return tuple(
        Discount(
            zone,
            percent(each.now),
            percent(each.high_7),
            percent(each.low_7),
            percent(each.high_90),
            percent(each.low_90),
        )
        for zone, each in sorted(prices.zones.items())
    )


def _comparable(prices: SpotPrices, on_demand: Money) -> bool:
    return on_demand.amount > 0 and prices.currency == on_demand.currency


def _share(value: Decimal) -> Decimal:
    return min(_ONE, max(_NONE, value))


def _decimal(value: float) -> Decimal:
    return Decimal(str(value))


def to_json(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return rows as JSON. Keys are only ever added."""
    return [_row_json(row) for row in rows]


def _row_json(row: Row) -> dict[str, Any]:
    figures = row.figures
    quotas = {"spot_quota": figures.spot_quota, "on_demand_quota": figures.on_demand_quota}
    return {
        "instance_type": row.instance_type,
        "hours": row.hours,
        "on_demand_price": _figure(figures.on_demand, lambda value: value.to_json()),
        "on_demand_cost": None if row.on_demand_cost is None else row.on_demand_cost.to_json(),
        "spot_cost": None if row.spot_cost is None else [each.to_json() for each in row.spot_cost],
        "spot_hours": [round(each, 3) for each in row.spot_hours],
        "interruptions": [round(each, 4) for each in row.interruptions],
        "interruptions_by": row.interruptions_why,
        "discount_percent": [round(float(100 * each), 1) for each in row.discount],
        "discount_by": row.discount_why,
        "ec2_discount_percent": {
            zone.zone: {"now": zone.now, "7d": [zone.low_7, zone.high_7], "90d": [zone.low_90, zone.high_90]}
            for zone in row.zones
        },
        "ec2_prices": _figure(figures.spot, lambda value: {zone: str(price) for zone, price in value.now.items()}),
        "ec2_on_demand_price": _figure(figures.ec2_on_demand, lambda value: value.to_json()),
        "placement_score": _figure(figures.score, lambda value: value),
        "interruption_band": _figure(figures.band, str),
        **{name: _figure(each, _quota) for name, each in quotas.items()},
        "here": None if figures.experience is None else _experience(figures.experience),
    }


def _experience(seen: Experience) -> dict[str, Any]:
    return {
        "jobs": seen.totals.attempts,
        "trained_hours": round(seen.trained_hours, 2),
        "interruptions": seen.totals.interruptions,
        "discount_percent": seen.totals.spot_discount_percent,
        "longest_wait_seconds": round(max(seen.waits)) if seen.waits else None,
    }


def _quota(value: QuotaFigure) -> dict[str, Any]:
    return {"limit": value.limit, "used": value.used, "code": value.code, "console": value.console_url}


def _figure(figure: Figure[Any], shown: Any) -> dict[str, Any]:
    if figure.value is None:
        return {"value": None, "source": figure.source, "why": figure.why}
    read = None if figure.read is None else figure.read.isoformat()
    note = {"note": figure.why} if figure.why else {}
    return {"value": shown(figure.value), "source": figure.source, "read": read, **note}
