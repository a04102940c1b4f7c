"""``airflow-spot advise``: what a training would cost on which instance type, and in which order to try them."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_spot.cli.aws import CommandError, add_session_arguments, brief_clients, client, guarded
from airflow_spot.cli.market import market_of
from airflow_spot.core.durations import seconds

if TYPE_CHECKING:
    from airflow_spot.core.money.advice import Row, Work
    from airflow_spot.core.money.experience import Experience

_TYPE = re.compile(r"ml\.[a-z0-9-]+\.[a-z0-9-]+")
#: Placement scores may be asked for few sets of types in 24 hours.
_MOST_TYPES = 10
#: Jobs of the account that are described for ``--history``.
_MOST_JOBS = 200

_EXAMPLES = """examples:
  airflow-spot advise --types ml.g5.2xlarge,ml.g6.2xlarge --region eu-west-1 --hours 6
  airflow-spot advise --types ml.g5.2xlarge,ml.g6.2xlarge --hours 6 --hours-on ml.g6.2xlarge=8 --history
  airflow-spot advise --types ml.p4d.24xlarge --hours 20 --count 2 --checkpoint-minutes 30 --prices prices.json
  airflow-spot advise --types ml.g5.xlarge --hours 2 --advisor spot-advisor-data.json --plot discount.svg
  airflow-spot advise --types ml.g5.xlarge,ml.m5.xlarge --hours 2 --json

