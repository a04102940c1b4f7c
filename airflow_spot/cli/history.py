"""``airflow-spot history``: what became of a run, from SageMaker alone."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from airflow_spot.aws import jobs, marks
from airflow_spot.cli.aws import (
    add_run_arguments,
    add_session_arguments,
    brief_clients,
    client,
    guarded,
    run_key,
    table,
)
from airflow_spot.cli.market import market_of
from airflow_spot.core.attempt import Attempt
from airflow_spot.core.durations import human, seconds
from airflow_spot.core.events import Transitioned
from airflow_spot.core.identity import JobName, name_filter
from airflow_spot.core.log_messages import clock, label_of, lines, task_line, totals_line
from airflow_spot.core.marks import task_of
from airflow_spot.core.money.prices import Prices, read_prices
from airflow_spot.core.money.totals import total
from airflow_spot.core.roles import Role
from airflow_spot.core.timeline.ledger import ledger

#: A job, what SageMaker says of it, and its tags.
_Job = tuple[Attempt, Mapping[str, Any], Mapping[str, str]]

_HEAD = (
    "attempt",
    "job",
    "instances",
    "outcome",
    "interruptions",
    "waited",
    "launched",
    "trained",
    "billed",
    "spot discount",
    "cost",
)

_EXAMPLES = """examples:
  airflow-spot history --since 2d                                  the runs of the last two days
  airflow-spot history --job digits-afspot-abcdefghij-1-2          the run of a job
  airflow-spot history --dag train --run-id manual__1 --task fit --namespace prod
  airflow-spot history --run-key abcdefghij --verbose              with every transition
  airflow-spot history --since 2d --verbose                        each of the runs, as with --run-key
Exit code: 0; 1 if the run has no jobs; 2 if something is wrong. Hyperparameters and Environment are not shown."""


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "history",
        help="what became of a run, from SageMaker alone",
        description="Prints a run's attempts, or the recent runs. Airflow's database is not asked.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_run_arguments(parser)
    parser.add_argument("--since", default="7d", help="without a run: the runs with jobs since then; default: 7d")
    parser.add_argument("--verbose", action="store_true", help="each run whole, with the transitions of each job")
    parser.add_argument("--prices", help="a JSON file of on-demand prices: see [airflow_spot] prices")
    parser.add_argument(
        "--aws-prices", action="store_true", help="ask AWS for those that it does not have (pricing:GetProducts)"
    )
    parser.add_argument("--json", action="store_true", help="print the ledger, or the runs, as JSON")
    add_session_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""

    def work() -> int:
        key = run_key(args)
        return _recent(args) if key is None else _one(args, key)

    return guarded("history", work)


def _one(args: argparse.Namespace, key: str) -> int:
    sagemaker, now = client(args, "sagemaker"), datetime.now(timezone.utc)
    found = _jobs(sagemaker, key)
    if not found:
        print(f"The run {key} has no training jobs in {sagemaker.meta.region_name}")
        return 1
    prices = _prices(args, [job for job, _, _ in found])
    if args.json:
        print(json.dumps(_facts(args, key, found, now, prices), indent=2))
    else:
        print("\n".join(_whole(args, key, found, now, prices)))
    return 0


def _jobs(sagemaker: Any, key: str) -> list[_Job]:
    """Return the jobs of a run, the oldest first."""
    found: list[_Job] = [marks.read(sagemaker, name) for name in jobs.listed(sagemaker, name_filter(key))]
    found.sort(key=lambda one: (one[0].name.generation, one[0].role is not Role.ATTEMPT, one[0].number))
    return found


def _facts(
    args: argparse.Namespace, key: str, found: Sequence[_Job], now: datetime, prices: Prices | None
) -> dict[str, Any]:
    """Return the ledger of a run."""
    whole = [job for job, _, _ in found]
    facts = ledger(key, task_of(found[-1][2]), whole, now, prices)
    if args.verbose:
        facts["transitions"] = {job.job_name: _transitions(description) for job, description, _ in found}
    return facts


def _whole(
    args: argparse.Namespace, key: str, found: Sequence[_Job], now: datetime, prices: Prices | None
) -> Iterator[str]:
    """Yield a run as lines: its jobs, the story of each, and what they come to."""
    whole = [job for job, _, _ in found]
    attempts = [job for job in whole if job.role is Role.ATTEMPT]
    yield f"{task_line(task_of(found[-1][2]))}   run key {key}"
    yield ""
    yield from table([_HEAD, *(_row(job, now, prices) for job in whole)])
    for job, description, _ in found:
        yield ""
        yield _title(job)
        yield from (f"  {line}" for line in _story(job, now))
        if args.verbose:
            for each in description.get("SecondaryStatusTransitions") or ():
                keeps = bool(job.checkpoint_s3_uri)
                label = label_of(job.job_name)
                told = Transitioned.of(job.job_name, label, each, keeps_checkpoints=keeps, starts=job.starts)
                yield " ".join(f"    {line}" for line in lines(told))
    yield ""
    yield totals_line(total(attempts, now, prices))
    yield f"checkpoints: {next((job.checkpoint_s3_uri for job in reversed(attempts) if job.checkpoint_s3_uri), 'none')}"


def _prices(args: argparse.Namespace, jobs_: Sequence[Attempt]) -> Prices | None:
    """Return the prices that the options say; None for no money."""
    table = None if args.prices is None else read_prices(Path(args.prices).read_text(encoding="utf-8"), "--prices")
    if not args.aws_prices:
        return table
    known = table or Prices()
    types = dict.fromkeys(kind for job in jobs_ for kind, _ in job.placement.instances)
    make, region = brief_clients(args)
    market = market_of(args, make, region, lambda: datetime.now(timezone.utc))
    figures = market.on_demand_prices([kind for kind in types if kind not in known.hourly])
    for source, why in market.not_read.items():
        print(f"airflow-spot history: {source}: {why}", file=sys.stderr)
    return known.with_figures(figures)


def _title(job: Attempt) -> str:
    why = f" ({job.why})" if job.why else ""
    return f"g{job.name.generation} {label_of(job.job_name)} on {job.rung}{why}: {job.label}"


def _story(job: Attempt, now: datetime) -> Iterator[str]:
    """Yield a job's starts, its end and its marks as lines."""
    until = now if job.live else job.ended
    for number, start in enumerate(job.starts, 1):
        parts = [f"start {number}: asked for instances {clock(start.asked)}"]
        if start.granted is None:
            parts.append(f"had none for {human(start.waited(until))}")
        else:
            parts.append(f"had them after {human(start.waited(until))}")
            parts.append(
                f"trained after {human(start.launched(until))} more" if start.training else "never began to train"
            )
        if start.lost is not None:
            parts.append(f"lost them {clock(start.lost)}")
        yield ", ".join(parts)
    if job.failure_reason:
        yield f"SageMaker says: {job.failure_reason}"
    if job.stop is not None:
        yield f"stopped by Airflow ({job.stop.reason}, try {job.stop.try_number})"
    if job.request is not None:
        yield f"requested: {job.request.what}"
    if job.delivered_by is not None:
        yield f"its result was delivered by try {job.delivered_by.number}"


