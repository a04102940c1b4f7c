"""``airflow-spot stop``: stop the training job of a run, for good or to restart it from its checkpoint."""

from __future__ import annotations

import argparse
import sys
import time
from datetime import datetime, timezone
from typing import Any

from airflow_spot.aws import asked_stops, marks
from airflow_spot.cli.aws import (
    CommandError,
    add_run_arguments,
    add_session_arguments,
    client,
    guarded,
    run_key,
)
from airflow_spot.core.attempt import Attempt

_POLL_SECONDS = 2.0

_EXAMPLES = """examples:
  airflow-spot stop --job digits-afspot-abcdefghij-1-2             the run fails
  airflow-spot stop --run-key abcdefghij --restart                 the run resumes with a new job
  airflow-spot stop --run-key abcdefghij --on-demand               the run resumes on an on-demand rung

Without --restart it is a manual stop, as in the console: the waiting task fails at once and is not retried. Clear it
to resume from the checkpoint. With --restart the job is tagged first, and the waiting task starts its next attempt,
which resumes from the checkpoint; with --on-demand, on the next on-demand rung of its ladder (where it has none, on the
same rung). Where no task waits, none of them starts anything.
Exit code: 0; 1 if the run has no live job, or it did not stop; 2 if something is wrong."""


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "stop",
        help="stop the training job of a run",
        description="Stops a run's live training job and waits until it has ended. Its checkpoints stay.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_run_arguments(parser)
    go_on = parser.add_mutually_exclusive_group()
    go_on.add_argument("--restart", action="store_true", help="let the run resume with a new job from the checkpoint")
    go_on.add_argument("--on-demand", action="store_true", help="the same, on an on-demand rung of its ladder")
    parser.add_argument("--no-wait", action="store_true", help="do not wait until the job has ended")
    parser.add_argument("--timeout", type=float, default=600.0, help="seconds to wait; default: 600")
    add_session_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    return guarded("stop", lambda: _stop(args))


def _stop(args: argparse.Namespace) -> int:
    key = run_key(args)
    if key is None:
        raise CommandError("specify a run with --job, with --run-key, or with --dag, --run-id and --task")
    sagemaker = client(args, "sagemaker")
    live = asked_stops.live_attempts(sagemaker, key, datetime.now(timezone.utc))
    if not live:
        print(f"The run {key} has no live training job in {sagemaker.meta.region_name}: nothing to stop")
        return 1
    ended = True
    for attempt in live:
        _stop_job(sagemaker, attempt, restart=args.restart, on_demand=args.on_demand)
        if not args.no_wait:
            ended = _wait(sagemaker, attempt.job_name, args.timeout) and ended
        print(f"checkpoints: {attempt.checkpoint_s3_uri or 'none'}")
    return 0 if ended else 1


def _stop_job(sagemaker: Any, attempt: Attempt, *, restart: bool, on_demand: bool = False) -> None:
    if attempt.status == "Stopping":
        ours = attempt.stop is not None and not attempt.stop.withdrawn
        print(f"{attempt.job_name} is already stopping: {f'tagged {attempt.stop}' if ours else 'a manual stop'}")
        return
    if restart or on_demand:
        try:
            asked_stops.stop_to_go_on(sagemaker, attempt, asked_stops.ON_DEMAND if on_demand else None)
        except asked_stops.CannotMarkError as error:
            raise CommandError(f"--{'on-demand' if on_demand else 'restart'}: {error}") from None
    else:
        asked_stops.stop_for_good(sagemaker, attempt)
    keeps = bool(attempt.checkpoint_s3_uri)
    print(
        f"Stopping {attempt.job_name}. "
        + (
            f"The task that waits for it starts the next attempt{' on-demand' if on_demand else ''}"
            f"{', from the checkpoint' if keeps else ''}"
            if restart or on_demand
            else "The task that waits for it fails and is not retried; clear it to "
            + ("resume from the checkpoint" if keeps else "continue")
        )
    )


def _wait(sagemaker: Any, job_name: str, timeout: float) -> bool:
    begun = time.monotonic()
    on_terminal = sys.stdout.isatty()
    while True:
        attempt, _, _ = marks.read(sagemaker, job_name)
        passed = time.monotonic() - begun
        if not attempt.live:
            print(f"\r{job_name}: {attempt.status} after {passed:.0f} s ({attempt.label})")
            return True
        if on_terminal:
            print(f"\r{job_name}: {attempt.status}, {passed:.0f} s", end="", flush=True)
        if passed > timeout:
            print(f"\r{job_name} is still {attempt.status} after {passed:.0f} s; SageMaker will finish stopping it")
            return False
        time.sleep(min(_POLL_SECONDS, max(0.2, timeout - passed)))
