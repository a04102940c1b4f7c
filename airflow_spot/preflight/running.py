"""All checks of a run together, within a limit of time. Nothing raises."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

from airflow_spot.core import spot_rules
from airflow_spot.core.money.prices import Prices
from airflow_spot.core.plan import Plan
from airflow_spot.market.cache import Cache
from airflow_spot.market.reader import Market
from airflow_spot.preflight.asking import Asker, Clients
from airflow_spot.preflight.capacity import check_types, judge_quotas
from airflow_spot.preflight.costs import Cost, costs, judge_costs
from airflow_spot.preflight.findings import PreflightFinding, not_checked, of_error, weigh
from airflow_spot.preflight.images import check_images
from airflow_spot.preflight.places import check_places
from airflow_spot.preflight.role import check_credentials, check_role
from airflow_spot.preflight.wanted import Wanted, read_wanted, unknown_fields

BUDGET_SECONDS, CALL_SECONDS = 10.0, 3.0


@dataclass(frozen=True)
class PreflightReport:
    """
    What the checks found.

    :param findings: worst first.
    :param costs: what one attempt costs at most, by rung; empty where nobody looked.
    """

    findings: tuple[PreflightFinding, ...]
    costs: tuple[Cost, ...] = ()


def inspect(
    plan_or_requests: Plan | Mapping[str, Any] | Sequence[Mapping[str, Any]],
    clients: Clients,
    *,
    region: str,
    budget_seconds: float = BUDGET_SECONDS,
    call_seconds: float = CALL_SECONDS,
    only_needed_permissions: bool = False,
    max_cost: Decimal | None = None,
    prices: Prices | None = None,
    cache: Cache | None = None,
    end: float | None = None,
    price_needed: bool = True,
    more: Sequence[PreflightFinding] = (),
) -> PreflightReport:
    """
    Return what would go wrong with a run's jobs, and what an attempt costs at most.

    It never raises, and calls nothing that changes anything.

    :param plan_or_requests: a plan, or CreateTrainingJob requests, one a rung.
    :param clients: returns a boto3 client: given the service, the region, and a ``botocore`` config to merge.
    :param region: of the training.
    :param budget_seconds: for all checks; what has no answer by then is not checked.
    :param call_seconds: for a call, which is not repeated.
    :param only_needed_permissions: make only calls that need no permission beside those of the run itself.
    :param max_cost: what one attempt may cost at most.
    :param prices: a price table, which goes before AWS's prices.
    :param cache: of prices and quotas.
    :param end: of all checks, by ``time.monotonic``, where several runs share ``budget_seconds``; default: so many from
        now on.
    :param price_needed: whether a cost that is not known is as bad as one above ``max_cost``; else it is not checked.
    :param more: what was found elsewhere, such as in the script.
    """
    try:
        wanted = read_wanted(plan_or_requests)
        asker = Asker(
            clients,
            region,
            call_seconds=call_seconds,
            only_needed=only_needed_permissions,
        )
        market = _market(asker, region, prices, cache)
        end = time.monotonic() + budget_seconds if end is None else end
        found = [*more, *(of_error(error) for rung in wanted.rungs for error in spot_rules.violations(rung.request))]
        found += _not_known_yet(wanted)
        by_check, late = _together({"credentials": lambda: check_credentials(asker, wanted)}, end)
        told, usable = by_check.get("credentials", ([], True))
        found += told
        checks: dict[str, Callable[[], Any]] = {
            "role": lambda: check_role(asker, wanted),
            "bucket": lambda: check_places(asker, wanted),
            "type": lambda: check_types(asker, wanted),
            "image": lambda: check_images(asker, wanted),
        }
        if any(each.field == "RoleArn" for each in told):
            del checks["role"]  # of another account: what is there of that name is another role
        if not usable:
            checks = {}
        if usable and not only_needed_permissions:
            checks["quota"] = lambda: list(judge_quotas(wanted, market.quotas(wanted.types)))
        if not only_needed_permissions or prices is not None or max_cost is not None:
            asks = usable and not only_needed_permissions
            table = prices.hourly if prices is not None else {}
            known = wanted.types if asks else [kind for kind in wanted.types if kind in table]
            checks["cost"] = lambda: costs(wanted, market.on_demand_prices(known))
        answers, unfinished = _together(checks, end)
        spent = answers.pop("cost", costs(wanted, {}) if max_cost is not None else ())
        for each in answers.values():
            found += each
        found += judge_costs(spent, max_cost, price_needed=price_needed)
        found += [
            not_checked(check, check, "", f"no answer within {budget_seconds:g} s") for check in (*late, *unfinished)
        ]
        return PreflightReport(tuple(weigh(found, wanted.names)), spent)
    except Exception as error:  # it is here to help: nothing fails because of it
        return PreflightReport((*more, not_checked("request", "preflight", "", f"{type(error).__name__}")))


def _market(asker: Asker, region: str, prices: Prices | None, cache: Cache | None) -> Market:
    return Market(
        asker.client,
        region,
        cache=cache or Cache(None),
        now=lambda: datetime.now(timezone.utc),
        prices=prices,
    )


def _not_known_yet(wanted: Wanted) -> list[PreflightFinding]:
    fields = dict.fromkeys(field for rung in wanted.rungs for field in unknown_fields(rung.request))
    why = "it is a template, and known only when the task runs"
    # Their values are nobody's business here.
    return [
        not_checked("request", field, "", why)
        for field in fields
        if not field.startswith(("HyperParameters", "Environment", "Tags"))
    ]


def _together(checks: Mapping[str, Callable[[], Any]], end: float) -> tuple[dict[str, Any], list[str]]:
    """
    Run checks side by side; return what each found, and those that were not done in time.

    Each has a thread that nobody waits for longer: no limit of a socket covers a name server that does not answer.

    :param end: by ``time.monotonic``.
    """
    found: dict[str, Any] = {}
    if time.monotonic() >= end:
        return found, list(checks)  # nothing is asked that nobody waits for

    def run(name: str, check: Callable[[], Any]) -> None:
        try:
            result = check()
        except Exception as error:  # said as what it is, and the other checks are good for something
            result = [not_checked(name, name, "", type(error).__name__)]
            if name == "credentials":
                result = (result, True)
            elif name == "cost":
                return
        found[name] = result

    threads = [
        threading.Thread(target=run, args=each, daemon=True, name=f"preflight-{each[0]}") for each in checks.items()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    done = dict(found)  # a check that ends from now on is late
    return done, [name for name in checks if name not in done]
