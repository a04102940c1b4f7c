"""An environment of one Airflow version, with the wheel in it as a user installs it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
NEWEST = "newest"
CONSTRAINTS = ROOT.parent / "shared" / "constraints"
BOUNDS = Path(__file__).parent / "bounds"
#: What a deployment has without us.
BASELINE = ("apache-airflow-providers-amazon", "boto3")


class MatrixError(RuntimeError):
    """A scenario did not come out as it has to."""


@dataclass(frozen=True)
class Target:
    """
    One row of the matrix.

    :param airflow: a version, or "newest": whatever an index gives without constraints.
    :param python: such as "3.12".
    """

    airflow: str
    python: str

    def __str__(self) -> str:
        return f"{self.airflow}-py{self.python}"

    def constraints(self) -> Path | None:
        """
        MWAA's pins, where they lie beside the checkout, else the bounds without which this version no longer starts.

        :return: None for the newest, and where there are no bounds: then what an index gives is what is installed.
        """
        if self.airflow == NEWEST:
            return None
        known = (CONSTRAINTS / f"mwaa-{self.airflow}.txt", BOUNDS / f"{self.airflow}.txt")
        return next((path for path in known if path.exists()), None)

    @property
    def requirement(self) -> str:
        return "apache-airflow" if self.airflow == NEWEST else f"apache-airflow=={self.airflow}"

    @property
    def is_airflow_2(self) -> bool:
        return self.airflow.startswith("2.")


def clean_environ() -> dict[str, str]:
    """This process's environment, without what would lead an Airflow or an AWS client astray."""
    astray = ("AIRFLOW", "_AIRFLOW", "AWS_", "PYTHONPATH", "VIRTUAL_ENV")
    return {name: value for name, value in os.environ.items() if not name.startswith(astray)}


def run(command: list[str | Path], log: Path, *, timeout: float, environ: dict[str, str] | None = None) -> str:
    """
    Run a command away from the checkout, so that only what is installed can be imported.

    :param log: gets what it says, after what is there.
    :return: what it wrote to stdout.
    :raises MatrixError: if it fails.
    """
    with log.open("a") as said:
        print("$", *command, file=said, flush=True)
        try:
            done = subprocess.run(
                [str(word) for word in command],
                check=False,
                cwd=log.parent,
                env=environ or clean_environ(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
                timeout=timeout,
            )
        except subprocess.TimeoutExpired:
            raise MatrixError(f"not within {timeout:.0f} s: {Path(command[0]).name}") from None
        print(done.stdout, file=said)
    if done.returncode != 0:
        raise MatrixError(f"{Path(command[0]).name} ended with {done.returncode}")
    return done.stdout


def find_python(version: str) -> str | None:
    """Return the interpreter that PATH has for a version; None where it has none that runs."""
    if sys.version_info[:2] == tuple(int(part) for part in version.split(".")):
        return sys.executable
    name = shutil.which(f"python{version}")
    if name is None:
        return None
    # A shim of pyenv runs the version that is chosen here, whatever is chosen elsewhere.
    found = subprocess.run(
        [name, "-c", "import sys; print(sys.executable)"],
        check=False,
        env={**os.environ, "PYENV_VERSION": version},
        capture_output=True,
        text=True,
    )
    return found.stdout.strip() if found.returncode == 0 else None


def uv(*arguments: str | Path, log: Path, timeout: float = 600) -> str:
    """Run uv, which never downloads a Python; the errors are as for :func:`run`."""
    found = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
    if found is None:
        raise MatrixError("no uv: pip install uv")
    return run([found, *arguments], log, timeout=timeout, environ={**clean_environ(), "UV_PYTHON_DOWNLOADS": "never"})


def build_wheel(folder: Path) -> Path:
    """Build the checkout's wheel."""
    folder.mkdir(parents=True, exist_ok=True)
    uv("build", "--quiet", "--wheel", "--python", sys.executable, "--out-dir", folder, ROOT, log=folder / "build.log")
    (wheel,) = folder.glob("airflow_spot-*-py3-none-any.whl")
    return wheel


class Environment:
    """
    A fresh virtual environment.

    :param folder: an empty folder for it, its Airflow home and its logs.
    :param wheel: what is installed in it.
    """

    def __init__(self, target: Target, folder: Path, wheel: Path) -> None:
        self.target = target
        self.folder = folder
        self.wheel = wheel
        self.python = folder / "venv" / "bin" / "python"
        self.home = folder / "home"
        self.constraints: Path | None = None
        self.install_seconds = 0.0

    def install(self, interpreter: str, log: Path) -> None:
        """Make it: Airflow of this version and the wheel, under the constraints where there are any."""
        self.constraints = self.target.constraints()
        uv("venv", "--quiet", "--python", interpreter, self.folder / "venv", log=log)
        started = time.monotonic()
        self._pip("install", self.target.requirement, self.wheel, log=log)
        self.install_seconds = time.monotonic() - started

    def add(self, package: str, log: Path) -> None:
        """Install something that a test needs beside."""
        self._pip("install", package, log=log)

    def _pip(self, *arguments: str | Path, log: Path) -> None:
        uv("pip", *arguments[:1], "--quiet", "--python", self.python, *self._pinned, *arguments[1:], log=log)

    @property
    def _pinned(self) -> list[str | Path]:
        return ["--constraint", self.constraints] if self.constraints else []

    def check(self, log: Path) -> None:
        """`pip check`, and that the same environment without us would have had the same versions."""
        uv("pip", "check", "--python", self.python, log=log)
        installed = _versions(uv("pip", "freeze", "--python", self.python, log=log))
        wanted = log.parent / "baseline.in"
        wanted.write_text("\n".join([self.target.requirement, *BASELINE]))
        plain: list[str | Path] = ["--quiet", "--no-header", "--no-annotate", "--python", self.python]
        baseline = _versions(uv("pip", "compile", *plain, *self._pinned, wanted, log=log))
        differences = {
            name: (baseline.get(name), installed.get(name))
            for name in baseline.keys() | installed.keys()
            if baseline.get(name) != installed.get(name)
        }
        if set(differences) != {"airflow-spot"}:
            raise MatrixError(f"the wheel changes the environment: {differences}")

    def environ(self, **more: str) -> dict[str, str]:
        """The environment of an Airflow in it, with a home and a SQLite database of its own."""
        self.home.mkdir(exist_ok=True)
        return {
            **clean_environ(),
            "PATH": os.pathsep.join([str(self.python.parent), os.environ.get("PATH", os.defpath)]),
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "300",
            **more,
        }

    def airflow(self, *arguments: str, log: Path, **more: str) -> str:
        """Run its `airflow` command."""
        command: list[str | Path] = [self.python.parent / "airflow", *arguments]
        return run(command, log, timeout=300, environ=self.environ(**more))


def _versions(freeze: str) -> dict[str, str]:
    """Read `pip freeze`: names as the index spells them, versions, and the path of what came from a file."""
    found = {}
    for line in freeze.splitlines():
        name, separator, version = line.replace(" @ ", "==").partition("==")
        if separator:
            found[re.sub(r"[-_.]+", "-", name).lower()] = version.split(";")[0].strip()
    return found
