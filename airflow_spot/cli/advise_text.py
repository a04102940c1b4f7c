"""Advice as text for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from airflow_spot.cli.aws import WIDTH, table, wrapped
from airflow_spot.core.durations import human
from airflow_spot.core.money.advice import Discount, Row, Work
from airflow_spot.core.money.advice_ladder import Request, Step, ladder_json
from airflow_spot.core.money.figures import Figure
from airflow_spot.core.money.market_values import SCORE_NOTE, QuotaFigure
from airflow_spot.core.money.prices import Money

_HEAD = ("type", "on-demand", "spot", "time on spot", "interrupted", "score", "quota: spot", "on-demand")
_ZONES = ("zone", "type", "EC2's spot discount now", "7 days", "90 days")
_UNKNOWN = "?"
#: What each source tells; any other is where the Spot Instance Advisor's data was looked for.
_TELLS = {
    "pricing:GetProducts": "on-demand prices",
    "ec2:DescribeSpotPriceHistory": "EC2's spot prices",
    "ec2:GetSpotPlacementScores": "placement scores",
    "servicequotas:ListServiceQuotas": "quotas",
    "cloudwatch:GetMetricData": "what is used of the quotas",
    "sagemaker:ListTrainingJobs": "this account's own jobs",
    "sagemaker:DescribeTrainingJob": "this account's own jobs",
}


def advice_lines(rows: Sequence[Row], work: Work, region: str, now: datetime) -> Iterator[str]:
    """Yield the table of types, EC2's discounts by zone, and what the figures are built on."""
    yield _subject(work, region)
    yield ""
    yield from table([_HEAD, *(_cells(row) for row in rows)])
    yield ""
    for row in rows:
        yield from wrapped(f"{row.instance_type}: {_built_on(row)}")
    if zones := [_zone(row.instance_type, each) for row in rows for each in row.zones]:
        yield ""
        yield from table([_ZONES, *zones])
        yield "These are EC2's prices. SageMaker does not publish what it bills on spot."
    if any(row.figures.score.known for row in rows):
        yield from wrapped(f"score: EC2's placement score, 1 to 10. {SCORE_NOTE}.")
    if ages := _ages(rows, now):
        yield f"read a while ago: {ages}"


def _subject(work: Work, region: str) -> str:
    instances = "1 instance" if work.count == 1 else f"{work.count} instances"
    return (
        f"{work.hours:g} h of training on {instances} in {region}, a checkpoint every {work.checkpoint_minutes:g} min"
    )


def missing_lines(rows: Sequence[Row], not_read: Mapping[str, str]) -> Iterator[str]:
    """Yield what is not known and what would tell it, each once."""
    # By the reason: without credentials or a connection it is the same one for all.
    told: dict[str, dict[str, str]] = {}
    for source, why in not_read.items():
        told.setdefault(why, {})[_what(source)] = source
    for row in rows:
        figures = row.figures
        for each in (
            figures.on_demand,
            figures.ec2_on_demand,
            figures.spot,
            figures.score,
            figures.band,
            figures.spot_quota,
            figures.on_demand_quota,
        ):
            if not each.known:
                told.setdefault(each.why, {})[_what(each.source)] = each.source
    if told:
        yield ""
        yield "not known:"
        for why, sources in told.items():
            yield from wrapped(_missing(sources, why), "  ", "    ")


def _what(source: str) -> str:
    return _TELLS.get(source, "interruption bands")


def _missing(sources: Mapping[str, str], why: str) -> str:
    """Return a line of what is not known for a reason; the source is named where it is one."""
    source = next(iter(sources.values()))
    named = len(sources) > 1 or source in why or source == "spot advisor"
    return f"{', '.join(sources)}: {why}" if named else f"{', '.join(sources)}: {source}: {why}"


def nothing_lines(rows: Sequence[Row], work: Work, region: str, not_read: Mapping[str, str]) -> Iterator[str]:
    """Yield what there is to say where no figure of any type is known."""
    yield _subject(work, region)
    yield ""
    yield "no ladder: nothing is known of these types, and so nothing tells which goes before which"
    yield from missing_lines(rows, not_read)


