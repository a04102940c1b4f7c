"""``airflow-spot rehearse``: interrupt a training script on this machine, before an interruption is paid for."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_spot.rehearsal.report import Report
    from airflow_spot.rehearsal.running import Options
    from airflow_spot.rehearsal.subject import Subject

_EXAMPLES = """examples:
  airflow-spot rehearse train.py --channel train=data --hyperparameter epochs=5
  airflow-spot rehearse train.py --source-dir scripts --requirements requirements.txt --python ~/torch/bin/python
  airflow-spot rehearse train.py --metric 'accuracy=val_acc: ([0-9.]+)' --compare 'python evaluate.py'
  airflow-spot rehearse dags/train.py --task train --channel train=sample
  airflow-spot rehearse request.json --source-dir scripts --channel train=sample --json

The script runs on Local SageMaker: uninterrupted, then killed without a warning, killed in the middle of a
checkpoint's write, interrupted with SIGTERM, interrupted again straight after a start, and continued in a new job.
Give it little data and few epochs (ten checkpoints or so): it trains six to eight times.
Exit code: 0 if it is sound, 1 if a fault was found, 2 if it cannot run, or nothing could be judged."""


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "rehearse",
        help="interrupt a training script on this machine, and say whether it survives",
        description="Runs a training script on Local SageMaker, interrupts it, and says what is wrong with it.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("target", type=Path, help="a script, a DAG file (with --task), or a CreateTrainingJob request")
    what = parser.add_argument_group("what runs")
    what.add_argument("--task", metavar="ID", help="of a DAG file: the training task, with its groups: group.task")
    what.add_argument("--dag", metavar="ID", help="of a DAG file: the DAG, where several have such a task")
    what.add_argument("--source-dir", type=Path, metavar="DIR", help="the folder that is sent with the script")
    what.add_argument("--requirements", type=Path, metavar="FILE", help="sent as requirements.txt, and installed")
    what.add_argument(
        "--channel", action="append", default=[], metavar="NAME=DIR", help="the data of a channel; repeatable"
    )
    what.add_argument(
        "--hyperparameter", action="append", default=[], metavar="NAME=VALUE", help="repeatable; the last one counts"
    )
    what.add_argument(
        "--image", action="append", default=[], metavar="PATTERN=COMMAND", help="what runs for an image; repeatable"
    )
    what.add_argument("--python", metavar="PATH", help="what runs the script (default: the Python of this command)")
    how = parser.add_argument_group("how it is interrupted")
    how.add_argument(
        "--interruptions", type=int, default=2, metavar="N", help="at random moments, in a run (default: %(default)s)"
    )
    how.add_argument("--seed", type=int, default=0, help="of the random moments (default: %(default)s)")
    how.add_argument("--max-run", default="10m", help="how long a run may train, such as 90s or 1h (default: 10m)")
    how.add_argument(
        "--grace", type=float, default=30.0, metavar="SECONDS", help="from SIGTERM to SIGKILL (default: %(default)g)"
    )
    how.add_argument(
        "--only", action="append", default=[], choices=sorted(_SCENARIOS), help="only this interruption; repeatable"
    )
    seen = parser.add_argument_group("what is compared")
    seen.add_argument(
        "--metric",
        action="append",
        default=[],
        metavar="NAME=REGEX",
        help="the first group is the value (default: MetricDefinitions, else loss, accuracy, ... in the log)",
    )
    seen.add_argument(
        "--step", metavar="REGEX", help="the first group is the step's number (default: epoch 3/20, step=100, ...)"
    )
    seen.add_argument(
        "--compare", metavar="COMMAND", help="is run with the folder of each model; what it prints is compared"
    )
    seen.add_argument(
        "--allow",
        action="append",
        default=[],
        metavar="KIND",
        help="a fault that does not count: keeps-everything, ...",
    )
    seen.add_argument("--json", action="store_true", help="print the report as JSON; progress goes to stderr")


_SCENARIOS = {
    "killed": "KILLED",
    "torn": "TORN",
    "sigterm": "TERMINATED",
    "at-once": "AT_ONCE",
    "new-job": "NEW_JOB",
}


def run(args: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    try:
        from airflow_spot.local.aws.moto import require_moto
        from airflow_spot.rehearsal.running import run_rehearsal
        from airflow_spot.rehearsal.subject import RehearsalError

        require_moto()
    except ModuleNotFoundError as error:
        print(f"airflow-spot rehearse needs {error.name}: pip install 'airflow-spot[local]'", file=sys.stderr)
        return 2
    try:
        options = _options(args)
        report = run_rehearsal(_subject(args), options, lambda line: _tell(line, args.json))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # nobody reads on: that is for the command line
        raise
    except (RehearsalError, ValueError, OSError, RuntimeError) as error:
        print(f"airflow-spot rehearse: {error}", file=sys.stderr)
        return 2
    _tell_report(report, args)
    left = [verdict for verdict in report.faults if verdict.kind.value not in args.allow]
    if left:
        return 1
    return 0 if report.sound or report.faults else 2


def _tell(line: str, aside: bool) -> None:
    print(line, file=sys.stderr if aside else sys.stdout, flush=True)


def _tell_report(report: Report, args: argparse.Namespace) -> None:
    with suppress(BrokenPipeError):
        if args.json:
            print(json.dumps(report.to_json(), indent=2))
        else:
            print(f"\n{report}", flush=True)


def _subject(args: argparse.Namespace) -> Subject:
    from airflow_spot.rehearsal.dag_file import from_dag_file
    from airflow_spot.rehearsal.subject import RehearsalError, from_request, from_script

    more: dict[str, Any] = {
        "source_dir": args.source_dir,
        "requirements": args.requirements,
        "channels": dict(_pairs("--channel", args.channel, "NAME=DIR")),
        "hyperparameters": dict(_pairs("--hyperparameter", args.hyperparameter, "NAME=VALUE")),
    }
    target: Path = args.target
    if args.dag and not args.task:
        raise RehearsalError("--dag names a DAG of a DAG file: give --task, too")
    if args.task:
        if not target.is_file():
            raise RehearsalError(f"{target}: there is no such file")
        return from_dag_file(target, args.task, args.dag, **more)
    if target.suffix != ".json":
        return from_script(target, **more)
    try:
        request = json.loads(target.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RehearsalError(f"{target} is not JSON: {error}") from None
    if not isinstance(request, dict):
        raise RehearsalError(f"{target} is not a CreateTrainingJob request")
    return from_request(request, target.name, **more)


def _options(args: argparse.Namespace) -> Options:
    from airflow_spot.core.durations import seconds
    from airflow_spot.local.container.images import parse_image
    from airflow_spot.rehearsal.observations import INTERRUPTED, Scenario
    from airflow_spot.rehearsal.running import Options
    from airflow_spot.rehearsal.verdicts import Kind

    if args.interruptions < 1:
        raise ValueError(f"--interruptions {args.interruptions}: give at least 1")
    faults = [kind.value for kind in Kind if kind.is_fault]
    for kind in args.allow:
        if kind not in faults:
            raise ValueError(f"--allow {kind}: it can be {', '.join(faults)}")
    metrics = dict(_pairs("--metric", args.metric, "NAME=REGEX"))
    for option, pattern in [*(("--metric", each) for each in metrics.values()), ("--step", args.step)]:
        _check_pattern(option, pattern)
    only = {Scenario[_SCENARIOS[name]] for name in args.only}
    return Options(
        interruptions=args.interruptions,
        seed=args.seed,
        max_run=float(seconds("--max-run", args.max_run)),
        grace=args.grace,
        images=dict(parse_image(text) for text in args.image),
        python=args.python,
        metrics=metrics,
        step=args.step,
        compare=args.compare,
        scenarios=tuple(each for each in INTERRUPTED if not only or each in only),
    )


def _check_pattern(option: str, pattern: str | None) -> None:
    if pattern is None:
        return
    try:
        if re.compile(pattern).groups < 1:
            raise ValueError(f"{option} {pattern}: it has no group, such as ([0-9.]+)")
    except re.error as error:
        raise ValueError(f"{option} {pattern}: {error}") from None


def _pairs(option: str, texts: Sequence[str], form: str) -> list[tuple[str, str]]:
    found = []
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise ValueError(f"{option} {text}: give {form}")
        found.append((name, value))
    return found