def _row(attempt: Attempt, now: datetime, prices: Prices | None) -> list[str]:
    sums = total([attempt], now, prices)
    discount = sums.spot_discount_percent
    return [
        f"g{attempt.name.generation} {label_of(attempt.job_name)}",
        attempt.job_name,
        str(attempt.placement),
        attempt.label if attempt.outcome else f"in progress ({attempt.secondary_status})",
        str(attempt.interruptions),
        human(sums.waited_seconds),
        human(sums.launch_seconds),
        human(attempt.training_seconds),
        human(attempt.billable_seconds),
        "-" if discount is None else f"{discount} %",
        "-" if sums.cost is None else str(sums.cost),
    ]


def _transitions(description: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {"status": one.get("Status"), "start": one["StartTime"].isoformat(), "message": one.get("StatusMessage")}
        for one in description.get("SecondaryStatusTransitions") or ()
    ]


def _recent(args: argparse.Namespace) -> int:
    since = datetime.now(timezone.utc) - timedelta(seconds=seconds("--since", args.since))
    sagemaker = client(args, "sagemaker")
    runs: dict[str, list[str]] = {}
    for name in jobs.listed(sagemaker, since=since):
        parsed = JobName.parse(name)
        if parsed:
            runs.setdefault(parsed.key, []).append(name)
    if args.verbose and runs:
        now = datetime.now(timezone.utc)
        each_run = {key: _jobs(sagemaker, key) for key in runs}
        # Once for all: a refusal is told once.
        prices = _prices(args, [job for found in each_run.values() for job, _, _ in found])
        if args.json:
            print(json.dumps([_facts(args, key, found, now, prices) for key, found in each_run.items()], indent=2))
        else:
            print("\n\n".join("\n".join(_whole(args, key, found, now, prices)) for key, found in each_run.items()))
        return 0
    rows, facts = [], []
    for key, names in runs.items():
        newest, _, tags = marks.read(sagemaker, names[-1])
        outcome = newest.outcome.label if newest.outcome else f"in progress ({newest.secondary_status})"
        created = newest.created.astimezone(timezone.utc).strftime("%Y-%m-%d %H:%M") if newest.created else "-"
        rows.append([key, task_line(task_of(tags)), str(len(names)), created, outcome, names[-1]])
        facts.append({"run_key": key, **task_of(tags), "jobs": len(names), "outcome": outcome, "newest_job": names[-1]})
    if args.json:
        print(json.dumps(facts, indent=2))
    elif rows:
        print("\n".join(table([["run key", "task instance", "jobs", "newest from", "outcome", "newest job"], *rows])))
    else:
        print(f"No training jobs of airflow_spot in {sagemaker.meta.region_name} in the last {args.since}")
    return 0