def ladder_lines(
    steps: Sequence[Step], skipped: Sequence[tuple[str, str]], requests: Sequence[Request] = ()
) -> Iterator[str]:
    """Yield the ladder to paste, the reason for each rung, what is not on it, and which quotas to ask for."""
    yield ""
    if not steps:
        yield "no ladder: no quota of these types allows the job"
    else:
        yield "ladder, with the reasons below; it can be pasted into the operator:"
        yield ""
        yield "ladder=["
        for each in ladder_json(steps):
            yield from textwrap.wrap(f"{_python(each)},", WIDTH, initial_indent="    ", subsequent_indent="        ")
        yield "]"
        yield ""
    for nth, step in enumerate(steps, 1):
        where = f"{step.types[0]} spot" if step.spot else f"{' or '.join(step.types)} on-demand"
        yield from wrapped(f"{nth}. {where}: {step.why}")
    asked = {each.instance_type for each in requests}
    for kind, why in skipped:
        if kind not in asked:
            yield from wrapped(f"left out: {kind} spot: {why}")
    if requests:
        yield from _request_lines(requests)


def _request_lines(requests: Sequence[Request]) -> Iterator[str]:
    yield ""
    yield "once the quota is there, on spot in this order:"
    yield ""
    for nth, each in enumerate(requests, 1):
        yield from wrapped(f"{nth}. {each.instance_type} spot: {each.why}")
    yield ""
    yield "request an increase, the first before the others:"
    yield ""
    for each in requests:
        quota = each.quota
        line = f"{quota.name} ({quota.code}): {each.count} or more, it is {quota.limit:g}. {quota.console_url}"
        yield from wrapped(line)
    yield ""
    yield "next: `airflow-spot check FILE`, with the DAG's file or the config's, says what else is missing"


def _python(rung: Any) -> str:
    return repr(rung).replace("'", '"')


def _cells(row: Row) -> list[str]:
    figures = row.figures
    seen = figures.experience
    band = figures.band.value
    if seen is not None and seen.enough:
        interrupted = f"here {seen.totals.interruptions} in {seen.trained_hours:.0f} h"
    else:
        interrupted = _UNKNOWN if band is None else str(band)
    return [
        row.instance_type,
        _UNKNOWN if row.on_demand_cost is None else str(row.on_demand_cost),
        _UNKNOWN if row.spot_cost is None else _money(*row.spot_cost),
        f"{_span(*row.spot_hours, 1)} h",
        interrupted,
        _UNKNOWN if figures.score.value is None else str(figures.score.value),
        _quota(figures.spot_quota),
        _quota(figures.on_demand_quota),
    ]


def _built_on(row: Row) -> str:
    low, high = (float(100 * each) for each in row.discount)
    discount = f"discount {_span(low, high, 0)} % ({row.discount_why})"
    interruptions = f"{_span(*row.interruptions, 2)} interruptions ({row.interruptions_why})"
    seen = row.figures.experience
    here = "" if seen is None else f"; here: {seen}"
    if seen is not None and seen.waits:
        here += f", waited at most {human(max(seen.waits))}"
    return f"{discount}, {interruptions}{here}"


def _zone(kind: str, each: Discount) -> list[str]:
    return [
        each.zone,
        kind,
        f"{each.now:.0f} %",
        f"{_span(each.low_7, each.high_7, 0)} %",
        f"{_span(each.low_90, each.high_90, 0)} %",
    ]


def _span(low: float, high: float, digits: int) -> str:
    """Return a range; one number where both ends look alike. A negative end keeps its sign readable."""
    first, last = f"{low:.{digits}f}", f"{high:.{digits}f}"
    if first == last:
        return first
    return f"{first} to {last}" if low < 0 else f"{first}-{last}"


def _money(low: Money, high: Money) -> str:
    return f"{_span(float(low.amount), float(high.amount), 2)} {low.currency}"


def _quota(figure: Figure[QuotaFigure]) -> str:
    value = figure.value
    if value is None:
        return _UNKNOWN
    return f"{value.limit:g}" if value.used is None else f"{value.left:g} of {value.limit:g} left"


def _ages(rows: Sequence[Row], now: datetime) -> str:
    """Name the sources that were read more than a minute ago, each with its oldest figure's age."""
    ages: dict[str, float] = {}
    for row in rows:
        figures = row.figures
        for each in (figures.on_demand, figures.spot, figures.score, figures.band, figures.spot_quota):
            age = each.age_seconds(now) if each.known else None
            if age is not None and age > 60:
                ages[each.source] = max(age, ages.get(each.source, 0.0))
    return ", ".join(f"{source} {human(age)}" for source, age in ages.items())
