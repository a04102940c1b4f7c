"""What the commands that talk to AWS share: options, clients, choosing a run, tables, errors."""

from __future__ import annotations

import argparse
import os
import sys
import textwrap
from collections.abc import Callable, Sequence
from typing import Any

from airflow_spot.core.identity import KEY_LENGTH, JobName, RunIdentity, name_filter
from airflow_spot.core.parameter_errors import InvalidParameterError

#: Columns of the terminal.
WIDTH = 110


class CommandError(Exception):
    """A command cannot do what was requested; the message says what to change."""


def add_session_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose the AWS account."""
    group = parser.add_argument_group("AWS", "Unset, as boto3 finds it: AWS_PROFILE, AWS_ENDPOINT_URL, ...")
    group.add_argument(
        "--region",
        help="such as eu-central-1; default: AWS_REGION, else AWS_DEFAULT_REGION, else what the profile says",
    )
    group.add_argument("--profile", help="a profile of ~/.aws/config")
    group.add_argument("--endpoint-url", help="where to call AWS, such as Local SageMaker's address")


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose a run."""
    group = parser.add_argument_group("the run: one of --job, --run-key, or --dag with --run-id and --task")
    group.add_argument("--job", help="the name of any of its training jobs")
    group.add_argument("--run-key", help="the ten characters in its jobs' names, behind afspot-")
    group.add_argument("--dag", help="the DAG's id")
    group.add_argument("--run-id", help="the DAG run's id, such as manual__2026-11-24T10:00:00+00:00")
    group.add_argument("--task", help="the task's id, with its groups: group.task")
    group.add_argument("--map-index", type=int, default=-1, help="of a mapped task; default: not mapped")
    group.add_argument("--namespace", help="[airflow_spot] namespace; default: what Airflow's configuration here says")


def session(args: argparse.Namespace) -> Any:
    """
    Return a boto3 session made from the options.

    boto3 reads AWS_DEFAULT_REGION only; AWS's other SDKs and its CLI read AWS_REGION, and it goes first there, too.
    Source: "AWS Region" of the AWS SDKs and Tools Reference Guide.
    """
    import boto3  # here, so that --help needs none of it

    return boto3.Session(profile_name=args.profile, region_name=args.region or os.environ.get("AWS_REGION") or None)


def region_of(made: Any) -> str:
    """
    Return the region of a session.

    :raises CommandError: it has none.
    """
    if not made.region_name:
        raise CommandError(
            "--region: name the region, such as eu-west-1: neither AWS_REGION nor AWS_DEFAULT_REGION nor a profile "
            "has one"
        )
    return str(made.region_name)


def client(args: argparse.Namespace, service: str) -> Any:
    """
    Return a boto3 client made from the options.

    :raises CommandError: no region is named, without which only S3 answers.
    """
    from botocore.config import Config

    made = session(args)
    region = None if service == "s3" else region_of(made)
    retries = Config(retries={"mode": "adaptive", "total_max_attempts": 6})
    return made.client(service, region_name=region, endpoint_url=args.endpoint_url, config=retries)


def brief_clients(args: argparse.Namespace) -> tuple[Callable[[str, str], Any], str]:
    """
    Return what makes boto3 clients that are asked once, for three seconds, and the region of the options.

    :raises CommandError: no region is named.
    """
    from botocore.config import Config

    made = session(args)
    region = region_of(made)
    impatient = Config(connect_timeout=3, read_timeout=3, retries={"total_max_attempts": 1})

    def make(service: str, where: str) -> Any:
        return made.client(service, region_name=where, endpoint_url=args.endpoint_url, config=impatient)

    return make, region


def run_key(args: argparse.Namespace) -> str | None:
    """
    Return the key of the run that the options name; None where none of them is given.

    :raises CommandError: they contradict each other, or name it in part only.
    """
    given = [name for name, value in (("--job", args.job), ("--run-key", args.run_key), ("--dag", args.dag)) if value]
    if len(given) > 1:
        raise CommandError(f"{' and '.join(given)} are mutually exclusive")
    if args.job:
        name = JobName.parse(args.job)
        if name is None:
            raise CommandError(f"--job {args.job}: not a job of airflow_spot, whose names are like x-afspot-KEY-1-1")
        return name.key
    if args.run_key:
        if JobName.parse(f"x-{name_filter(args.run_key)}1-1") is None:
            raise CommandError(f"--run-key {args.run_key}: must be {KEY_LENGTH} characters of a-z and 2-7")
        return str(args.run_key)
    together = {"--dag": args.dag, "--run-id": args.run_id, "--task": args.task}
    missing = [name for name, value in together.items() if not value]
    if len(missing) == len(together):
        return None
    if missing:
        raise CommandError(f"{' and '.join(missing)} missing: a task instance is --dag, --run-id and --task")
    return RunIdentity(namespace(args.namespace), args.dag, args.run_id, args.task, args.map_index).key


def namespace(given: str | None) -> str:
    """Return the option's value, else what Airflow's configuration on this machine says."""
    if given:
        return given
    try:
        from airflow_spot.config import deployment_namespace  # imports Airflow
    except ModuleNotFoundError as error:
        raise CommandError(
            f"--namespace: give the namespace of the runs. Without {error.name} here, no configuration tells it"
        ) from None

    configured = deployment_namespace()
    if configured is None:
        raise CommandError(
            "--namespace: neither [airflow_spot] namespace nor the base URL tells this deployment from others. Give "
            "the namespace of the runs: the Variable airflow_spot_namespace has it; on Local SageMaker it is 'local'"
        )
    return configured


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows, the first of them the head, laid out in columns."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def wrapped(line: str, first: str = "", rest: str = "  ") -> list[str]:
    """
    Return a line as lines of :data:`WIDTH`; a word that is longer, such as an address, is never cut.

    :param first: what the first line begins with, and ``rest``: what the others do.
    """
    return textwrap.wrap(
        line, WIDTH, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )


def guarded(command: str, work: Callable[[], int]) -> int:
    """Run a command and return its exit code; an expected error is one line on stderr and exit code 2."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return work()
    except BrokenPipeError:  # nobody reads on: that is for the command line
        raise
    except (
        CommandError,
        InvalidParameterError,
        ValueError,
        BotoCoreError,
        ClientError,
        OSError,
        RuntimeError,
    ) as error:
        print(f"airflow-spot {command}: {error}", file=sys.stderr)
        return 2
