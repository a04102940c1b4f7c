"""A task's look at what would go wrong, before the first job of a generation is created."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from airflow_spot.core.money.prices import Prices
from airflow_spot.core.plan import Plan
from airflow_spot.errors import RequestError
from airflow_spot.market.cache import Cache
from airflow_spot.observers import Log
from airflow_spot.preflight.findings import Severity
from airflow_spot.preflight.running import inspect

if TYPE_CHECKING:
    from airflow_spot.hooks.training import SageMakerSpotTrainingHook


def look_ahead(
    hook: SageMakerSpotTrainingHook,
    plan: Plan,
    mode: str,
    log: Log,
    *,
    max_cost: Decimal | None = None,
    prices: Prices | None = None,
) -> None:
    """
    Tell what would go wrong with a run's jobs; it takes ten seconds at most.

    :param mode: ``"off"``; ``"warn"``, which asks only what needs no permission beside those of the run; or ``"fail"``,
        which asks all.
    :raises RequestError: in mode ``"fail"``, no job would start, or none would end well.
    """
    if mode == "off":
        return
    findings = inspect(
        plan,
        hook.clients_of_any_service(),
        region=str(hook.conn_region_name or ""),
        only_needed_permissions=mode == "warn",
        max_cost=max_cost,
        prices=prices,
        # A quota that was raised a minute ago is to be believed.
        cache=Cache(None),
    ).findings
    fatal = [found for found in findings if found.severity is Severity.FAIL]
    for found in findings:
        if found.severity is not Severity.UNCHECKED:
            log.warning("Preflight: %s", found)
        elif mode == "fail":
            log.info("Preflight: %s", found)
    if fatal and mode == "fail":
        count = f"{len(fatal)} findings, the first: " if len(fatal) > 1 else ""
        raise RequestError(f'No job was created (preflight="fail"): {count}{fatal[0]}')
