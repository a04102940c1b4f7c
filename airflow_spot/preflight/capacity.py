"""Whether a rung can ever get its instances: the region has the type, and the account's quota is large enough."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from airflow_spot.core.money.figures import Figure
from airflow_spot.core.money.market_values import QuotaFigure, ec2_type
from airflow_spot.preflight.asking import Answer, Asker
from airflow_spot.preflight.findings import PreflightFinding, Severity, not_checked
from airflow_spot.preflight.wanted import Rung, Wanted

Quotas = Mapping[tuple[str, bool], Figure[QuotaFigure]]


def check_types(ask: Asker, wanted: Wanted) -> list[PreflightFinding]:
    """Return which types the region does not have, by EC2: SageMaker has no others."""
    if not wanted.types:
        return []
    answer = ask.ask(
        "ec2:DescribeInstanceTypeOfferings",
        LocationType="region",
        Filters=[{"Name": "instance-type", "Values": sorted({ec2_type(kind) for kind in wanted.types})}],
    )
    return list(judge_types(answer, wanted, ask.region))


def judge_types(answer: Answer, wanted: Wanted, region: str) -> Iterator[PreflightFinding]:
    """Yield the types that EC2 does not offer in a region."""
    if answer.skipped:
        return
    if answer.why:
        yield not_checked("type", "ResourceConfig.InstanceType", ", ".join(wanted.types), answer.why)
        return
    offered = {str(each.get("InstanceType")) for each in answer.value.get("InstanceTypeOfferings") or ()}
    for rung in wanted.rungs:
        missing = [kind for kind, _ in rung.instances if ec2_type(kind) not in offered]
        if rung.is_choice and len(missing) < len(rung.instances):
            continue
        for kind in missing:
            why = f"{region} has no such instances: SageMaker refuses the job"
            fix = "name another type, or train in another region"
            yield PreflightFinding("type", Severity.FAIL, "ResourceConfig.InstanceType", kind, why, fix, rung=rung.name)


def judge_quotas(wanted: Wanted, quotas: Quotas) -> Iterator[PreflightFinding]:
    """
    Yield the rungs whose quota is below what they ask for, or used up now.

    Of a rung that takes one of several types, a quota that is too small is a warning, unless all are too small.
    """
    for rung in wanted.rungs:
        figures = [(kind, count, quotas.get((kind, rung.on_spot))) for kind, count in rung.instances]
        others = rung.is_choice and not all(_too_small(count, figure) for _, count, figure in figures)
        for kind, count, figure in figures:
            if figure is not None:
                yield from _judge_quota(rung, kind, count, figure, others=others)


def _too_small(count: int, figure: Figure[QuotaFigure] | None) -> bool:
    return figure is not None and figure.value is not None and figure.value.limit < count


def _judge_quota(
    rung: Rung, kind: str, count: int, figure: Figure[QuotaFigure], *, others: bool
) -> Iterator[PreflightFinding]:
    """
    Yield what a quota means for a rung.

    :param others: whether the rung may take another type instead.
    """
    field, asked = "ResourceConfig.InstanceCount", str(count)
    quota = figure.value
    if quota is None:
        market = "spot" if rung.on_spot else "on-demand"
        yield not_checked("quota", field, asked, f"the quota of {kind} {market}: {figure.why}")
        return
    limit = f"{quota.limit:g}"
    if _too_small(count, figure):
        severity = Severity.WARN if others else Severity.FAIL
        then = "only the other types can be had" if others else "the job is refused, however long it waits"
        why = f"the quota {quota.name!r} ({quota.code}) is {limit}: {then}"
        fix = f"request {count} or more" if quota.adjustable else "AWS does not raise it on request: use another type"
        yield PreflightFinding("quota", severity, field, asked, why, fix, rung=rung.name, link=quota.console_url)
    elif quota.used is not None and quota.used + count > quota.limit:
        why = (
            f"the quota {quota.name!r} ({quota.code}) is {limit}, of which {quota.used:g} are used now: the job waits "
            "for its turn"
        )
        yield PreflightFinding(
            "quota",
            Severity.WARN,
            field,
            asked,
            why,
            "request more, or run fewer at once",
            rung=rung.name,
            link=quota.console_url,
        )
