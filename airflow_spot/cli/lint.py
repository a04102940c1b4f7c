"""``airflow-spot lint``: faults of a training script that only an interruption would show."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from airflow_spot.aws.source_archive import FolderFiles
from airflow_spot.core.script_lint import CHECKPOINTS, Report, Unreadable, lint

_EXAMPLES = """examples:
  airflow-spot lint train.py
  airflow-spot lint src/fit.py --source-dir .           its modules are looked for below this folder
  airflow-spot lint train.py --argument output_dir      a hyperparameter sets --output_dir to the checkpoint folder
  airflow-spot lint dags/scripts/*.py --json

It reads the script, and runs nothing. What it cannot tell it passes over: `airflow-spot rehearse` runs the script.
A comment `# airflow-spot: ignore[RULE]` silences a rule on its line.
Exit code: 0 if nothing was found, 1 if something was, 2 if a script could not be read."""


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "lint",
        help="find faults of a training script that only an interruption would show",
        description="Finds faults of a training script that only an interruption would show, by its syntax tree.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("scripts", nargs="+", type=Path, metavar="SCRIPT", help="the training script")
    parser.add_argument("--source-dir", type=Path, help="the folder that is sent with it; default: the script's")
    parser.add_argument(
        "--checkpoint-local-path", default=CHECKPOINTS, help=f"as the job has it; default: {CHECKPOINTS}"
    )
    parser.add_argument(
        "--argument",
        action="append",
        default=[],
        metavar="NAME",
        help="an argument of the script that the job sets to that folder; may be repeated",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    reports = {str(script): _look(script, args) for script in args.scripts}
    if args.json:
        print(json.dumps({"v": 1, "scripts": [_facts(script, report) for script, report in reports.items()]}, indent=2))
    else:
        for script, report in reports.items():
            _show(script, report)
    if any(not report.files for report in reports.values()):
        return 2
    return 1 if any(report.findings for report in reports.values()) else 0


def _look(script: Path, args: argparse.Namespace) -> Report:
    folder = args.source_dir or script.parent
    try:
        name = script.resolve().relative_to(folder.resolve()).as_posix()
    except ValueError:
        return Report(unreadable=(Unreadable(str(script), f"it is not in {folder}"),))
    except (OSError, RuntimeError):  # RuntimeError until Python 3.13
        return Report(unreadable=(Unreadable(str(script), "it is a link that leads to itself"),))
    try:
        return lint(FolderFiles(folder), name, folder=args.checkpoint_local_path, options=args.argument)
    except OSError as error:
        return Report(unreadable=(Unreadable(str(script), error.strerror or str(error)),))


def _show(script: str, report: Report) -> None:
    folder = Path(script).parent
    for found in report.findings:
        path = folder / found.path if (folder / found.path).exists() else Path(found.path)
        print(f"{path}:{found.line}: {found.rule}: {found.message}")
        print(f"    {found.fix}")
    for each in report.unreadable:
        print(f"{each.path}: could not be read: {each.why}", file=sys.stderr)
    if report.files and not report.findings:
        more = len(report.files) - 1
        beside = f", with {more} module{'s' if more > 1 else ''} beside it" if more else ""
        print(f"{script}: nothing found{beside}")


def _facts(script: str, report: Report) -> dict[str, Any]:
    return {
        "script": script,
        "findings": [
            {"rule": each.rule, "file": each.path, "line": each.line, "message": each.message, "fix": each.fix}
            for each in report.findings
        ],
        "unreadable": [{"file": each.path, "why": each.why} for each in report.unreadable],
        "files": list(report.files),
    }
