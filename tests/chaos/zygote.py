"""
A process that has imported everything, and forks: a worker of its own for each try, in milliseconds.

Importing Airflow takes four seconds. Each child is a real process with its own id, memory and signals: SIGKILL ends
it between two instructions, as it does a worker. What a child says comes as JSON lines on its own socket, whose end is
its end.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

ROOT = Path(__file__).parents[2]
_PDEATHSIG = 1


class Child:
    """A forked process, seen from outside. ``fileno`` is for ``select``."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._rest = b""
        self.ended = False
        self._queue: list[dict[str, Any]] = []
        self.pid = 0
        while not self.pid:
            messages = self.read()
            for message in messages:
                if "pid" in message:
                    self.pid = int(message["pid"])
                else:
                    self._queue.append(message)
            if self.ended:
                raise RuntimeError("a child ended before it had begun")

    def fileno(self) -> int:
        """Its socket."""
        return self._connection.fileno()

    def read(self) -> list[dict[str, Any]]:
        """What it has said, blocking until there is something; sets ``ended`` at its end."""
        if self._queue:
            queued, self._queue = self._queue, []
            return queued
        try:
            data = self._connection.recv(1 << 20)
        except ConnectionError:
            data = b""
        if not data:
            self.ended = True
            self._connection.close()
            return []
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        return [json.loads(line) for line in lines]

    def signal(self, number: int) -> None:
        """Send it a signal; nothing where it has ended."""
        if not self.ended:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


class Zygote:
    """
    A context manager; its children end with it.

    :param kind: whose operator its children run: ``ours`` or ``stock``. The latter imports no package of ours but what
        gives Airflow's names.
    :param python: the interpreter of the environment that they run in.
    """

    def __init__(self, environ: dict[str, str], kind: str = "ours", python: str | Path = sys.executable) -> None:
        self._environ = environ
        self._command = [str(python), "-m", "tests.chaos.zygote"]
        self._kind = kind
        self._folder = tempfile.TemporaryDirectory(prefix="airflow-spot-chaos-")
        self._path = f"{self._folder.name}/zygote"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Zygote:
        home = Path(self._folder.name) / "airflow"
        env = {
            **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW_CONN_AWS_DEFAULT": "aws://",
            "AIRFLOW__AIRFLOW_SPOT__NAMESPACE": "chaos",
            **self._environ,
        }
        self._process = subprocess.Popen(
            [*self._command, self._path, self._kind],
            cwd=ROOT,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        line = b""
        while line.strip() != b"ready":
            line = self._process.stdout.readline()
            if not line:
                raise RuntimeError("the zygote did not start")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    pipe.close()
        self._folder.cleanup()

    def fork(self, task: dict[str, Any]) -> Child:
        """Have a child do a task of :mod:`tests.chaos.processes`."""
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(self._path)
        connection.sendall(json.dumps(task).encode() + b"\n")
        return Child(connection)


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PDEATHSIG, signal.SIGKILL)


def _remember_models() -> None:
    """Parse botocore's big JSON files once, and not in every child: it changes how long a client takes, no more."""
    from botocore.loaders import JSONFileLoader

    load, known = JSONFileLoader.load_file, {}

    def load_once(self: Any, path: str) -> Any:
        if path not in known:
            known[path] = load(self, path)
        return known[path]

    JSONFileLoader.load_file = load_once


def main(path: str, kind: str) -> None:
    """Import, warm up, and fork until the parent is gone."""
    _die_with_parent()
    from tests.chaos import processes

    _remember_models()
    processes.warm_up(kind)
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    server.listen(256)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    gc.collect()
    gc.freeze()
    print("ready", flush=True)
    while True:
        connection, _ = server.accept()
        task = connection.makefile("r").readline()
        if os.fork():
            connection.close()
            continue
        server.close()
        _die_with_parent()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        code = 1
        try:
            processes.run(json.loads(task), connection)
            code = 0
        finally:
            os._exit(code)


if __name__ == "__main__":
    main(*sys.argv[1:])
