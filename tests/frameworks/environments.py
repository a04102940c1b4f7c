"""An environment of its own for each framework: ``python -m tests.frameworks.environments keras``."""

from __future__ import annotations

import argparse
import fcntl
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.matrix.environment import ROOT, clean_environ, find_python

FOLDER = ROOT / ".frameworks"
_STAMP = "installed.json"


class UnavailableError(Exception):
    """This machine cannot have the environment; the message says why."""


@dataclass(frozen=True)
class Framework:
    """
    What an environment is made of.

    :param pythons: the versions that the framework runs on, the one to take first.
    :param requirements: as lines for pip.
    """

    pythons: tuple[str, ...]
    requirements: tuple[str, ...] = ()


FRAMEWORKS = {
    "xgboost": Framework(("3.11", "3.12", "3.10", "3.13"), ("xgboost-cpu>=3.0", "numpy>=1.26")),
    # By pip, not by uv: only pip takes a CPU build that lies on a machine for what an index has with gigabytes of CUDA.
    "torch": Framework(("3.11",), ("torch==2.13.0", "transformers>=4.50", "accelerate>=1.0", "lightning>=2.4")),
    "keras": Framework(("3.11", "3.12", "3.10"), ("tensorflow-cpu>=2.16", "keras>=3")),
    # The last TensorFlow with Keras 2.
    "keras2": Framework(("3.11", "3.10", "3.9"), ("tensorflow-cpu>=2.15,<2.16", "numpy<2")),
    # Retired upstream: its last release has no wheel for a newer Python, and names what NumPy has removed in 1.24.
    "mxnet": Framework(("3.8", "3.9", "3.10"), ("mxnet==1.9.1", "numpy<1.24")),
    # With what its store in SQLite needs: that in files is in maintenance mode, and refused.
    "mlflow": Framework(("3.11", "3.12", "3.10"), ("mlflow-skinny>=3", "sqlalchemy>=2", "alembic>=1.13")),
    # Scripts that need nothing.
    "plain": Framework(("3.10", "3.11", "3.12", "3.9", "3.8")),
}


def make(name: str) -> Path:
    """
    Return the interpreter of a framework's environment, which is made where it is not there or not as it should be.

    :raises UnavailableError: no Python here fits, or an installation failed.
    """
    framework, folder = FRAMEWORKS[name], FOLDER / name
    wanted = {"pythons": [*framework.pythons], "requirements": [*framework.requirements]}
    python = folder / "bin" / "python"
    FOLDER.mkdir(exist_ok=True)
    with _alone(FOLDER / f"{name}.lock"):
        stamp = folder / _STAMP
        if stamp.exists() and json.loads(stamp.read_text()) == wanted:
            return python
        base = next((found for version in framework.pythons if (found := find_python(version))), None)
        if base is None:
            raise UnavailableError(f"{name} needs Python {' or '.join(framework.pythons)}, and PATH has none that runs")
        log = FOLDER / f"{name}.log"
        log.unlink(missing_ok=True)
        without = [] if framework.requirements else ["--without-pip"]
        _run([base, "-m", "venv", "--clear", *without, str(folder)], log)
        if framework.requirements:
            pip = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
            _run([*pip, *framework.requirements], log)
        stamp.write_text(json.dumps(wanted))
    return python


def versions(name: str) -> str:
    """Return what is in an environment, such as ``xgboost-cpu 3.2.0, Python 3.11.7``."""
    names = [re.split("[<>=!~]", line)[0] for line in FRAMEWORKS[name].requirements]
    code = (
        "import json, platform, sys\nfrom importlib.metadata import version\n"
        "print(json.dumps([*('%s %s' % (name, version(name)) for name in sys.argv[1:]), "
        "'Python ' + platform.python_version()]))"
    )
    said = subprocess.run([str(make(name)), "-c", code, *names], check=True, capture_output=True, text=True).stdout
    return ", ".join(json.loads(said))


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Let one process at a time make an environment."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _run(command: list[str], log: Path) -> None:
    with log.open("a") as said:
        print("$", *command, file=said, flush=True)
        done = subprocess.run(command, check=False, env=clean_environ(), stdout=said, stderr=said, timeout=1800)
    if done.returncode:
        last = " ".join(log.read_text().splitlines()[-3:])
        raise UnavailableError(f"{' '.join(command[:4])} ended with {done.returncode}: {last} (see {log})")


def main() -> None:
    """Make what is asked for, one after the other."""
    parser = argparse.ArgumentParser(prog="python -m tests.frameworks.environments", description=__doc__)
    parser.add_argument("names", nargs="+", choices=sorted(FRAMEWORKS), metavar="NAME", help=", ".join(FRAMEWORKS))
    for name in parser.parse_args().names:
        began = time.monotonic()
        try:
            python = make(name)
        except UnavailableError as error:
            sys.exit(str(error))
        print(f"{python}: {versions(name)} ({time.monotonic() - began:.0f} s)")


if __name__ == "__main__":
    main()
