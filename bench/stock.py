"""
An environment for the stock operator.

Its deferrable mode needs aiobotocore, which pins botocore below boto3: beside a new boto3 it cannot be. So it has an
environment of its own, ``.bench/stock`` below the checkout: the same Python, Airflow and amazon provider as here, with
the provider's extra for aiobotocore, and nothing else. It is made at first use, from the package index, and again
when one of the versions has changed.
"""

from __future__ import annotations

import fcntl
import importlib.metadata
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".bench" / "stock"
PACKAGES = ("apache-airflow", "apache-airflow-providers-amazon", "boto3", "botocore", "aiobotocore")
_TIMEOUT_SECONDS = 900
_ASK_VERSIONS = """
import importlib.metadata, sys
for name in sys.argv[1:]:
    try:
        print(f"{name}=={importlib.metadata.version(name)}")
    except importlib.metadata.PackageNotFoundError:
        pass
"""


class NotMade(RuntimeError):
    """There is no environment; the message is the installer's last line."""


def requirements() -> list[str]:
    """Name what the environment holds: the versions of this one."""
    version = importlib.metadata.version
    return [
        f"apache-airflow=={version('apache-airflow')}",
        f"apache-airflow-providers-amazon[aiobotocore]=={version('apache-airflow-providers-amazon')}",
    ]


def interpreter(tell: Callable[[str], None], folder: Path = FOLDER) -> Path:
    """
    Give the environment's interpreter, having made the environment where there is none or an outdated one.

    :param tell: told once if it has to be made.
    :raises NotMade: if it cannot be: most often there is no index to be reached.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    python, made = folder / "bin" / "python", folder / "made"
    wanted = "\n".join([sys.version, *requirements()])
    with (folder.parent / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if made.exists() and made.read_text() == wanted:
            return python
        tell(f"making an environment for the stock operator in {folder}: {', '.join(requirements())}")
        shutil.rmtree(folder, ignore_errors=True)
        for command in _commands(folder, python):
            _run(command)
        made.write_text(wanted)
    return python


def versions(python: str | Path) -> dict[str, str]:
    """Ask an interpreter for the versions of what matters here; what it has not is not in the answer."""
    told = subprocess.run(
        [str(python), "-c", _ASK_VERSIONS, *PACKAGES], check=True, capture_output=True, text=True, timeout=60
    )
    return dict(line.split("==") for line in told.stdout.split())


def _commands(folder: Path, python: Path) -> list[list[str]]:
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
    if uv is not None:
        return [
            [uv, "venv", "--quiet", "--python", sys.executable, str(folder)],
            [uv, "pip", "install", "--quiet", "--python", str(python), *requirements()],
        ]
    return [
        [sys.executable, "-m", "venv", str(folder)],
        [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements()],
    ]


def _run(command: list[str]) -> None:
    environ = {**os.environ, "UV_PYTHON_DOWNLOADS": "never"}
    environ.pop("VIRTUAL_ENV", None)
    try:
        done = subprocess.run(
            command, env=environ, check=False, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotMade(str(error)) from error
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise NotMade(lines[-1] if lines else f"{command[0]} ended with {done.returncode}")
