"""``requirements.txt`` beside a script: installed into an environment of its own, never into anybody else's."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import threading
from collections import defaultdict
from pathlib import Path

from airflow_spot.local.errors import JobError

INSTALL_SECONDS = 1800
_LOCAL = ("-", ".", "/", "file:")
_TAIL = 700


class Environments:
    """Environments by what is in them; jobs with the same requirements share one. Thread-safe.

    An environment sees the packages of the interpreter that it was made from, as an image's packages are seen on AWS.

    :param folder: where they are kept.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._lock = threading.Lock()

    def interpreter(self, python: list[str], code: Path) -> list[str]:
        """The command that runs Python for the code in a folder.

        :param python: the command without requirements; what comes back if there are none.
        :raises JobError: AlgorithmError as the toolkit raises it, with the installer's last words.
        """
        requirements = code / "requirements.txt"
        if not requirements.is_file():
            return python
        key = _key(python, code, requirements)
        with self._lock:
            lock = self._locks[key]
        folder = self._folder / key
        with lock:
            if not (folder / "ready").exists():
                shutil.rmtree(folder, ignore_errors=True)
                self._make(python, folder, requirements)
                (folder / "ready").touch()
        return [str(folder / "bin" / "python"), *python[1:]]

    def _make(self, python: list[str], folder: Path, requirements: Path) -> None:
        code, new = requirements.parent, folder / "bin" / "python"
        installer = _installer(python[0], new)
        _run([python[0], "-m", "venv", *(["--without-pip"] if installer else []), str(folder)], code)
        query = "import sysconfig; print(sysconfig.get_path('purelib')); print(sysconfig.get_path('platlib'))"
        parents = dict.fromkeys(_run([python[0], "-c", query], code).splitlines())
        own = Path(_run([str(new), "-c", query], code).splitlines()[0])
        # addsitedir also reads the parent's own .pth files, such as those of editable installs.
        lines = [f"import site; site.addsitedir({parent!r})" for parent in parents]
        (own / "_parent.pth").write_text("\n".join(lines), encoding="utf-8")
        pip = installer or [str(new), "-m", "pip", "--disable-pip-version-check", "install"]
        _run([*pip, "--quiet", "-r", requirements.name], code)


def _installer(python: str, new: Path) -> list[str] | None:
    """What can install into a new environment that has no pip, which is several times faster to make; or None."""
    uv = shutil.which("uv")
    if uv is not None:
        return [uv, "pip", "install", "--python", str(new)]
    try:
        _run([python, "-c", "import pip"], Path("/"))
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


def _run(command: list[str], cwd: Path) -> str:
    try:
        result = subprocess.run(command, cwd=cwd, check=False, capture_output=True, text=True, timeout=INSTALL_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise JobError(f"AlgorithmError: InstallRequirementsError: {error}, exit code: 1") from error
    if result.returncode != 0:
        said = (result.stderr or result.stdout).strip()[-_TAIL:]
        raise JobError(f"AlgorithmError: InstallRequirementsError: {said}, exit code: {result.returncode}")
    return result.stdout.strip()
