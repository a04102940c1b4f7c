"""Service quotas of training instances, and what of them is used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from airflow_spot.core.money.figures import Figure, unknown
from airflow_spot.core.money.market_answers import find_quota, read_quota, read_usage_metric, read_used, training_quotas
from airflow_spot.core.money.market_values import QuotaFigure, sagemaker_type
from airflow_spot.market.asking import Asking

PERMISSION = "servicequotas:ListServiceQuotas"
USE_PERMISSION = "cloudwatch:GetMetricData"
MAX_AGE = 3600.0
#: What is used changes with every job.
USED_MAX_AGE = 60.0
_MOST_PAGES = 100
#: GetMetricData takes 500 metrics in a call. Source: its API reference.
_MOST_METRICS = 500


def quotas(
    asking: Asking, client: Callable[[str], Any], region: str, types: Sequence[str]
) -> dict[tuple[str, bool], Figure[QuotaFigure]]:
    """
    Return the quotas of types, on spot and on-demand.

    :param client: of a service.
    """
    listed, read, why = asking.ask(region, MAX_AGE, PERMISSION, lambda: _listed(client("service-quotas")))
    wanted = [(kind, spot) for kind in dict.fromkeys(types) for spot in (True, False)]
    if why:
        return {each: unknown(PERMISSION, why) for each in wanted}
    used = _used(asking, client, region, listed, wanted)
    found: dict[tuple[str, bool], Figure[QuotaFigure]] = {}
    for kind, spot in wanted:
        quota = read_quota(listed, kind, spot, region)
        if quota is None:
            usage = "spot training" if spot else "training"
            none = f"no quota {sagemaker_type(kind)!r} for {usage} job usage in {region}"
            found[kind, spot] = unknown(PERMISSION, none)
        else:
            found[kind, spot] = Figure(replace(quota, used=used.get((kind, spot))), PERMISSION, read)
    return found


def _listed(client: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    token: str | None = None
    for _ in range(_MOST_PAGES):
        more = {"NextToken": token} if token else {}
        page = client.list_service_quotas(ServiceCode="sagemaker", MaxResults=100, **more)
        found += training_quotas(page.get("Quotas"))
        token = page.get("NextToken")
        if not token:
            break
    return found


def _used(
    asking: Asking, client: Callable[[str], Any], region: str, listed: Any, wanted: Sequence[tuple[str, bool]]
) -> dict[tuple[str, bool], float]:
    """Return what is used, of the quotas that have a metric and where CloudWatch may be asked."""
    metrics = {}
    for each in wanted[:_MOST_METRICS]:
        if metric := read_usage_metric(find_quota(listed, *each)):
            metrics[each] = metric
    if not metrics:
        return {}
    queries = [
        {
            "Id": f"q{nth}",
            "MetricStat": {
                "Metric": {
                    "Namespace": namespace,
                    "MetricName": name,
                    "Dimensions": [{"Name": key, "Value": value} for key, value in sorted(dimensions.items())],
                },
                "Period": 300,
                "Stat": "Maximum",
            },
        }
        for nth, (namespace, name, dimensions) in enumerate(metrics.values())
    ]
    now = asking.now

    def call() -> dict[str, float]:
        answer = client("cloudwatch").get_metric_data(
            MetricDataQueries=queries,
            StartTime=now - timedelta(minutes=30),
            EndTime=now,
            ScanBy="TimestampDescending",
        )
        results = answer.get("MetricDataResults") or ()
        return {str(each["Id"]): used for each in results if (used := read_used(each)) is not None}

    key = "|".join([region, *(f"{kind} {spot}" for kind, spot in metrics)])
    values, _, _ = asking.ask(key, USED_MAX_AGE, USE_PERMISSION, call)
    found = values if isinstance(values, dict) else {}
    numbers = {each: read_used({"Values": [found.get(f"q{nth}")]}) for nth, each in enumerate(metrics)}
    return {each: number for each, number in numbers.items() if number is not None}
