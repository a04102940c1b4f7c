"""``airflow-spot verify-aws``: ask a real SageMaker what this package assumes of it."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from datetime import datetime, timezone
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_spot.cli.aws import CommandError, add_session_arguments, client, guarded, table
from airflow_spot.core.durations import seconds

if TYPE_CHECKING:
    from airflow_spot.verify.experiment import Experiment, Setup
    from airflow_spot.verify.report import Result
    from airflow_spot.verify.scrubbing import Scrubber
    from airflow_spot.verify.service import Service

_EXAMPLES = """examples:
  airflow-spot verify-aws --role arn:aws:iam::123456789012:role/sagemaker --bucket my-bucket --report verify.json
  airflow-spot verify-aws --role "$ROLE" --bucket my-bucket --only stop-grace --only stop-uploads
  airflow-spot verify-aws --bucket my-bucket --clean      after a SIGKILL: stop its jobs, delete its folder

It says what the experiments cost at most, and asks, before it creates a job. SIGINT, SIGTERM and SIGHUP end its jobs
and delete its folder.
Exit code: 0 if what was reached is as assumed, 1 if something differs (with --clean: if something is left), 2 if
nothing was reached or something is wrong, 128 and the signal's number after a signal (130 for SIGINT)."""

_ROLE = re.compile(r"arn:aws[a-z-]*:iam::(\d{12}):role/?([a-zA-Z_0-9+=,.@\-_/]+)")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.\-]{1,61}[a-z0-9]")
#: For the last jobs' grace and uploads.
_END_SECONDS = 900.0


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "verify-aws",
        help="ask a real SageMaker what this package assumes of it",
        description="Runs small experiments in your account, each of which tests an assumption of this package.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--role", help="the ARN of the jobs' execution role; required without --clean")
    parser.add_argument("--bucket", required=True, help="the bucket; jobs write below airflow-spot-verify/")
    parser.add_argument("--instance-type", default="ml.m5.large", help="of every job (default: %(default)s)")
    parser.add_argument("--image", help="an image with python3; default: AWS's for scikit-learn, in the region's ECR")
    parser.add_argument("--price-per-hour", help="what an hour of the instance type costs on-demand, in USD")
    parser.add_argument("--max-cost", default="1", help="the most that it may cost, in USD (default: %(default)s)")
    parser.add_argument(
        "--interruption-wait", default="10m", help="how long one spot job trains, for an interruption to come (10m)"
    )
    parser.add_argument("--parallel", type=int, default=4, help="about this many jobs at once (default: %(default)s)")
    parser.add_argument("--only", action="append", default=[], metavar="ID", help="only this experiment; repeatable")
    parser.add_argument("--yes", action="store_true", help="do not ask for confirmation")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write what was seen as JSON, without names")
    parser.add_argument("--clean", action="store_true", help="only remove what an earlier run left: jobs and folder")
    add_session_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    return guarded("verify-aws", lambda: _clean(args) if args.clean else _verify(args))


def _clean(args: argparse.Namespace) -> int:
    from airflow_spot.verify.cleaning import clean
    from airflow_spot.verify.service import find_control

    _check_bucket(args.bucket)
    sagemaker, s3 = client(args, "sagemaker"), client(args, "s3")
    poll = 5.0 if find_control(sagemaker.meta.endpoint_url) is None else 0.25
    now = datetime.now(timezone.utc)
    return 0 if clean(sagemaker, s3, args.bucket, now, poll, _END_SECONDS, _tell) else 1


def _verify(args: argparse.Namespace) -> int:
    from airflow_spot.verify.experiment import setups_of
    from airflow_spot.verify.suite import chosen

    experiments = chosen(args.only)
    if args.parallel < 1:
        raise CommandError(f"--parallel {args.parallel}: give at least 1")
    service = _service(args)
    price, setups = _price(args, service), setups_of(experiments)
    most, run, left = _plan(args, service, setups, price)
    _tell_plan(experiments, service, setups, price, left)
    if args.report is not None:
        _check_writable(args.report)
    source = "" if args.price_per_hour or service.control is not None else " (assumed; --price-per-hour gives yours)"
    _tell(f"{len(run)} of {len(setups)} setups run, and cost at most {most:.2f} USD by {price} USD an hour{source}")
    if not args.yes and not _agreed(service):
        return 2
    results, signals = _run(args, experiments, service, run, left, _scrubber(args, service))
    return _finish(args, service, results, signals)


