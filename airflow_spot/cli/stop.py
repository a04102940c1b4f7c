"""``airflow-spot stop``: stop the training job of a run, for good or to restart it from its checkpoint."""

from __future__ import annotations

import argparse
import sys
import time
from datetime import datetime, timezone
from typing import Any

from airflow_spot.aws import jobs, marks
from airflow_spot.aws.marks import Marks
from airflow_spot.cli.aws import (
    CommandError,
    add_run_arguments,
    add_session_arguments,
    client,
    guarded,
    run_key,
)
from airflow_spot.core.attempt import Attempt
from airflow_spot.core.identity import name_filter
from airflow_spot.core.marks import StopMark
from airflow_spot.core.stop_reasons import StopReason

_POLL_SECONDS = 2.0

_EXAMPLES = """examples:
  airflow-spot stop --job digits-afspot-abcdefghij-1-2             the run fails
  airflow-spot stop --run-key abcdefghij --restart                 the run resumes with a new job

Without --restart it is a manual stop, as in the console: the waiting task fails at once and is not retried. Clear it
to resume from the checkpoint. With --restart the job is tagged first, and the waiting task starts its next attempt,
which resumes from the checkpoint. Where no task waits, neither starts anything.
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
    parser.add_argument("--restart", action="store_true", help="let the run resume with a new job from the checkpoint")
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
    names = jobs.live(sagemaker, datetime.now(timezone.utc), name_filter(key))
    live = [attempt for name in names if (attempt := marks.read(sagemaker, name)[0]).live]
    if not live:
        print(f"The run {key} has no live training job in {sagemaker.meta.region_name}: nothing to stop")
        return 1
    ended = True
    for attempt in live:
        _stop_job(sagemaker, attempt, restart=args.restart)
        if not args.no_wait:
            ended = _wait(sagemaker, attempt.job_name, args.timeout) and ended
        print(f"checkpoints: {attempt.checkpoint_s3_uri or 'none'}")
    return 0 if ended else 1


def _stop_job(sagemaker: Any, attempt: Attempt, *, restart: bool) -> None:
    if attempt.status == "Stopping":
        ours = attempt.stop is not None and not attempt.stop.withdrawn
        print(f"{attempt.job_name} is already stopping: {f'tagged {attempt.stop}' if ours else 'a manual stop'}")
        return
    number, tags = attempt.owner or 0, Marks(lambda: sagemaker)
    if restart:
        # Before the stop: a task that looks in between must not take it for a manual one.
        if not tags.set_stop(attempt.arn, StopMark(StopReason.CLI, number)):
            raise CommandError("--restart needs sagemaker:AddTags: without its tag the stop reads as a manual one")
    elif attempt.stop is not None and not attempt.stop.withdrawn:
        # Of a stop that never came: with it, this one would read as ours, and the run would continue.
        tags.withdraw_stop(attempt.arn, number)
    jobs.stop(sagemaker, attempt.job_name)
    keeps = bool(attempt.checkpoint_s3_uri)
    print(
        f"Stopping {attempt.job_name}. "
        + (
            f"The task that waits for it starts the next attempt{', from the checkpoint' if keeps else ''}"
            if restart
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
