"""The ``airflow-spot`` command: a subcommand per tool, each imported only when it is asked for."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from airflow_spot import __version__

#: Subcommand -> (module with ``add_arguments`` and ``run``, what it is for).
COMMANDS = {
    "local": ("airflow_spot.cli.local", "run Local SageMaker on this machine"),
    "rehearse": ("airflow_spot.cli.rehearse", "interrupt a training script on this machine: does it survive?"),
    "advise": ("airflow_spot.cli.advise", "compare instance types by cost, and print a ladder"),
    "mwaa": ("airflow_spot.cli.mwaa", "write what Amazon MWAA needs to run this"),
    "history": ("airflow_spot.cli.history", "show a run's attempts, from SageMaker alone"),
    "stop": ("airflow_spot.cli.stop", "stop the training job of a run"),
    "orphans": ("airflow_spot.cli.orphans", "find live jobs whose Airflow task is over"),
    "export": ("airflow_spot.cli.export", "export a SageMaker SDK trainer as a task's config"),
    "lint": ("airflow_spot.cli.lint", "find faults of a script that only an interruption would show"),
    "check": ("airflow_spot.cli.check", "find what would fail a training task, before a job is paid for"),
    "iam": ("airflow_spot.cli.iam", "print least-privilege IAM policies"),
    "checkpoints": ("airflow_spot.cli.checkpoints", "set a damaged checkpoint aside"),
    "gc": ("airflow_spot.cli.gc", "delete old checkpoints"),
    "verify-aws": ("airflow_spot.cli.verify_aws", "ask a real SageMaker what this package assumes of it"),
}


#: What a shell calls the end of a process by SIGPIPE: whoever read the output, such as head, has had enough.
_NOBODY_READS = 141
#: What brings a package, where that is not called as it is imported.
_BRINGS = {
    "airflow": "apache-airflow",
    "botocore": "boto3",
    **dict.fromkeys(("moto", "werkzeug", "flask", "flask_cors", "jinja2", "markupsafe"), "'airflow-spot[local]'"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """
    Run the command line; returns the exit code.

    Exit codes of commands mean something: a package that is not installed is none of them, but 2, with its name. Where
    nobody reads the output to its end, as ``| head`` does not, it ends quietly, as if by SIGPIPE.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        try:
            return _run(arguments)
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()  # else Python finds out as it ends, and says so
    except BrokenPipeError:
        nothing = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):  # 2>&1 is a pipe, too
            try:
                stream.flush()
            except BrokenPipeError:
                os.dup2(nothing, stream.fileno())  # what is left goes there as Python ends
        return _NOBODY_READS
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("", __name__.partition(".")[0]):
            raise
        command = f"airflow-spot {arguments[0]}" if arguments else "airflow-spot"
        print(f"{command} needs {package}: pip install {_BRINGS.get(package, package)}", file=sys.stderr)
        return 2


def _run(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="airflow-spot", description="SageMaker managed spot training from Airflow.")
    parser.add_argument("--version", action="version", version=f"airflow-spot {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (module, purpose) in COMMANDS.items():
        if name in arguments[:1]:
            importlib.import_module(module).add_parser(subparsers)
        else:
            subparsers.add_parser(name, help=purpose, add_help=False)
    args = parser.parse_args(arguments)
    return int(importlib.import_module(COMMANDS[args.command][0]).run(args))


if __name__ == "__main__":
    sys.exit(main())
