"""``airflow-spot export``: a trainer of the SageMaker SDK as JSON, for ``config="train.json"`` in a DAG."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from airflow_spot.cli.aws import CommandError, guarded

_EXAMPLES = """examples:
  airflow-spot export trainer.py:estimator --inputs train=s3://bucket/data > train.json
  airflow-spot export trainer.py:make_trainer --inputs :inputs > train.json

Run it where the SDK is installed; Airflow need not be: pip install --no-deps airflow-spot. The file is imported, so
what trains in it belongs below `if __name__ == "__main__":`. A function is called, without arguments. No job is
created; the code is uploaded to a key that follows from its content. What was changed is told on stderr. The JSON has
hyperparameters and environment as they are: keep secrets out of both.
Exit code: 0; 2 if something is wrong."""


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "export",
        help="a trainer of the SageMaker SDK as a task's config",
        description="Prints as JSON what an Estimator (SDK 2) or a ModelTrainer (SDK 3) would send; trains nothing.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("trainer", metavar="FILE.py:NAME", help="the trainer, or a function that makes it")
    parser.add_argument(
        "--inputs",
        nargs="+",
        default=[],
        metavar="INPUT",
        help="channel=s3://..., one S3 URI alone, or :NAME of what the file has as inputs; default: none",
    )
    parser.add_argument("--no-upload", action="store_true", help="upload no code: to see what the config would be")


def run(args: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    return guarded("export", lambda: _export(args))


def _export(args: argparse.Namespace) -> int:
    from airflow_spot.sdk import ExportError, from_estimator

    try:
        # The SDKs print what they do, and standard output is the file.
        with contextlib.redirect_stdout(sys.stderr):
            module, trainer = _trainer(args.trainer)
            inputs = _inputs(module, args.inputs)
            config = from_estimator(trainer, inputs, upload=not args.no_upload, tell=print)
        print(json.dumps(config, indent=2))
    except (ExportError, TypeError) as error:
        raise CommandError(str(error)) from error
    return 0


def _trainer(given: str) -> tuple[ModuleType, Any]:
    path, colon, name = given.rpartition(":")
    if not colon or not path.endswith(".py") or not name.isidentifier():
        raise CommandError(f"{given}: give the file and the trainer in it, as trainer.py:estimator")
    module = _imported(Path(path))
    if not hasattr(module, name):
        raise CommandError(f"{path} has no {name!r}")
    found = getattr(module, name)
    if not callable(found) or isinstance(found, type) or hasattr(found, "fit") or hasattr(found, "train"):
        return module, found
    made: list[Any] = []
    _run_users(
        lambda: made.append(found()),
        f"{path}: {name}() fails",
        f"{path}: {name}() trains: have it return the trainer, and fit where it is called",
    )
    return module, made[0]


def _imported(path: Path) -> ModuleType:
    """Import a file, as Python would if it were in the path, and train nothing."""
    if not path.is_file():
        raise CommandError(f"there is no file {path}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise CommandError(f"{path}: Python cannot import it")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent.resolve()))
    sys.modules[path.stem] = module
    loader = spec.loader
    own, sys.argv = sys.argv, [str(path)]  # a file that reads its arguments has none here
    try:
        _run_users(
            lambda: loader.exec_module(module),
            f"{path} cannot be imported",
            f'{path} trains when it is imported: put that below `if __name__ == "__main__":`',
        )
    finally:
        sys.argv = own
    return module


def _run_users(work: Callable[[], Any], fails: str, trains: str) -> None:
    """
    Run what is the user's, and have it create no job.

    :raises CommandError: it asks for a job, fails, or ends the process: the two texts say what that means.
    """
    from airflow_spot.sdk.capture import HeldBack, refusing

    with refusing() as refused:
        try:
            work()
        except HeldBack:
            pass
        except (Exception, SystemExit) as error:
            if not refused:
                raise CommandError(f"{fails}: {type(error).__name__}: {error}".rstrip(": ")) from error
    if refused:
        raise CommandError(trains)


def _inputs(module: ModuleType, given: list[str]) -> Any:
    if not given:
        return None
    if len(given) == 1 and given[0].startswith(":"):
        if not hasattr(module, given[0][1:]):
            raise CommandError(f"--inputs {given[0]}: the file has no {given[0][1:]!r}")
        return getattr(module, given[0][1:])
    if len(given) == 1 and given[0].startswith("s3://"):
        return given[0]
    pairs = [each.partition("=") for each in given]
    wrong = [each for each, (name, _, uri) in zip(given, pairs, strict=True) if not (name and uri.startswith("s3://"))]
    if wrong:
        raise CommandError(f"--inputs {wrong[0]}: give channel=s3://bucket/path")
    return {name: uri for name, _, uri in pairs}