def _service(args: argparse.Namespace) -> Service:
    from airflow_spot.verify.images import default_image
    from airflow_spot.verify.pace import on_aws, on_local
    from airflow_spot.verify.service import Service, find_control

    if _ROLE.fullmatch(args.role or "") is None:
        raise CommandError("--role: give the role's ARN: arn:aws:iam::<account>:role/<name>")
    _check_bucket(args.bucket)
    interruption_wait = seconds("--interruption-wait", args.interruption_wait)
    if not 60 <= interruption_wait <= 3600:
        raise CommandError("--interruption-wait: give 1m to 1h")
    sagemaker, s3 = client(args, "sagemaker"), client(args, "s3")
    region = str(sagemaker.meta.region_name)
    local = find_control(sagemaker.meta.endpoint_url)
    image = args.image or default_image(region)
    if image is None:
        raise CommandError(f"--image: none of AWS's is known for {region}; give one of that region with python3")
    return Service(
        sagemaker,
        s3,
        region,
        args.role,
        args.bucket,
        args.instance_type,
        image,
        has_toolkit=args.image is None or local is not None,
        pace=on_aws(interruption_wait) if local is None else on_local(local.grace),
        control=local,
    )


def _scrubber(args: argparse.Namespace, service: Service) -> Scrubber:
    from airflow_spot.verify.known_names import known_names
    from airflow_spot.verify.scrubbing import Scrubber

    role = _ROLE.fullmatch(service.role)
    assert role is not None  # noqa: S101 - _service has looked
    own = (args.profile, os.environ.get("AWS_PROFILE"), os.environ.get("AWS_ROLE_SESSION_NAME"))
    names = known_names(
        role[1],
        role[2],
        service.bucket,
        service.image,
        default_image=not args.image,
        sessions=[name for name in own if name],
    )
    described = service.sagemaker.meta.service_model.operation_model("DescribeTrainingJob").output_shape
    return Scrubber(names, described.members)


def _check_bucket(bucket: str) -> None:
    if _BUCKET.fullmatch(bucket) is None:
        raise CommandError("--bucket: give a bucket's name, without s3:// and without a folder")


def _check_writable(path: Path) -> None:
    """Fail now rather than after an hour where a file cannot be written."""
    there = path.exists()
    with path.open("a", encoding="utf-8"):
        pass
    if not there:
        path.unlink()


def _price(args: argparse.Namespace, service: Service) -> Decimal:
    from airflow_spot.verify.costs import PRICES_REGION, known_price

    if args.price_per_hour is not None:
        return _dollars("--price-per-hour", args.price_per_hour)
    if service.control is not None:
        return Decimal(0)
    price = known_price(args.instance_type, service.region)
    if price is None:
        raise CommandError(
            f"--price-per-hour: what an hour of {args.instance_type} costs on-demand in {service.region} is not known "
            f"here, only of ml.m5.large in {PRICES_REGION}. AWS's price page for SageMaker has it, under training"
        )
    return price


def _dollars(option: str, text: str) -> Decimal:
    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or amount < 0:
        raise CommandError(f"{option} {text}: give an amount in USD, such as 0.115")
    return amount


def _plan(
    args: argparse.Namespace, service: Service, setups: Sequence[Setup], price: Decimal
) -> tuple[Decimal, list[Setup], list[Setup]]:
    from airflow_spot.verify.costs import ceiling, within

    run, left = within(setups, price, service.pace, _dollars("--max-cost", args.max_cost))
    return sum((ceiling(setup, price, service.pace) for setup in run), Decimal(0)), run, left


def _tell_plan(
    experiments: Sequence[Experiment], service: Service, setups: Sequence[Setup], price: Decimal, left: Sequence[Setup]
) -> None:
    from airflow_spot.verify.costs import ceiling

    rows = [("setup", "jobs", "at most", "experiments")]
    for setup in setups:
        cost = "left out" if setup in left else f"{ceiling(setup, price, service.pace):.3f} USD"
        ids = ", ".join(each.id for each in experiments if each.setup is setup)
        rows.append((setup.id, str(len(setup.jobs)), cost, ids))
    _tell("\n".join(table(rows)))


