"""``airflow-spot history``: what became of a run, from SageMaker alone."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

from airflow_spot.aws import jobs
from airflow_spot.cli.aws import (
    CommandError,
    add_run_arguments,
    add_session_arguments,
    client,
    guarded,
    run_key,
    table,
)
from airflow_spot.core.durations import human, seconds
from airflow_spot.core.history import Attempt, History
from airflow_spot.core.identity import JobName, name_filter
from airflow_spot.core.log_messages import closing_lines, task_line, transition_lines
from airflow_spot.core.marks import task_of
from airflow_spot.core.savings import savings_percent

_HEAD = ("attempt", "job", "instances", "outcome", "interruptions", "waited", "trained", "billed", "savings", "marks")

_EXAMPLES = """examples:
  airflow-spot history --since 2d                                  the runs of the last two days
  airflow-spot history --job digits-afspot-abcdefghij-1-2          the run of a job
  airflow-spot history --dag train --run-id manual__1 --task fit --namespace prod
  airflow-spot history --run-key abcdefghij --verbose              with every transition
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
    parser.add_argument("--verbose", action="store_true", help="with the transitions of each job")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_session_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""

    def work() -> int:
        key = run_key(args)
        return _recent(args) if key is None else _one(args, key)

    return guarded("history", work)


def _one(args: argparse.Namespace, key: str) -> int:
    sagemaker, now = client(args, "sagemaker"), datetime.now(timezone.utc)
    found = [jobs.read(sagemaker, name) for name in jobs.listed(sagemaker, name_filter(key))]
    if not found:
        print(f"The run {key} has no training jobs in {sagemaker.meta.region_name}")
        return 1
    found.sort(key=lambda one: (one[0].name.generation, one[0].number))
    attempts = [attempt for attempt, _, _ in found]
    task = task_of(found[-1][2])
    if args.json:
        facts = [_facts(attempt, description, now, args.verbose) for attempt, description, _ in found]
        print(json.dumps({"run_key": key, **task, "attempts": facts, "totals": _totals(attempts)}, indent=2))
        return 0
    print(f"{task_line(task)}   run key {key}\n")
    print("\n".join(table([_HEAD, *(_row(attempt, now) for attempt in attempts)])))
    if args.verbose:
        for attempt, description, _ in found:
            print()
            print("\n".join(transition_lines(attempt.job_name, description.get("SecondaryStatusTransitions") or ())))
    *_, totals = closing_lines(History(1, tuple(attempts)))
    print(f"\n{totals}\ncheckpoints: {attempts[-1].checkpoint_s3_uri or 'none'}")
    return 0


def _row(attempt: Attempt, now: datetime) -> list[str]:
    saved = savings_percent(attempt.training_seconds, attempt.billable_seconds)
    marks = [f"stop: {attempt.stop}"] if attempt.stop else []
    marks += [f"delivered: try {attempt.delivered_by.number}"] if attempt.delivered_by else []
    return [
        f"g{attempt.name.generation} #{attempt.number}",
        attempt.job_name,
        str(attempt.placement),
        attempt.outcome.label if attempt.outcome else f"in progress ({attempt.secondary_status})",
        str(attempt.interruptions),
        human(_waited(attempt, now)),
        human(attempt.training_seconds),
        human(attempt.billable_seconds),
        "-" if saved is None else f"{saved} %",
        ", ".join(marks) or "-",
    ]


def _waited(attempt: Attempt, now: datetime) -> float:
    """Give the seconds of its life in which a job had no instances."""
    if attempt.created is None:
        return 0.0
    until = now if attempt.live else attempt.ended or now
    worked = attempt.active_seconds + (
        (until - attempt.working_since).total_seconds() if attempt.working_since else 0.0
    )
    return max(0.0, (until - attempt.created).total_seconds() - worked)


def _facts(attempt: Attempt, description: dict[str, Any], now: datetime, verbose: bool) -> dict[str, Any]:
    facts = {
        "generation": attempt.name.generation,
        "number": attempt.number,
        **attempt.summary(),
        "status": attempt.status,
        "waited_seconds": round(_waited(attempt, now), 1),
        "created": attempt.created.isoformat() if attempt.created else None,
        "ended": attempt.ended.isoformat() if attempt.ended and not attempt.live else None,
        "stop": str(attempt.stop) if attempt.stop else None,
        "delivered": str(attempt.delivered_by) if attempt.delivered_by else None,
        "checkpoints": attempt.checkpoint_s3_uri or None,
    }
    if verbose:
        facts["transitions"] = [
            {"status": one.get("Status"), "start": one["StartTime"].isoformat(), "message": one.get("StatusMessage")}
            for one in description.get("SecondaryStatusTransitions") or ()
        ]
    return facts


def _totals(attempts: Sequence[Attempt]) -> dict[str, Any]:
    training = sum(attempt.training_seconds for attempt in attempts)
    billable = sum(attempt.billable_seconds for attempt in attempts)
    return {
        "attempts": len(attempts),
        "interruptions": sum(attempt.interruptions for attempt in attempts),
        "training_seconds": training,
        "billable_seconds": billable,
        "savings_percent": savings_percent(training, billable),
    }


def _recent(args: argparse.Namespace) -> int:
    if args.verbose:
        raise CommandError("--verbose is for one run: choose it with --job, --run-key, or --dag, --run-id and --task")
    since = datetime.now(timezone.utc) - timedelta(seconds=seconds("--since", args.since))
    sagemaker = client(args, "sagemaker")
    runs: dict[str, list[str]] = {}
    for name in jobs.listed(sagemaker, CreationTimeAfter=since):
        parsed = JobName.parse(name)
        if parsed:
            runs.setdefault(parsed.key, []).append(name)
    rows, facts = [], []
    for key, names in runs.items():
        newest, _, tags = jobs.read(sagemaker, names[-1])
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
