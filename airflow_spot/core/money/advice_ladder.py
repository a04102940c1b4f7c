"""The order in which to try instance types, with the reason for each place: a ladder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from airflow_spot.core.ladder import PREFERENCES_LIMIT
from airflow_spot.core.money.advice import Row, TypeFigures, Work, advise
from airflow_spot.core.money.figures import Figure
from airflow_spot.core.money.market_values import QuotaFigure


@dataclass(frozen=True)
class Step:
    """
    A rung of the ladder.

    :param types: one on spot; on-demand, all that may be taken, in the order of preference.
    :param why: why it has this place.
    """

    types: tuple[str, ...]
    spot: bool
    why: str


@dataclass(frozen=True)
class Request:
    """
    A spot quota to ask for.

    :param why: why its type has this place among the others.
    :param count: instances that the job needs.
    """

    instance_type: str
    why: str
    quota: QuotaFigure
    count: int


def order_types(figures: Iterable[TypeFigures], work: Work | None = None) -> list[tuple[str, str]]:
    """
    Return the types to try on spot, the best first, each with the reason for its place.

    The cheapest expected training comes first, among those whose quota allows it now, then those whose quota is in use;
    a price that is not known, or in another currency, comes behind. Types whose quota is too small are not among them:
    see :func:`left_out`.

    :param work: what is to be trained; left out, an hour on one instance, by which types compare as by any time.
    """
    return _ordered(advise(figures, work or Work()))


def left_out(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """Return the types that are not tried on spot, since no wait helps their quota, each with the reason."""
    return [(row.instance_type, why) for row in rows if (why := _too_small(row.figures.spot_quota, row.work.count))]


def requests_of(rows: Sequence[Row]) -> list[Request]:
    """
    Return which spot quotas to ask for, the best type first; none where a type may be tried on spot already.

    A quota that AWS does not raise is not among them.
    """
    if not all(_too_small(row.figures.spot_quota, row.work.count) for row in rows):
        return []
    found = {row.instance_type: row.figures.spot_quota.value for row in rows}
    raised = [row for row in rows if (quota := found[row.instance_type]) is not None and quota.adjustable]
    currency = _currency(raised)
    return [
        Request(row.instance_type, _why(row, currency, of_quota=False), quota, row.work.count)
        for row in _best_first(raised, currency)
        if (quota := found[row.instance_type]) is not None
    ]


def nothing_known(rows: Sequence[Row]) -> bool:
    """Return whether types compare by nothing at all: no price, no score, no band, no quota, no job of the account."""
    return not any(
        figures.experience is not None
        or any(
            each.known
            for each in (
                figures.on_demand,
                figures.spot,
                figures.score,
                figures.band,
                figures.spot_quota,
                figures.on_demand_quota,
            )
        )
        for figures in (row.figures for row in rows)
    )


def advise_ladder(rows: Sequence[Row]) -> list[Step]:
    """
    Return the rungs in order: spot types, then one on-demand rung, of which the cheapest type comes first.

    A type whose on-demand quota is too small is not on the last rung; where all are, there is none. Where nothing is
    known of any type, there are no rungs.
    """
    if nothing_known(rows):
        return []
    steps = [Step((kind,), True, why) for kind, why in _ordered(rows)]
    usable = [row for row in rows if not _too_small(row.figures.on_demand_quota, row.work.count)]
    currency = _currency(usable)
    usable.sort(key=lambda row: _amount(row, currency, spot=False))
    if usable:
        types = tuple(dict.fromkeys(row.instance_type for row in usable))[:PREFERENCES_LIMIT]
        steps.append(Step(types, False, _on_demand_why(usable[0])))
    return steps


def ladder_json(steps: Iterable[Step]) -> list[Any]:
    """Return steps as the operator's ``ladder`` takes them."""
    return [step.types[0] if step.spot else {"on_demand": list(step.types)} for step in steps]


def _ordered(rows: Sequence[Row]) -> list[tuple[str, str]]:
    usable = [row for row in rows if not _too_small(row.figures.spot_quota, row.work.count)]
    currency = _currency(usable)
    return [(row.instance_type, _why(row, currency)) for row in _best_first(usable, currency)]


def _best_first(rows: Sequence[Row], currency: str | None) -> list[Row]:
    def rank(row: Row) -> tuple[bool, Decimal, int, float]:
        score = row.figures.score.value or 0
        return (_in_use(row), _amount(row, currency, spot=True), -score, row.interruptions[1])

    return sorted(rows, key=rank)


def _currency(rows: Sequence[Row]) -> str | None:
    """Return the currency in which most prices are: amounts of others do not compare."""
    found = [row.on_demand_cost.currency for row in rows if row.on_demand_cost is not None]
    return max(found, key=found.count, default=None)


def _amount(row: Row, currency: str | None, *, spot: bool) -> Decimal:
    cost = row.expected_cost if spot else row.on_demand_cost
    return cost.amount if cost is not None and cost.currency == currency else Decimal("Infinity")


def _too_small(quota: Figure[QuotaFigure], count: int) -> str:
    """Return why no wait helps; empty where the quota allows so many instances, or is not known."""
    value = quota.value
    if value is None or value.limit >= count:
        return ""
    raised = f": request an increase at {value.console_url}" if value.adjustable else ", and AWS does not raise it"
    return f"the quota {value.name!r} ({value.code}) is {value.limit:g}, and the job needs {count}{raised}"


def _in_use(row: Row) -> bool:
    value = row.figures.spot_quota.value
    return value is not None and value.left < row.work.count


def _why(row: Row, currency: str | None, *, of_quota: bool = True) -> str:
    parts = []
    hour = row.useful_hour
    if hour is None:
        parts.append("its price is not known")
    elif hour.currency != currency:
        parts.append(f"its price is in {hour.currency}")
    else:
        parts.append(f"about {hour.amount:.2f} {hour.currency} an hour of useful work")
    quota = row.figures.spot_quota.value
    if not of_quota:
        pass
    elif quota is None:
        parts.append("spot quota not known")
    elif _in_use(row):
        parts.append(f"of the spot quota {quota.limit:g}, {quota.used or 0:g} are in use")
    else:
        parts.append(f"spot quota {quota.limit:g}")
    seen = row.figures.experience
    if seen is not None and seen.enough:
        parts.append(f"here: {seen}")
    elif (band := row.figures.band.value) is not None:
        parts.append(f"interrupted {band} a month")
    if (score := row.figures.score.value) is not None:
        parts.append(f"placement score {score}")
    return ", ".join(parts)


def _on_demand_why(first: Row) -> str:
    if first.on_demand_cost is None:
        return "where spot has no capacity; prices are not known"
    return f"where spot has no capacity: {first.on_demand_cost} for the whole training"