def _agreed(service: Service) -> bool:
    if not sys.stdin.isatty():
        print("Refusing to create jobs without confirmation (stdin is not a terminal); pass --yes", file=sys.stderr)
        return False
    try:
        answer = input(f"Create jobs of {service.instance_type} in {service.region}? [y/N] ")
    except (EOFError, KeyboardInterrupt):
        return False
    return answer.strip().lower() in ("y", "yes")


def _run(
    args: argparse.Namespace,
    experiments: Sequence[Experiment],
    service: Service,
    setups: Sequence[Setup],
    left: Sequence[Setup],
    scrubber: Scrubber,
) -> tuple[list[Result], list[int]]:
    from airflow_spot.verify.experiment import Seen
    from airflow_spot.verify.report import result
    from airflow_spot.verify.running import ending_on_signals, run_setups
    from airflow_spot.verify.scratch import Run

    run = Run()
    results: dict[str, Result] = {}

    def note(setup: Setup, seen: Seen) -> None:
        for each in experiments:
            if each.setup is setup:
                results[each.id] = one = result(each, seen, scrubber)
                _tell(f"[{len(results):2}/{len(experiments)}] {each.id}: {one.verdict}")

    with ending_on_signals(run.ending, _tell) as signals:
        # What is not allowed at all is told before the first job.
        service.s3.put_object(Bucket=service.bucket, Key=f"{run.folder}started", Body=b"")
        try:
            service.sagemaker.list_training_jobs(MaxResults=1)
            for setup in left:
                note(setup, Seen({}, "its ceiling would exceed --max-cost"))
            begun = time.monotonic()

            def tell_begun(setup: Setup) -> None:
                _tell(f"{setup.id} begins ({run.id})")

            with closing(run_setups(setups, service, run, args.parallel, tell_begun)) as outcomes:
                for setup, seen in outcomes:
                    note(setup, seen)
            _tell(f"{time.monotonic() - begun:.0f} s. Removing its jobs and its folder")
        finally:
            _remove(service, run)
    return [results[each.id] for each in experiments if each.id in results], signals


def _remove(service: Service, run: Any) -> None:
    from airflow_spot.aws.checkpoint_store import delete
    from airflow_spot.verify.cleaning import end_jobs

    left = end_jobs(service.sagemaker, run.names, service.pace.poll, _END_SECONDS)
    if left:
        _tell("\n".join(f"{name} has not ended: {status}" for name, status in left.items()))
        _tell(f"Its folder stays. Run airflow-spot verify-aws --bucket {service.bucket} --clean")
        return
    delete(service.s3, f"s3://{service.bucket}/{run.folder}")


def _finish(args: argparse.Namespace, service: Service, results: Sequence[Result], signals: Sequence[int]) -> int:
    from airflow_spot.verify.report import exit_code, rows, summary, to_json

    _tell("\n".join(["", *table(rows(results)), ""]))
    for each in results:
        if each.verdict.detail:
            _tell(f"{each.experiment.id}: {each.verdict}")
    _tell(summary(results))
    if args.report is not None:
        report = to_json(results, _about(args, service, complete=not signals))
        args.report.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        _tell(f"{args.report}: what was seen, without names and account numbers. Read it before you pass it on")
    return 128 + signals[0] if signals else exit_code(results)


def _about(args: argparse.Namespace, service: Service, *, complete: bool) -> dict[str, Any]:
    import boto3
    import botocore

    from airflow_spot import __version__

    aws = re.search(r"//[^/]*\.amazonaws\.com(\.cn)?(:|/|$)", service.sagemaker.meta.endpoint_url)
    return {
        "airflow_spot": __version__,
        "boto3": boto3.__version__,
        "botocore": botocore.__version__,
        "service": "Local SageMaker" if service.control else "AWS" if aws else "another endpoint",
        "region": service.region,
        "date": datetime.now(timezone.utc).date().isoformat(),
        "instance_type": service.instance_type,
        "image": "given" if args.image else "default",
        "complete": complete,
    }


def _tell(text: str) -> None:
    # As one piece: setups tell of themselves from several threads.
    # A reader that has gone must not keep the jobs from being ended.
    with suppress(OSError):
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
