"""``airflow-spot orphans``: live jobs whose Airflow task instance is finished or gone."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

from botocore.exceptions import ClientError

from airflow_spot.cli.aws import add_session_arguments, client, guarded, job_names, namespace, read_attempt, table
from airflow_spot.cli.history import name_of, whose
from airflow_spot.cli.task_states import TOKEN_VARIABLE, from_api, from_database
from airflow_spot.core.durations import seconds
from airflow_spot.core.identity import MARKER, RunIdentity
from airflow_spot.core.marks import TAG_STOP, StopMark
from airflow_spot.core.orphans import LiveJob, TaskState, judge, owner_of, run_of

#: In the stop mark.
REASON = "orphan"

_EXAMPLES = f"""examples:
  airflow-spot orphans                                       where Airflow's database can be reached
  airflow-spot orphans --api https://airflow.example.com/api/v2 --namespace prod    token in {TOKEN_VARIABLE}
  airflow-spot orphans --stop --yes                          stop them without asking

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
    parser.add_argument("--yes", action="store_true", help="with --stop: do not ask")
    parser.add_argument("--api", help="Airflow's REST API, with its version; default: Airflow's database")
    parser.add_argument("--namespace", help="[airflow_spot] namespace; default: what Airflow's configuration here says")
    parser.add_argument("--grace", default="10m", help="after a creation or a task's end, wait so long; default: 10m")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_session_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    return guarded("orphans", lambda: _orphans(args))


def _orphans(args: argparse.Namespace) -> int:
    grace = timedelta(seconds=seconds("--grace", args.grace))
    ask = from_api(args.api) if args.api else from_database()
    sagemaker, space = client(args, "sagemaker"), namespace(args.namespace)
    facts = [
        _judged(sagemaker, name, space, ask, grace)
        for name in job_names(sagemaker, NameContains=f"{MARKER}-", StatusEquals="InProgress")
    ]
    orphans = [fact for fact in facts if fact["orphan"]]
    if not args.json:
        _tell(facts, orphans)
    if args.stop and orphans and (args.yes or _agreed(len(orphans))):
        for fact in orphans:
            # A task may have been cleared since: asked again, right before.
            again = _judged(sagemaker, fact["job"], space, ask, grace)
            fact["stopped"] = bool(again["orphan"]) and _stop(sagemaker, again)
            if not args.json:
                print(f"{fact['job']}: {'stopped' if fact['stopped'] else 'left: ' + again['reason']}")
    if args.json:
        print(json.dumps(facts, indent=2))
    return 1 if any(not fact["stopped"] for fact in orphans) else 0


def _judged(
    sagemaker: Any, name: str, space: str, ask: Callable[[RunIdentity], TaskState], grace: timedelta
) -> dict[str, Any]:
    attempt, description, tags = read_attempt(sagemaker, name)
    job = LiveJob(name, attempt.arn, description["CreationTime"], run_of(name, tags, space), owner_of(tags))
    task = ask(job.run) if job.run else None
    verdict = judge(job, task, datetime.now(timezone.utc), grace=grace)
    return {
        "job": name,
        "arn": attempt.arn,
        **whose(tags),
        "orphan": verdict.orphan,
        "reason": verdict.reason,
        "owner": job.owner,
        "stopped": False,
    }


def _tell(facts: list[dict[str, Any]], orphans: list[dict[str, Any]]) -> None:
    words = {True: "orphan", False: "in use", None: "cannot tell"}
    rows = [[words[fact["orphan"]], fact["job"], name_of(fact), fact["reason"]] for fact in facts]
    if rows:
        print("\n".join(table([["", "job", "task instance", "why"], *rows])))
    print(f"{len(orphans)} of {len(facts)} live jobs are orphans")


def _agreed(count: int) -> bool:
    if not sys.stdin.isatty():
        print("Not stopped: nobody is here to ask; add --yes", file=sys.stderr)
        return False
    return input(f"Stop {count}? [y/N] ").strip().lower() in ("y", "yes")


def _stop(sagemaker: Any, fact: dict[str, Any]) -> bool:
    # The mark first: a task that is cleared right now goes on from the checkpoint instead of failing.
    mark = StopMark(REASON, fact["owner"] or 0)
    sagemaker.add_tags(ResourceArn=fact["arn"], Tags=[{"Key": TAG_STOP, "Value": str(mark)}])
    try:
        sagemaker.stop_training_job(TrainingJobName=fact["job"])
    except ClientError:
        # One that ended meanwhile is no orphan any more; the others are still to be stopped.
        if sagemaker.describe_training_job(TrainingJobName=fact["job"])["TrainingJobStatus"] == "InProgress":
            raise
    return True