Every source is optional: what a permission or the network keeps from it is named, and the rest is printed. It reads
pricing:GetProducts, ec2:DescribeSpotPriceHistory, ec2:GetSpotPlacementScores, servicequotas:ListServiceQuotas and
cloudwatch:GetMetricData; answers are kept for an hour and more, refusals for an hour. Nothing is created or changed.
Exit code: 0, however little could be read; 2 if an argument is wrong."""


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "advise",
        help="what a training would cost where, and in which order to try",
        description="Compares instance types for spot training, and prints them as a ladder.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--types", required=True, metavar="TYPE,...", help="such as ml.g5.2xlarge,ml.g6.2xlarge")
    parser.add_argument("--hours", required=True, type=float, metavar="H", help="of training without interruptions")
    parser.add_argument(
        "--hours-on", action="append", default=[], metavar="TYPE=H", help="where a type takes another time; repeatable"
    )
    parser.add_argument("--count", type=int, default=1, metavar="N", help="instances (default: %(default)s)")
    parser.add_argument(
        "--checkpoint-minutes", type=float, default=15.0, metavar="M", help="between checkpoints (default: %(default)g)"
    )
    parser.add_argument(
        "--changeover-minutes",
        type=float,
        default=5.0,
        metavar="M",
        help="from an interruption to the next start, if --history has none (default: %(default)g)",
    )
    parser.add_argument("--prices", metavar="FILE", help="on-demand prices, as JSON: see [airflow_spot] prices")
    parser.add_argument("--advisor", metavar="FILE|URL", help="the Spot Instance Advisor's JSON; without it, no bands")
    parser.add_argument("--history", action="store_true", help="include what this account's own jobs got")
    parser.add_argument("--since", default="90d", help="with --history: of jobs since then (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    parser.add_argument("--plot", metavar="FILE", help="write EC2's spot discount of 90 days by zone, as SVG")
    parser.add_argument("--fresh", action="store_true", help="do not read or write the cache")
    add_session_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    return guarded("advise", lambda: _run(args))


def _run(args: argparse.Namespace) -> int:
    types = read_types(args.types)
    work = read_work(args, types)
    brief, region = brief_clients(args)

    def make(service: str, where: str) -> Any:
        # Many jobs are described for --history, which SageMaker throttles.
        return client(args, service) if service == "sagemaker" else brief(service, where)

    return advise_with(args, types, work, region, make, lambda: datetime.now(timezone.utc))


def advise_with(
    args: argparse.Namespace,
    types: Sequence[str],
    work: Work,
    region: str,
    make: Callable[[str, str], Any],
    now: Callable[[], datetime],
) -> int:
    """
    Print the advice; returns the exit code.

    :param make: returns a boto3 client of a service in a region.
    :param now: the time, in UTC.
    """
    from airflow_spot.core.money.advice import advise, to_json
    from airflow_spot.core.money.advice_ladder import advise_ladder, ladder_json, left_out, nothing_known, requests_of
    from airflow_spot.core.money.prices import read_prices
    from airflow_spot.market.gathering import gather

    prices = read_prices(Path(args.prices).read_text(encoding="utf-8"), "--prices") if args.prices else None
    market = market_of(args, make, region, now, prices=prices, advisor=args.advisor, fresh=args.fresh)
    seen, not_read = _history(args, lambda: make("sagemaker", region), now()) if args.history else ({}, {})
    rows = advise(gather(market, types, work.count, seen), work)
    not_read = {**market.not_read, **not_read}
    steps, skipped, requests = advise_ladder(rows), left_out(rows), requests_of(rows)
    if args.plot and not _plot(Path(args.plot), rows, region, now()):
        what = "EC2's spot prices or its on-demand prices are not known"
        print(f"airflow-spot advise: --plot {args.plot}: nothing to draw: {what}", file=sys.stderr)
    if args.json:
        facts = {
            "region": region,
            "count": work.count,
            "checkpoint_minutes": work.checkpoint_minutes,
            "types": to_json(rows),
            "ladder": ladder_json(steps),
            "order": [{"types": list(step.types), "spot": step.spot, "why": step.why} for step in steps],
            "left_out": [{"instance_type": kind, "why": why} for kind, why in skipped],
            "requests": [
                {
                    "instance_type": each.instance_type,
                    "why": each.why,
                    "quota": each.quota.name,
                    "code": each.quota.code,
                    "at_least": each.count,
                    "link": each.quota.console_url,
                }
                for each in requests
            ],
            "known": not nothing_known(rows),
            "not_read": not_read,
        }
        print(json.dumps(facts, indent=2))
        return 0
    from airflow_spot.cli.advise_text import advice_lines, ladder_lines, missing_lines, nothing_lines

    if nothing_known(rows):
        print("\n".join(nothing_lines(rows, work, region, not_read)))
        return 0
    for line in (
        *advice_lines(rows, work, region, now()),
        *missing_lines(rows, not_read),
        *ladder_lines(steps, skipped, requests),
    ):
        print(line)
    return 0


def read_types(text: str) -> list[str]:
    """
    Return the types of ``--types``.

    :raises CommandError: naming the one that is none.
    """
    types = list(dict.fromkeys(each.strip() for each in text.split(",") if each.strip()))
    for kind in types:
        if not _TYPE.fullmatch(kind):
            raise CommandError(f"--types {kind}: SageMaker's types begin with ml., such as ml.g5.xlarge")
    if not 1 <= len(types) <= _MOST_TYPES:
        raise CommandError(f"--types: name one to {_MOST_TYPES} types, with commas between them")
    return types


def read_work(args: argparse.Namespace, types: Sequence[str]) -> Work:
    """
    Return what is to be trained.

    :param types: those of ``--types``.

    :raises CommandError: naming the option that is wrong.
    """
    from airflow_spot.core.money.advice import Work

    hours_of = {}
    for text in args.hours_on:
        kind, equals, value = text.partition("=")
        try:
            hours_of[kind] = float(value)
        except ValueError:
            equals = ""
        if not equals:
            raise CommandError(f"--hours-on {text}: give TYPE=H, such as ml.g6.2xlarge=8")
        if kind not in types:
            raise CommandError(f"--hours-on {text}: {kind} is not one of --types")
    numbers = {"--hours": args.hours, **{f"--hours-on {kind}": value for kind, value in hours_of.items()}}
    for option, value in numbers.items():
        if not 0 < value <= 24 * 365:
            raise CommandError(f"{option} {value:g}: give hours, more than 0")
    if not 1 <= args.count <= 1000:
        raise CommandError(f"--count {args.count}: give 1 to 1000 instances")
    for option, value in (
        ("--checkpoint-minutes", args.checkpoint_minutes),
        ("--changeover-minutes", args.changeover_minutes),
    ):
        if not 0 <= value <= 60 * 24 * 30:
            raise CommandError(f"{option} {value:g}: give minutes, 0 or more")
    return Work(args.hours, args.count, args.checkpoint_minutes, args.changeover_minutes, hours_of)


def _history(
    args: argparse.Namespace, sagemaker: Callable[[], Any], now: datetime
) -> tuple[dict[str, Experience], dict[str, str]]:
    from airflow_spot.core.money.experience import experiences
    from airflow_spot.market.own_jobs import own_attempts

    since = now - timedelta(seconds=seconds("--since", args.since))
    attempts, not_read = own_attempts(sagemaker, since, _MOST_JOBS)
    return experiences(attempts, now), not_read


def _plot(path: Path, rows: Sequence[Row], region: str, now: datetime) -> bool:
    """Write the picture; return whether there was anything to draw."""
    from airflow_spot.render.discounts import Line, discount_picture

    lines = []
    for row in rows:
        prices, on_demand = row.figures.spot.value, row.figures.ec2_on_demand.value
        if prices is None or on_demand is None or not row.zones:
            continue
        for zone, changes in sorted(prices.changes.items()):
            points = [(at.timestamp(), float(100 * (1 - price / on_demand.amount))) for at, price in changes]
            lines.append(Line(f"{row.instance_type} {zone}", tuple(points)))
    if not lines:
        return False
    path.write_text(discount_picture(lines, f"EC2's spot discount in {region}", now.timestamp(), 90), encoding="utf-8")
    return True
