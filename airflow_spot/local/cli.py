"""``airflow-spot local``: Local SageMaker in the foreground."""

from __future__ import annotations

import argparse
import ipaddress
import shlex
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_spot.local.backend import Backend

DEFAULT_PORT = 5005

EXAMPLES = """\
examples:
  airflow-spot local                                     spot capacity is always there
  airflow-spot local --market script:up=60,down=20       it comes and goes
  airflow-spot local --market 'ml.g5.xlarge=never;*=always'
  airflow-spot local --image '*xgboost*=python3'         what runs for an image
  eval "$(airflow-spot local --env)"                     send this shell's AWS clients to it

It runs the code of every job as your user. It listens on loopback only, unless --host says otherwise.
"""


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add the subcommand ``local``.

    :param subparsers: what ``ArgumentParser.add_subparsers`` returned.
    """
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "local",
        help="run SageMaker on this machine",
        description="Speaks SageMaker's wire protocol and runs the jobs, on a spot market that comes and goes.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_arguments(parser)
    parser.set_defaults(run=run)
    return parser


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``local``."""
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument(
        "--name",
        action="append",
        default=[],
        metavar="NAME",
        help="a further name under which it is reached, such as that of a Docker Compose service; repeatable",
    )
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="port, 0 for a free one (default: %(default)s)")
    parser.add_argument("--dir", type=Path, help="where audit log and jobs live (default: a temporary directory)")
    parser.add_argument("--market", default="always", metavar="SPEC", help="spot market (default: %(default)s)")
    parser.add_argument(
        "--on-demand-market", default="always", metavar="SPEC", help="on-demand market (default: %(default)s)"
    )
    parser.add_argument(
        "--image", action="append", default=[], metavar="PATTERN=COMMAND", help="what runs for an image; repeatable"
    )
    parser.add_argument(
        "--python",
        default=sys.executable,
        metavar="PATH",
        help="what runs the scripts of images without a COMMAND of their own (default: the service's own)",
    )
    parser.add_argument(
        "--reclaim",
        choices=("term", "kill"),
        default="term",
        help="how an instance is taken back: SIGTERM and grace, or SIGKILL (default: %(default)s)",
    )
    parser.add_argument(
        "--grace",
        type=float,
        default=120.0,
        metavar="SECONDS",
        help="from SIGTERM to SIGKILL (default: %(default)g, as AWS)",
    )
    parser.add_argument(
        "--pending-timeout",
        type=float,
        metavar="SECONDS",
        help="how long an on-demand job may be Pending before it fails with CapacityError (default: for ever)",
    )
    parser.add_argument(
        "--quotas",
        default="",
        metavar="SPEC",
        help="e.g. 'ml.p3.2xlarge:spot=0;ml.g5.*=4;ml.p2.*=unavailable' (default: unlimited)",
    )
    parser.add_argument(
        "--list-rate",
        type=float,
        default=2.0,
        metavar="N",
        help="ListTrainingJobs that are answered a second (default: %(default)g, as AWS; 0: any number)",
    )
    parser.add_argument(
        "--faults", default="", metavar="PLAN", help="how calls fail, e.g. 'Describe*=throttle:p=0.1' (default: not)"
    )
    parser.add_argument(
        "--engine",
        choices=("process", "simulated"),
        default="process",
        help="simulated: no processes, thousands of jobs (default: %(default)s)",
    )
    parser.add_argument(
        "--time-scale", type=float, default=1.0, metavar="K", help="K seconds in one; simulated only (default: 1)"
    )
    parser.add_argument(
        "--isolation",
        choices=("auto", "namespace", "relocate"),
        default="auto",
        help="how a job gets its own /opt/ml (default: %(default)s)",
    )
    parser.add_argument("--region", default="us-east-1", help="default region (default: %(default)s)")
    parser.add_argument("--keep", action="store_true", help="leave the directories of ended jobs")
    parser.add_argument("--log-level", default="WARNING", help="of the service's log (default: %(default)s)")
    parser.add_argument("--env", action="store_true", help="print only the export lines for this port, and end")


def run(args: argparse.Namespace) -> int:
    """Run the service until it is interrupted.

    :returns: an exit code.
    """
    try:
        from airflow_spot.local.app import serve
        from airflow_spot.local.aws.moto import client_environment, require_moto
        from airflow_spot.local.container.images import parse_image
        from airflow_spot.local.settings import Settings, url

        require_moto()
    except ModuleNotFoundError as error:
        print(f"airflow-spot local needs {error.name}: pip install 'airflow-spot[local]'", file=sys.stderr)
        return 2
    try:
        settings = Settings(
            directory=str(args.dir.absolute()) if args.dir else "",
            temporary=args.dir is None,
            host=args.host,
            names=tuple(args.name),
            port=args.port,
            market=args.market,
            on_demand_market=args.on_demand_market,
            images=tuple(parse_image(text) for text in args.image),
            python=_interpreter(args.python),
            reclaim=args.reclaim,
            grace_seconds=args.grace,
            pending_timeout_seconds=args.pending_timeout,
            quotas=args.quotas,
            list_rate=args.list_rate or None,
            faults=args.faults,
            engine=args.engine,
            time_scale=args.time_scale,
            isolation=args.isolation,
            region=args.region,
            keep=args.keep,
            log_level=args.log_level.upper(),
        )
        if args.env:
            if args.port == 0:
                raise ValueError("--env needs the port of the service; --port 0 takes a free one, which it cannot know")
            print(_exports(client_environment(url(args.host, args.port), args.region)))
            return 0
        if not _is_loopback(args.host):
            print(
                f"WARNING: listening on {args.host}: anyone who can reach this port can run programs as you.",
                file=sys.stderr,
            )
        if not settings.temporary:
            return serve(settings, ready=_print_ready)
        # Made last: an option that is refused must leave nothing.
        folder = tempfile.mkdtemp(prefix="airflow-spot-local-")
        try:
            return serve(replace(settings, directory=folder), ready=_print_ready)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    except ValueError as error:
        print(f"airflow-spot local: {error}", file=sys.stderr)
        return 2


def _interpreter(given: str) -> str:
    """Return a program's absolute path: jobs run elsewhere than this command.

    :raises ValueError: if there is none.
    """
    found = shutil.which(given)
    if found is None:
        raise ValueError(f"--python {given}: there is no such program")
    return str(Path(found).absolute())


def _print_ready(backend: Backend) -> None:
    from airflow_spot.local.aws.moto import client_environment

    url = backend.aws.endpoint_url
    print(f"# Local SageMaker: {url}  (a page for your browser; audit log: {backend.audit.path})")
    print(_exports(client_environment(url, backend.settings.region)), flush=True)


def _exports(variables: dict[str, str]) -> str:
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in variables.items())


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def main(argv: list[str] | None = None) -> int:
    """Run ``python -m airflow_spot.local``."""
    parser = argparse.ArgumentParser(
        prog="python -m airflow_spot.local", epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_arguments(parser)
    return run(parser.parse_args(argv))
