"""Processes with an ``/opt/ml`` of their own: what stands in for a container.

Where a probe shows that the machine allows it, a process runs in a mount and PID namespace in which its directory is
``/opt/ml`` (*namespace*). Elsewhere its paths are given through ``SM_*`` and the config files (*relocation*), and code
that hard-codes ``/opt/ml`` is refused with an explanation, since its failure would be hard to understand.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import IO, Any

from airflow_spot.local.container import hard_coded
from airflow_spot.local.errors import InternalError, JobError
from airflow_spot.local.settings import Settings

log = logging.getLogger(__name__)

OPT_ML = hard_coded.OPT_ML
SHORT_TMP = "/tmp"  # noqa: S108 - for links with names that nobody can know before
#: Of a TMPDIR: what PyTorch and multiprocessing add for their sockets is some 40.
MAX_TMP_CHARACTERS = 50
SHIM = Path(__file__).with_name("shim.py")
LINE_BYTES = 64 * 1024
"""Longer lines of output are cut in pieces; a progress bar without line ends must not fill the memory."""


@dataclass(frozen=True)
class OptMl:
    """One container's ``/opt/ml``: where it is on the host, and what its process calls it.

    :param host: the directory. Beside it, ``host.parent`` is the container's scratch space.
    :param seen: ``/opt/ml`` in a namespace, else ``host`` itself.
    """

    host: Path
    seen: str

    def path(self, inside: str) -> Path:
        """Return the host's path of a path in the container, e.g. ``/opt/ml/model``.

        :raises JobError: if it is not below ``/opt/ml``: nothing else is the container's own.
        """
        relative = PurePosixPath(os.path.normpath(inside))
        if not relative.is_relative_to(OPT_ML):
            raise JobError(
                f"ClientError: Local SageMaker gives a container only {OPT_ML} of its own; {inside} is outside of it"
            )
        return self.host / relative.relative_to(OPT_ML)

    def see(self, inside: str) -> str:
        """Return what the process has to call ``inside``."""
        return self.seen + os.path.normpath(inside)[len(OPT_ML) :]


@dataclass(frozen=True)
class Spec:
    """What to run.

    :param opt_ml: from :meth:`Containers.opt_ml`.
    :param command: program and arguments; a program without a slash is looked up in the environment's PATH.
    :param environment: all of it: nothing is inherited. Start from :meth:`Containers.base_environment`.
    :param cwd: as the process sees it.
    :param hostname: in a namespace, what the machine is called.
    :param hosts: in a namespace, further names and their addresses.
    """

    opt_ml: OptMl
    command: Sequence[str]
    environment: Mapping[str, str]
    cwd: str
    hostname: str = ""
    hosts: Mapping[str, str] = field(default_factory=dict)


class Container:
    """A running process and all its descendants. Made by :meth:`Containers.start`. Thread-safe.

    :ivar pid: a process of the host that lives for as long as any process of the container.
    :ivar signal: the number of the signal that has ended it; 0 if it ended by itself, or runs.
    :ivar signalled: when that signal was sent, in seconds since 1970; None where we have sent none.
    """

    def __init__(self, process: subprocess.Popen[bytes], pid: int, status: IO[str], on_line: OnLine) -> None:
        self.pid = pid
        self.signal = 0
        self.signalled: float | None = None
        self._process = process
        self._status = status
        self._on_line = on_line
        self._code: int | None = None
        self._ended = threading.Event()
        self._callbacks: list[Callable[[], None]] = []
        self._commands = threading.Lock()
        self._lock = threading.Lock()
        self._reader = threading.Thread(target=self._read, name=f"output-{pid}", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        stdout = self._process.stdout
        assert stdout is not None  # noqa: S101 - it was started with a pipe
        while line := stdout.readline(LINE_BYTES):
            try:
                self._on_line(line.decode("utf-8", "replace").rstrip("\r\n"))
            except Exception:
                log.exception("output of process %d was lost", self.pid)
        self._process.wait()
        end: dict[str, Any] = {"code": 128 + 9, "signal": 9}
        for line_text in self._status:
            end.update(json.loads(line_text))
        self._status.close()
        stdout.close()
        with self._commands:
            _close(self._process.stdin)
        with self._lock:
            self.signal, self.signalled = end["signal"], end.get("signalled")
            self._code = end["code"]
            self._ended.set()
            callbacks = list(self._callbacks)
        for callback in callbacks:
            callback()

    def on_exit(self, callback: Callable[[], None]) -> None:
        """Call ``callback``, on another thread, once all processes have ended and all output was read."""
        with self._lock:
            if not self._ended.is_set():
                self._callbacks.append(callback)
                return
        callback()

    def poll(self) -> int | None:
        """Return the exit code, 128 + the signal's number if a signal ended it, or None while anything runs."""
        return self._code

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait up to ``timeout`` seconds; then as :meth:`poll`."""
        self._ended.wait(timeout)
        return self._code

    def terminate(self) -> None:
        """Send SIGTERM to the process group. Does not wait."""
        self._command(b"term\n")

    def kill(self) -> None:
        """Send SIGKILL to every process of the container. Does not wait."""
        self._command(b"kill\n")

    def _command(self, command: bytes) -> None:
        stdin = self._process.stdin
        assert stdin is not None  # noqa: S101 - it was started with a pipe
        # A shim that has gone has taken everything with it.
        with self._commands, contextlib.suppress(OSError, ValueError):
            stdin.write(command)
            stdin.flush()


def _short_link(folder: str) -> str:
    """Return a short name for a folder; empty where none can be made. The shim removes it."""
    link = f"{SHORT_TMP}/afspot-{secrets.token_hex(6)}"
    try:
        os.symlink(folder, link)  # noqa: PTH211 - as text
    except OSError as error:
        log.warning("no short name for %s (%s): Unix sockets below TMPDIR may fail", folder, error.strerror)
        return ""
    return link


def _close(pipe: IO[bytes] | None) -> None:
    if pipe is not None:
        # What a dead shim has not read cannot be flushed.
        with contextlib.suppress(OSError):
            pipe.close()


OnLine = Callable[[str], None]
"""Called on another thread for each line of output, standard error included, without its line end."""


class Containers:
    """Starts containers, and ends them all when the service ends."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._running: set[Container] = set()
        self._lock = threading.Lock()
        self._warned = False
        self.namespace = settings.isolation != "relocate" and self._probe()
        """Whether containers have namespaces of their own."""
        if settings.isolation == "namespace" and not self.namespace:
            raise OSError("isolation 'namespace' was asked for, and this machine does not allow it")

    def _probe(self) -> bool:
        """Return whether a process in namespaces finds its directory at /opt/ml. Leaves nothing behind."""
        with TemporaryDirectory(prefix="airflow-spot-probe-") as scratch:
            host = Path(scratch) / "ml"
            host.mkdir()
            code = f"open('{OPT_ML}/probe', 'w').close()"
            spec = Spec(OptMl(host, OPT_ML), [self._settings.python, "-S", "-c", code], self.base_environment(), "/")
            try:
                container = self._start(spec, log.debug, namespace=True)
            except JobError as error:
                log.info("no namespaces here: %s", error)
                return False
            return container.wait(20) == 0 and (host / "probe").exists()

    def opt_ml(self, scratch: Path) -> OptMl:
        """Make a container's ``/opt/ml`` below ``scratch``, which must be its own and empty."""
        host = scratch / "ml"
        host.mkdir(parents=True)
        for name in ("tmp", "home"):
            (scratch / name).mkdir()
        return OptMl(host, OPT_ML if self.namespace else str(host))

    def base_environment(self, opt_ml: OptMl | None = None, first: str | None = None) -> dict[str, str]:
        """Return what every container's environment starts from: no more than a program needs to run.

        Not the service's own environment: a script that works here by a variable of this machine fails on AWS.

        :param first: a folder that comes before all others in PATH, such as that of an image's interpreter.
        """
        path = [str(Path(self._settings.python).parent), os.environ.get("PATH", os.defpath)]
        environment = {
            "PATH": os.pathsep.join(path if first is None else [first, *path]),
            "LANG": "C.UTF-8",
            "PYTHONUNBUFFERED": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        if "LD_LIBRARY_PATH" in os.environ:
            environment["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
        if opt_ml is not None:
            environment["HOME"] = str(opt_ml.host.parent / "home")
            if not self.namespace:  # else it has a /tmp of its own
                environment["TMPDIR"] = str(opt_ml.host.parent / "tmp")
        return environment

    def start(self, spec: Spec, on_line: OnLine) -> Container:
        """Start a container's process.

        :param spec: what to run.
        :param on_line: gets its output.
        :raises JobError: if it could not be started. A program that does not exist is no such error: it exits with
            127, as under a shell.
        """
        if not self.namespace and not self._warned:
            self._warned = True
            log.warning("no namespaces here: /opt/ml is relocated, see docs/local-sagemaker.md")
        container = self._start(spec, on_line, namespace=self.namespace)
        with self._lock:
            self._running.add(container)
        container.on_exit(lambda: self._forget(container))
        return container

    def _start(self, spec: Spec, on_line: OnLine, *, namespace: bool) -> Container:
        read_fd, write_fd = os.pipe()
        status = os.fdopen(read_fd, encoding="utf-8")
        try:
            process = subprocess.Popen(
                [sys.executable, "-S", "-E", str(SHIM), str(write_fd)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=[write_fd],
                start_new_session=True,
                cwd="/",
                env={"PATH": os.environ.get("PATH", os.defpath)},
            )
        finally:
            os.close(write_fd)
        environment, link = dict(spec.environment), ""
        own_tmp = str(spec.opt_ml.host.parent / "tmp")
        if environment.get("TMPDIR") == own_tmp and len(own_tmp) > MAX_TMP_CHARACTERS:
            # A Unix socket's path may have 107 characters, on macOS 103.
            link = _short_link(own_tmp)
            environment["TMPDIR"] = link or own_tmp
        line = json.dumps(
            {
                **asdict(spec),
                "environment": environment,
                "link": link,
                "opt_ml": None,
                "namespace": namespace,
                "root": str(spec.opt_ml.host),
                "scratch": str(spec.opt_ml.host.parent),
            }
        )
        assert process.stdin is not None  # noqa: S101 - it was started with a pipe
        try:
            process.stdin.write(line.encode() + b"\n")
            process.stdin.flush()
        except OSError as error:
            log.debug("shim did not take its specification: %s", error)
        answer = json.loads(status.readline() or '{"error": "its shim did not start"}')
        if "error" in answer:
            _close(process.stdin)
            assert process.stdout is not None  # noqa: S101 - as above
            output = process.stdout.read().decode("utf-8", "replace")
            process.stdout.close()
            process.wait()
            status.close()
            raise InternalError(f"The container could not be started: {answer['error']} {output}".strip())
        return Container(process, answer["pid"], status, on_line)

    def _forget(self, container: Container) -> None:
        with self._lock:
            self._running.discard(container)

    def close(self) -> None:
        """Kill all that runs, and wait for it."""
        with self._lock:
            running = list(self._running)
        for container in running:
            container.kill()
        for container in running:
            container.wait(10)

    def refuse_hard_coded(self, code: Iterable[Path], command: Sequence[str]) -> None:
        """Where ``/opt/ml`` is relocated, refuse code that names it.

        :param code: the job's files. Of them the command and what it reaches are looked at, by :mod:`.hard_coded`.
        :raises JobError: naming file and line.
        """
        if self.namespace:
            return
        hint = "this machine allows no namespaces; take the path from SM_MODEL_DIR, SM_CHANNEL_..., SM_CHECKPOINT_DIR"
        for word in command:
            if OPT_ML in word:
                raise JobError(f"ClientError: the command {word!r} hard-codes {OPT_ML}, and {hint}")
        found = hard_coded.find(code, command)
        if found is not None:
            file, number = found
            raise JobError(f"ClientError: {file.name}, line {number}, hard-codes {OPT_ML}, and {hint}")
