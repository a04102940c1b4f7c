"""Interpreters and environments of other versions than that of the tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.matrix import environment


def find_python(version: str) -> str:
    """Return the path of the interpreter of a version such as ``3.12``; skips the test where there is none."""
    found = environment.find_python(version)
    if found is None:
        pytest.skip(f"no python{version} on PATH that runs")
    return found


def find_uv() -> str:
    """Return the path of uv: of the tests' environment, else of PATH; skips the test where there is none."""
    found = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
    if found is None:
        pytest.skip("no uv")
    return found


def uv(*arguments: str | Path, timeout: float = 600) -> str:
    """Run uv, which never downloads a Python, and return what it said.

    :raises AssertionError: with its messages, if it fails.
    """
    done = subprocess.run(
        [find_uv(), *map(str, arguments)],
        check=False,
        env={**os.environ, "UV_PYTHON_DOWNLOADS": "never", "VIRTUAL_ENV": ""},
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    assert done.returncode == 0, f"uv {' '.join(map(str, arguments))}\n{done.stderr}"
    return done.stdout + done.stderr


def make_environment(path: Path, python: str, *requirements: str | Path) -> Path:
    """Make a virtual environment that has pip, install into it, and return its interpreter."""
    uv("venv", "--quiet", "--seed", "--python", python, path)
    interpreter = path / "bin" / "python"
    if requirements:
        uv("pip", "install", "--quiet", "--python", interpreter, *requirements)
    return interpreter
