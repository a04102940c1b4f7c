"""``airflow-spot check``: what would go wrong with a training task, before the first dollar."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import sys
import time
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_spot.cli.aws import CommandError, add_session_arguments, guarded, region_of, session, wrapped
from airflow_spot.core.money.prices import read_amount
from airflow_spot.core.parameter_errors import InvalidParameterError

if TYPE_CHECKING:
    from airflow_spot.cli.check_target import Target
    from airflow_spot.preflight.findings import PreflightFinding
    from airflow_spot.preflight.running import PreflightReport

_EXAMPLES = """examples:
  airflow-spot check dags/train.py                          every training task of the file
  airflow-spot check dags/train.py --task train --max-cost 50
  airflow-spot check config.json --source-dir scripts --json
  airflow-spot check config.json --endpoint-url http://127.0.0.1:4567      on Local SageMaker

It reads and asks; it changes nothing and starts no job. What a permission is missing for is "not checked", and the
permission is named: `airflow-spot iam --features preflight,market,ecr --who commands` prints a policy.
Exit code: 0 if nothing will fail, 1 if something will (with --strict also if there is a warning), 2 if it cannot be
read, or nothing can be checked: no credentials that AWS takes, no connection, no permission for any of it."""

_HEADS = {"fail": "FAIL", "warn": "warning", "unchecked": "not checked"}
_WIDTH = 13


class _Answers:
    """
    Counts what AWS answers to a session's clients.

    :param made: a boto3 session, whose clients are yet to be made.
    """

    def __init__(self, made: Any) -> None:
        #: Answers that tell something of what was asked: that of sts tells only who asks.
        self.count = 0
        made.events.register("after-call", self._after)

    def _after(self, http_response: Any, model: Any, **_: Any) -> None:
        if http_response.status_code < 300 and model.service_model.service_name != "sts":
            self.count += 1


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "check",
        help="what would go wrong with a training task, before a job is paid for",
        description="Looks for what would make a training task fail: its request, role, buckets, channels, quotas, "
        "instance types, image, script, and what one attempt may cost.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("target", type=Path, help="a DAG file, or the JSON file of a config")
    parser.add_argument("--task", metavar="ID", help="of a DAG file: the training task; default: all of them")
    parser.add_argument("--dag", metavar="ID", help="of a DAG file: the DAG")
    parser.add_argument("--source-dir", type=Path, metavar="DIR", help="of a config: where its code is, to be linted")
    parser.add_argument("--max-cost", metavar="AMOUNT", help="fail if one attempt may cost more, or has no known cost")
    parser.add_argument("--prices", help="a JSON file of on-demand prices: see [airflow_spot] prices")
    parser.add_argument(
        "--timeout",
        type=float,
        default=30.0,
        metavar="SECONDS",
        help="for all answers of AWS, of all tasks together (default: %(default)g)",
    )
    parser.add_argument("--strict", action="store_true", help="exit with 1 for warnings too")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_session_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    return guarded("check", lambda: _quietly(args))


def _quietly(args: argparse.Namespace) -> int:
    """Check, without what botocore logs of each client: Airflow, where a DAG file imports it, shows that."""
    logger = logging.getLogger("botocore")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        return _check(args)
    finally:
        logger.setLevel(level)


def _check(args: argparse.Namespace) -> int:
    from airflow_spot.core.money.prices import read_prices
    from airflow_spot.market.cache import Cache
    from airflow_spot.preflight.findings import Severity
    from airflow_spot.preflight.running import CALL_SECONDS, inspect

    max_cost = _amount(args.max_cost)
    prices = None if args.prices is None else read_prices(Path(args.prices).read_text(encoding="utf-8"), "--prices")
    made = session(args)
    answers = _Answers(made)
    cache = Cache(None)  # of one region: all tasks of a file ask once
    reports: list[tuple[Target, PreflightReport]] = []
    # A DAG file may print, and Airflow logs: neither belongs into what is printed here.
    with contextlib.redirect_stdout(sys.stderr):
        targets = _targets(args, made)
        scripts = [_script(target) for target in targets]
    end = time.monotonic() + args.timeout  # of all tasks together
    for target, of_script in zip(targets, scripts, strict=True):
        region = target.region or region_of(made)

        def clients(service: str, where: str, config: Any) -> Any:
            return made.client(service, region_name=where, endpoint_url=args.endpoint_url, config=config)

        report = inspect(
            target.requests if target.requests is not None else (),
            clients,
            region=region,
            budget_seconds=args.timeout,
            end=end,
            call_seconds=CALL_SECONDS,
            max_cost=max_cost if max_cost is not None else target.max_cost,
            price_needed=max_cost is not None,
            prices=prices,
            cache=cache,
            more=(*target.findings, *of_script),
        )
        reports.append((target, report))
    said = [each for _, report in reports for each in report.findings]
    not_known = any(each.severity is Severity.UNCHECKED or _of_credentials(each) for each in said)
    no_request = all(target.requests is None for target, _ in reports)
    no_answer = not_known and (no_request or not answers.count)
    if args.json:
        print(json.dumps({"v": 1, "checked": not no_answer, "tasks": [_facts(*each) for each in reports]}, indent=2))
    else:
        print("\n\n".join("\n".join(_lines(*each, no_answer=no_answer)) for each in reports))
    bad = {Severity.FAIL, Severity.WARN} if args.strict else {Severity.FAIL}
    failing = [each for each in said if each.severity in bad]
    if no_answer and all(map(_of_credentials, failing)):
        return 2  # the credentials are those of the command, not the task's
    return 1 if failing else 0


def _of_credentials(finding: PreflightFinding) -> bool:
    """Return whether it is about who asks: AWS does not take the credentials, or it is not known."""
    return (finding.check, finding.field) == ("credentials", "credentials")


def _targets(args: argparse.Namespace, made: Any) -> list[Target]:
    from airflow_spot.aws.shapes import input_shape
    from airflow_spot.cli.check_target import Target, of_config, of_dag_file
    from airflow_spot.core.parameter_errors import InvalidParameterError
    from airflow_spot.preflight.findings import of_error
    from airflow_spot.rehearsal.subject import RehearsalError

    if not args.target.is_file():
        raise CommandError(f"{args.target}: there is no such file")
    shape = input_shape(made.client("sagemaker", region_name=region_of(made)), "CreateTrainingJob")
    try:
        if args.target.suffix == ".json":
            if args.task or args.dag:
                raise CommandError("--task and --dag are for a DAG file")
            return [of_config(args.target, shape, args.source_dir)]
        return of_dag_file(args.target, shape, args.task, args.dag)
    except RehearsalError as error:
        if isinstance(error.__cause__, InvalidParameterError):  # an operator refused what it was given
            return [Target(str(args.target), None, findings=(of_error(error.__cause__),))]
        raise CommandError(str(error)) from None


def _script(target: Target) -> list[PreflightFinding]:
    from airflow_spot.core.script_lint import CHECKPOINTS
    from airflow_spot.core.script_lint.options import options_naming
    from airflow_spot.preflight.findings import not_checked
    from airflow_spot.preflight.script import check_script
    from airflow_spot.preflight.wanted import read_wanted
    from airflow_spot.rehearsal.subject import RehearsalError

    given = target.archive()
    if given is None or target.requests is None or target.script is None:
        return []
    folder = (target.script.request.get("CheckpointConfig") or {}).get("LocalPath") or CHECKPOINTS
    options = options_naming(target.script.request.get("HyperParameters") or {}, folder)
    try:
        with given as archive:
            if archive is None or not archive.program.endswith(".py"):
                return [not_checked("script", "entry_point", "", "no Python script of it is here")]
            wanted = read_wanted(target.requests)
            return check_script(archive.sources, archive.program, wanted, folder=folder, options=options)
    except RehearsalError as error:
        return [not_checked("script", "entry_point", "", str(error))]


def _lines(target: Target, report: PreflightReport, *, no_answer: bool = False) -> list[str]:
    """
    Return a report as lines.

    :param no_answer: AWS answered nothing of what it was asked.
    """
    lines, below = [target.name], " " * (_WIDTH + 2)
    for each in report.findings:
        head = f"  {_HEADS[each.severity.value].ljust(_WIDTH)}"
        where = f" ({each.rung})" if each.rung and each.rung != each.value else ""
        subject = f"{each.field} {each.value}".strip() + where
        lines += wrapped(f"{subject}: {each.why}", head, below)
        if more := ". ".join(part for part in (each.fix, each.link) if part):
            lines += wrapped(more, below, below)
    found = any(each.severity.value in ("fail", "warn") and not _of_credentials(each) for each in report.findings)
    if no_answer or (target.requests is None and report.findings and not found):
        else_ = " else" if found else ""
        lines += wrapped(f"nothing{else_} could be checked: {_why_not(report)}", "  ", "    ")
    elif not any(each.severity.value in ("fail", "warn") for each in report.findings):
        lines.append("  nothing was found that would fail")
    if report.costs:
        lines.append("  one attempt costs at most:")
        for cost in report.costs:
            lines += wrapped(str(cost), "    ", "      ")
    return lines


def _why_not(report: PreflightReport) -> str:
    """Return why nothing could be checked: what is said of the credentials, else all that is said, each once."""
    of_credentials = [each.why for each in report.findings if _of_credentials(each)]
    rest = [each.why for each in report.findings if each.severity.value == "unchecked"]
    return ", ".join(dict.fromkeys(of_credentials or rest)) or "AWS answers nothing"


def _facts(target: Target, report: PreflightReport) -> Mapping[str, Any]:
    from airflow_spot.preflight.findings import to_json

    return {
        "task": target.name,
        "findings": to_json(report.findings),
        "at_most": [cost.to_json() for cost in report.costs],
    }


def _amount(given: str | None) -> Decimal | None:
    try:
        return None if given is None else read_amount("--max-cost", given)
    except InvalidParameterError:
        raise CommandError(f"--max-cost {given}: give an amount of money, as 50 or 12.50") from None
