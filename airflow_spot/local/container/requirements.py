"""``requirements.txt`` beside a script: installed into an environment of its own, never into another."""

from __future__ import annotations

import hashlib
import shutil
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TypeAlias

from airflow_spot.local.container.container import Container, OnLine
from airflow_spot.local.container.toolkit import EXIT_CODE, called_process_error
from airflow_spot.local.errors import JobError

INSTALL_SECONDS = 1800
LOCKED_SECONDS = 0.2
KILL_SECONDS = 30.0
_LOCAL = ("-", ".", "/", "file:")
_TAIL = 700

Start: TypeAlias = Callable[[list[str], OnLine], Container]
"""Starts a command; the job's scheduler is woken at its end."""


class Environments:
    """Environments by what is in them; jobs with the same requirements share one. Thread-safe.

    An environment sees the packages of the interpreter that it was made from, as an image's packages are seen on AWS.

    :param folder: where they are kept.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._lock = threading.Lock()

    def interpreter(self, python: list[str], code: Path, start: Start) -> Generator[float, None, list[str]]:
        """Return the command that runs Python for the code in a folder.

        Yields how many seconds it may be left alone while it waits; closing it ends what it has started.

        :param python: the command without requirements; what comes back if there are none.
        :param start: starts the installer, in that folder.
        :raises JobError: AlgorithmError as the toolkit raises it, with the installer's last words.
        """
        requirements = code / "requirements.txt"
        if not requirements.is_file():
            return python
        key = _key(python, code, requirements)
        with self._lock:
            lock = self._locks[key]
        folder = self._folder / key
        while not lock.acquire(blocking=False):
            yield LOCKED_SECONDS
        try:
            if not (folder / "ready").exists():
                shutil.rmtree(folder, ignore_errors=True)
                yield from _make(python, folder, requirements.name, start)
                (folder / "ready").touch()
        finally:
            lock.release()
        return [str(folder / "bin" / "python"), *python[1:]]


def _make(python: list[str], folder: Path, requirements: str, start: Start) -> Generator[float, None, None]:
    new = folder / "bin" / "python"
    installer = yield from _installer(python[0], new, start)
    yield from _run([python[0], "-m", "venv", *(["--without-pip"] if installer else []), str(folder)], start)
    parents = dict.fromkeys((yield from _site_packages(python[0], start)))
    own = Path((yield from _site_packages(str(new), start))[0])
    # addsitedir also reads the parent's own .pth files, such as those of editable installs.
    lines = [f"import site; site.addsitedir({parent!r})" for parent in parents]
    (own / "_parent.pth").write_text("\n".join(lines), encoding="utf-8")
    pip = installer or [str(new), "-m", "pip", "--disable-pip-version-check", "install"]
    yield from _run([*pip, "--quiet", "-r", requirements], start)


def _site_packages(python: str, start: Start) -> Generator[float, None, list[str]]:
    query = "import sysconfig; print(sysconfig.get_path('purelib')); print(sysconfig.get_path('platlib'))"
    # Warnings come on the same stream, and before them.
    return (yield from _run([python, "-c", query], start))[-2:]


def _installer(python: str, new: Path, start: Start) -> Generator[float, None, list[str] | None]:
    """Return what can install into a new environment without pip, which is much faster to make; or None."""
    uv = shutil.which("uv")
    if uv is not None:
        return [uv, "pip", "install", "--python", str(new)]
    try:
        yield from _run([python, "-c", "import pip"], start)
    except JobError:
        return None
    return [python, "-m", "pip", "--disable-pip-version-check", "--python", str(new), "install"]


def _key(python: list[str], code: Path, requirements: Path) -> str:
    text = requirements.read_bytes()
    digest = hashlib.sha256("\0".join(python).encode() + b"\0" + text)
    if any(line.strip().startswith(_LOCAL) for line in text.decode("utf-8", "replace").splitlines()):
        # Lines that name files are only as constant as the files.
        for file in sorted(path for path in code.rglob("*") if path.is_file()):
            digest.update(file.relative_to(code).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:32]


def _run(command: list[str], start: Start) -> Generator[float, None, list[str]]:
    """Run a command to its end; return the lines that it printed.

    :raises JobError: if it fails, or takes longer than ``INSTALL_SECONDS``.
    """
    lines: list[str] = []
    container = start(command, lines.append)
    deadline = time.monotonic() + INSTALL_SECONDS
    try:
        while (code := container.poll()) is None:
            left = deadline - time.monotonic()
            if left <= 0:
                raise _failed(EXIT_CODE, f"{command[0]} has not ended after {INSTALL_SECONDS} seconds", command)
            yield left
    finally:
        container.kill()
        container.wait(KILL_SECONDS)
    if code != 0:
        raise _failed(code, "\n".join(lines).strip()[-_TAIL:], command)
    return lines


def _failed(code: int, output: str, command: list[str]) -> JobError:
    return JobError(called_process_error("InstallRequirementsError", code, output, " ".join(command)))
