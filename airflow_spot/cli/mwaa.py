"""``airflow-spot mwaa``: what an environment of Amazon MWAA needs to run this package, as a folder to upload."""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.version import InvalidVersion, Version

from airflow_spot.cli.mwaa_checklist import checklist
from airflow_spot.cli.wheels import EPOCH, Wheel, WheelError, pack_installed, read_wheel

#: Where MWAA puts the content of plugins.zip, and the folder of the DAGs.
PLUGINS = "/usr/local/airflow/plugins"
DAGS = "/usr/local/airflow/dags"
DESCRIPTION = """\
Writes what Amazon MWAA needs to run airflow-spot:

  plugins.zip                          the wheel
  requirements.txt                     installs it from there, offline, with the constraint line that MWAA asks for
  dags/constraints-VERSION.txt         what that line names
  airflow-configuration-options.json   for --airflow-configuration-options
  CHECKLIST.md                         what to upload, which permissions it takes, what to try first
"""


class MwaaError(RuntimeError):
    """The kit would not install; the message says why."""


def add_parser(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "mwaa",
        help="write what Amazon MWAA needs to run this",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", required=True, help="the environment's Airflow version, such as 3.0.6")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="where to write")
    parser.add_argument("--wheel", type=Path, metavar="FILE", help="default: made from what is installed here")
    parser.add_argument(
        "--constraints",
        type=Path,
        metavar="FILE",
        help="the constraints file of this Airflow version and Python 3.12; default: Airflow's version alone",
    )
    parser.add_argument("--namespace", help="sets [airflow_spot] namespace; default: left to be the environment's name")


def run(args: argparse.Namespace) -> int:
    """Write the kit; returns the exit code: 0, or 2 for what was asked wrongly."""
    try:
        with tempfile.TemporaryDirectory() as scratch:
            wheel = read_wheel(args.wheel or pack_installed(Path(scratch)))
            files = write_kit(args.out, wheel, args.version, constraints=args.constraints, namespace=args.namespace)
    except BrokenPipeError:  # nobody reads on: that is for the command line
        raise
    except (MwaaError, WheelError, OSError) as error:
        print(f"airflow-spot mwaa: {error}", file=sys.stderr)
        return 2
    for file in files:
        print(args.out / file)
    print(f"Read {args.out / 'CHECKLIST.md'} next.")
    return 0


def write_kit(
    folder: Path, wheel: Wheel, version: str, *, constraints: Path | None = None, namespace: str | None = None
) -> list[Path]:
    """Write all files into a folder and return their paths in it.

    :param folder: made if it is not there.
    :param version: of the environment's Airflow.
    :param constraints: a constraints file; None constrains Airflow itself only.
    :param namespace: of ``[airflow_spot]``; None leaves it alone.
    :raises MwaaError: if this wheel does not install on this version or under these constraints.
    """
    if constraints is None:
        constrained = f"apache-airflow=={version}\n"
    else:
        constrained = constraints.read_text()
        _check_origin(constrained, version, constraints)
    _check_pins({**_pins(constrained), "apache-airflow": _version(version)}, wheel)
    constraints_name = f"constraints-{version}.txt"
    options = configuration_options(version, namespace)
    texts = {
        "requirements.txt": requirements(wheel, version, constraints_name),
        f"dags/{constraints_name}": constrained,
        "airflow-configuration-options.json": json.dumps({name: value for name, value, _ in options}, indent=2) + "\n",
        "CHECKLIST.md": checklist(version, constraints_name, wheel.version, options),
    }
    (folder / "dags").mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_text(text)
    with zipfile.ZipFile(folder / "plugins.zip", "w") as archive:
        archive.writestr(zipfile.ZipInfo(wheel.path.name, EPOCH), wheel.path.read_bytes())
    return [Path("plugins.zip"), *map(Path, texts)]


def requirements(wheel: Wheel, version: str, constraints_name: str) -> str:
    """requirements.txt, offline: MWAA's image has all that the wheel depends on, and a private web server no index."""
    return f"""\
# airflow-spot {wheel.version} on MWAA with Airflow {version}, from plugins.zip, without a package index.
# To add requirements that come from an index, take out --no-index and --find-links, and name the wheel by its path:
# {PLUGINS}/{wheel.path.name}
--constraint "{DAGS}/{constraints_name}"
--find-links {PLUGINS}
--no-index

airflow-spot=={wheel.version}
"""


def configuration_options(version: str, namespace: str | None) -> list[tuple[str, str, str]]:
    """Airflow's options that matter here: name, value, and why."""
    capacity = "triggerer.capacity" if _version(version).major >= 3 else "triggerer.default_capacity"
    options = [
        (
            capacity,
            "1000",
            "Tasks with `deferrable=True` that the triggerer watches at once; those beyond it wait. This is Airflow's "
            "default, written down since MWAA runs one triggerer: lower it if a small environment class runs out of "
            "memory.",
        )
    ]
    if namespace is not None:
        options.append(
            (
                "airflow_spot.namespace",
                namespace,
                "Part of the identity of every run: a successor of this environment that has it too, and repeats a run "
                "by its id, takes over the jobs of that. Two environments that run at the same time in one AWS "
                "account must not share it.",
            )
        )
    return options


def _version(text: str) -> Version:
    try:
        return Version(text)
    except InvalidVersion:
        raise MwaaError(f"{text!r} is not a version such as 3.0.6") from None


def _pins(constraints: str) -> dict[str, Version]:
    pins = {}
    for line in constraints.splitlines():
        try:
            requirement = Requirement(line.split("#")[0])
        except InvalidRequirement:
            continue
        pinned = [specifier.version for specifier in requirement.specifier if specifier.operator == "=="]
        if pinned and not pinned[0].endswith("*"):
            pins[requirement.name.lower()] = Version(pinned[0])
    return pins


def _check_origin(constraints: str, version: str, path: Path) -> None:
    """Airflow's own files do not pin Airflow; where one says what it is for, that must be this version."""
    said = re.search(r"constraints-(\d+\.\d+\.\d+)/constraints-(\d+\.\d+)", constraints)
    if said and (said[1], said[2]) != (version, "3.12"):
        raise MwaaError(f"{path} is for Airflow {said[1]} on Python {said[2]}, not for {version} on 3.12")
    pinned = _pins(constraints).get("apache-airflow")
    if pinned is not None and pinned != _version(version):
        raise MwaaError(f"{path} pins apache-airflow {pinned}, not {version}")


def _check_pins(pins: dict[str, Version], wheel: Wheel) -> None:
    for requirement in wheel.requirements:
        pinned = pins.get(requirement.name.lower())
        if pinned is not None and not requirement.specifier.contains(pinned, prereleases=True):
            raise MwaaError(f"airflow-spot {wheel.version} needs {requirement}, and {pinned} is pinned there")
