"""What a run's costs are calculated from: on-demand prices of its ladder, and its budget."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone
from decimal import Decimal
from typing import TYPE_CHECKING

from airflow_spot import config as settings
from airflow_spot.core.durations import human
from airflow_spot.core.money.budget import Budget, no_price
from airflow_spot.core.money.prices import Money, Prices
from airflow_spot.core.parameter_errors import InvalidParameterError
from airflow_spot.core.plan import Plan
from airflow_spot.errors import SpotTrainingError
from airflow_spot.observers import Log

if TYPE_CHECKING:
    from airflow_spot.hooks.training import SageMakerSpotTrainingHook
    from airflow_spot.market.reader import Market


def market_of(hook: SageMakerSpotTrainingHook, prices: Prices | None = None, *, anew: bool = False) -> Market:
    """
    Return what AWS says of the market in a hook's region, by calls of seconds that are not repeated; cached.

    :param prices: the user's, which go before AWS's.
    :param anew: believe nothing that was kept, such as a refusal.
    """
    # Not while a DAG file is parsed.
    from airflow_spot.market.cache import Cache
    from airflow_spot.market.reader import Market

    # Another account, or Local SageMaker in AWS's place, answers otherwise.
    connection = hook.conn_config
    told = (connection.conn_id, connection.endpoint_url, connection.role_arn, connection.aws_access_key_id)
    account = repr((*told, connection.profile_name, os.environ.get("AWS_ENDPOINT_URL")))  # the cache hashes it
    return Market(
        hook.brief_client,
        str(hook.conn_region_name or ""),
        cache=Cache(None if anew else settings.cache_folder()),
        now=_now,
        prices=prices,
        account=account,
    )


def find_prices(
    hook: SageMakerSpotTrainingHook,
    plan: Plan,
    log: Log,
    *,
    carried: Prices | None,
    begins: bool,
    needed: bool = False,
) -> Prices | None:
    """
    Return the on-demand prices of where a run may train; None where none is known. It never raises.

    Those of the user's file, and for types that it does not have AWS's, if it is allowed to ask for them.

    :param carried: by a deferral.
    :param begins: whether a try begins; one that continues asks nothing.
    :param needed: unless a limit needs them: then it asks for what it does not know.
    """
    types = list(dict.fromkeys(kind for placement in plan.placements for kind, _ in placement.instances))
    if carried is not None:
        return more_prices(hook, log, carried, types) if needed else carried
    if not begins and not needed:
        return table_of(log)
    table = table_of(log)
    known = table.only(types) if table is not None else Prices()
    missing = [kind for kind in types if kind not in known.hourly]
    if missing and settings.aws_prices():
        known = _with_awss(known, hook, missing, log, needed=needed)
    if not known.hourly:
        return table
    log.info("%s", _told(known, _now()))
    return _with_table(known, table)


def more_prices(hook: SageMakerSpotTrainingHook, log: Log, known: Prices, types: Sequence[str]) -> Prices:
    """Return prices with those of further types, in the same currency, as far as they are known. It never raises."""
    if all(kind in known.hourly for kind in types):
        return known
    found = _with_table(known, table_of(log))
    missing = [kind for kind in dict.fromkeys(types) if kind not in found.hourly]
    return _with_awss(found, hook, missing, log, needed=True) if missing and settings.aws_prices() else found


def _with_table(known: Prices, table: Prices | None) -> Prices:
    """Return prices with the others of the user's file: an earlier attempt may have trained elsewhere."""
    if table is None or table.currency != known.currency:
        return known
    return replace(known, hourly={**table.hourly, **known.hourly})


def budget_of(
    max_cost: Decimal | None, prices: Prices | None, plan: Plan, *, begins: bool, first: bool = True
) -> Budget | None:
    """
    Return what a run may cost; None for any amount.

    :param begins: whether a try begins: one attempt may not cost more than the run.
    :param first: whether it is the first one.
    :raises InvalidParameterError: it may, or a price is not known and AWS is not to be asked.
    :raises SpotTrainingError: a price is not known that AWS may tell the next try, or that the run has begun with: a
        job that trains is left to it.
    """
    if max_cost is None:
        return None
    budget = Budget(Money(max_cost, prices.currency), prices) if prices is not None else None
    if (settings.aws_prices() or not (begins and first)) and (missing := _missing(budget, plan, begins=begins)):
        why = "Or AWS did not answer: the next try asks again"
        raise SpotTrainingError(f"max_cost is {max_cost}: it {missing}. {why}")
    if budget is None:
        raise InvalidParameterError("max_cost", str(max_cost), no_price(plan.placements[0], None))
    if begins:
        budget.check_attempt(plan.placements, plan.max_run)
    return budget


def _missing(budget: Budget | None, plan: Plan, *, begins: bool) -> str:
    if budget is None:
        return no_price(plan.placements[0], None)
    # One that continues has its prices, and creates nothing where a changed ladder has none.
    return budget.unpriced(plan.placements) if begins else ""


def table_of(log: Log | None) -> Prices | None:
    """Return the prices of the user's file; one that cannot be read costs no training."""
    try:
        return settings.prices()
    except InvalidParameterError as error:
        if log is not None:
            log.warning("%s. Its prices are not used", error)
        return None


def _with_awss(known: Prices, hook: SageMakerSpotTrainingHook, missing: list[str], log: Log, *, needed: bool) -> Prices:
    figures = market_of(hook).on_demand_prices(missing)
    if needed and (unknown := [kind for kind, figure in figures.items() if not figure.known]):
        # What was refused an hour ago may be permitted by now, and a silence may have passed.
        figures = {**figures, **market_of(hook, anew=True).on_demand_prices(unknown)}
    for why in dict.fromkeys(figure.why for figure in figures.values() if not figure.known):
        kinds = ", ".join(kind for kind, figure in figures.items() if not figure.known and figure.why == why)
        log.info("The on-demand price of %s is not known (%s)", kinds, why)
    return known.with_figures(figures)


def _told(prices: Prices, now: datetime) -> str:
    each = ", ".join(f"{kind} {price:f}" for kind, price in sorted(prices.hourly.items()))
    age = f", read {human((now - prices.read).total_seconds())} ago" if prices.read is not None else ""
    return f"On-demand prices, {prices.currency} an hour: {each} ({prices.source}{age})"


def _now() -> datetime:
    return datetime.now(timezone.utc)
