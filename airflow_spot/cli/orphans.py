"""``airflow-spot orphans``: live jobs whose Airflow task instance is finished or gone."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

from airflow_spot.aws.orphans import Finding, Orphans
from airflow_spot.cli.aws import add_session_arguments, client, guarded, namespace, table
from airflow_spot.cli.task_states import TOKEN_VARIABLE, from_api, from_database
from airflow_spot.core.durations import seconds
from airflow_spot.core.log_messages import task_line

_EXAMPLES = f"""examples:
  airflow-spot orphans                                       where Airflow's database can be reached
  airflow-spot orphans --api https://airflow.example.com/api/v2 --namespace prod    token in {TOKEN_VARIABLE}
  airflow-spot orphans --stop --yes                          stop them without confirmation

A job is judged only if its tags prove that it is of this namespace; ids that were too long for a tag do not.
Exit code: 0 if there are none (left), 1 if there are, 2 if something is wrong."""


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "orphans",
        help="find live jobs whose Airflow task is over",
        description="Lists live training jobs whose task instance is finished or gone, and stops them with --stop.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--stop", action="store_true", help="stop them; their checkpoints stay")
    parser.add_argument("--yes", action="store_true", help="with --stop: do not ask for confirmation")
    parser.add_argument("--api", help="Airflow's REST API, with its version; default: Airflow's database")
    parser.add_argument("--namespace", help="[airflow_spot] namespace; default: what Airflow's configuration here says")
    parser.add_argument(
        "--grace", default="10m", help="minimum time since the job's creation or its task's end; default: 10m"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_session_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    return guarded("orphans", lambda: _orphans(args))


def _orphans(args: argparse.Namespace) -> int:
    grace = timedelta(seconds=seconds("--grace", args.grace))
    space = namespace(args.namespace)
    ask = from_api(args.api) if args.api else from_database()
    orphans = Orphans(client(args, "sagemaker"), space, ask, lambda: datetime.now(timezone.utc), grace)
    found = {one.job: one for one in orphans.find()}
    theirs = [one for one in found.values() if one.orphan]
    if not args.json:
        _tell(list(found.values()), len(theirs))
    if args.stop and theirs and (args.yes or _agreed(len(theirs))):
        for one in theirs:
            found[one.job] = again = orphans.stop(one)
            if not args.json:
                print(f"{one.job}: {'stopped' if again.stopped else 'not stopped: ' + again.reason}")
    if args.json:
        print(json.dumps([one.to_json() for one in found.values()], indent=2))
    return 1 if any(one.orphan and not one.stopped for one in found.values()) else 0


def _tell(found: Sequence[Finding], orphans: int) -> None:
    words = {True: "orphan", False: "active", None: "unknown"}
    rows = [[words[one.orphan], one.job, task_line(one.task), one.reason] for one in found]
    if rows:
        print("\n".join(table([["", "job", "task instance", "why"], *rows])))
    print(f"{orphans} of {len(found)} live jobs are orphans")


def _agreed(count: int) -> bool:
    if not sys.stdin.isatty():
        print("Refusing to stop without confirmation (stdin is not a terminal); pass --yes", file=sys.stderr)
        return False
    return input(f"Stop {count} jobs? [y/N] ").strip().lower() in ("y", "yes")
