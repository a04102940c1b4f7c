"""
Environments of their own, for what cannot be installed beside this project: made at first use, below ``.bench``.

Each holds the same Python as this one and what its requirements name, from the package index, and is made again when
its requirements or the Python have changed. Several processes may ask for one at a time: one makes it, the others
wait.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

HOME = Path(__file__).parents[1] / ".bench"
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


@dataclass(frozen=True)
class Environment:
    """
    What an environment holds.

    :param folder: where it is.
    :param purpose: who needs it, for the line that says that it is being made.
    :param requirements: as installers read them, with all that they depend on.
    :param alone: requirements that are installed without what they depend on.
    """

    folder: Path
    purpose: str
    requirements: Sequence[str]
    alone: Sequence[str] = field(default=())

    @property
    def python(self) -> Path:
        """Its interpreter, once it is made."""
        return self.folder / "bin" / "python"

    def interpreter(self, tell: Callable[[str], None]) -> Path:
        """
        Give the environment's interpreter, having made the environment where there is none or an outdated one.

        :param tell: told once if it has to be made.
        :raises NotMade: if it cannot be: most often there is no index to be reached.
        """
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        made = self.folder / "made"
        wanted = "\n".join([sys.version, *self.requirements, *(f"{each} alone" for each in self.alone)])
        with (self.folder.parent / f"{self.folder.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if made.exists() and made.read_text() == wanted:
                return self.python
            held = ", ".join([*self.requirements, *self.alone])
            tell(f"making an environment for {self.purpose} in {self.folder}: {held}")
            shutil.rmtree(self.folder, ignore_errors=True)
            for command in commands(self):
                _run(command)
            made.write_text(wanted)
        return self.python


def commands(environment: Environment) -> list[list[str]]:
    """Say what makes an environment: uv where there is one, else venv and pip."""
    folder, python = str(environment.folder), str(environment.python)
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
    if uv is not None:
        make = [uv, "venv", "--quiet", "--python", sys.executable, folder]
        install = [uv, "pip", "install", "--quiet", "--python", python]
    else:
        make = [sys.executable, "-m", "venv", folder]
        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    installs = [[*install, *environment.requirements]]
    if environment.alone:
        installs.append([*install, "--no-deps", *environment.alone])
    return [make, *installs]


def versions(python: str | Path, packages: Sequence[str]) -> dict[str, str]:
    """Ask an interpreter for the versions of packages; what it has not is not in the answer."""
    told = subprocess.run(
        [str(python), "-c", _ASK_VERSIONS, *packages], check=True, capture_output=True, text=True, timeout=60
    )
    return dict(line.split("==") for line in told.stdout.split())


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
