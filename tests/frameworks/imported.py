"""
Starts scripts in forks of a process that has imported their framework, which takes longer than their training.

All of them have one seed of Python's hashes; the trainings of two processes, and those of the examples, do not.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, TextIO

_MOST = 1 << 17


class Forked:
    """
    A script that runs, with what tests use of a ``Popen``.

    :ivar stdout: what it says, errors and all.
    """

    def __init__(self, pid: int, stdout: TextIO, watcher: socket.socket) -> None:
        self.pid, self.stdout, self._watcher = pid, stdout, watcher
        self._code: int | None = None

    def send_signal(self, number: int) -> None:
        """Send it a signal."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it."""
        self.send_signal(signal.SIGKILL)

    def wait(self) -> int:
        """Wait for its end; return its exit code, negative for a signal's."""
        if self._code is None:
            self._code = int(self._watcher.recv(_MOST))
        return self._code


class Imported:
    """
    A process that starts scripts.

    :param modules: what it imports first.
    :param environ: what it imports them in.
    """

    def __init__(self, python: Path, modules: Sequence[str], environ: Mapping[str, str]) -> None:
        self._socket, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [str(python), __file__, str(other.fileno()), *modules]
        self._process = subprocess.Popen(command, pass_fds=[other.fileno()], env=environ)
        other.close()

    def start(self, arguments: Sequence[str], folder: Path, environ: Mapping[str, str]) -> Forked:
        """Run a script with its arguments, in a folder."""
        read, write = os.pipe()
        mine, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        request = {"arguments": [*arguments], "folder": str(folder), "environ": {**environ}}
        socket.send_fds(self._socket, [json.dumps(request).encode()], [write, other.fileno()])
        os.close(write)
        other.close()
        pid = mine.recv(_MOST)
        assert pid, f"it could not import: it ended with {self._process.wait()}"
        return Forked(int(pid), os.fdopen(read), mine)

    def close(self) -> None:
        """End it. A script that still runs ends once nothing here refers to it."""
        self._socket.close()
        self._process.wait()


def serve(requests: socket.socket) -> None:
    """Start what is asked for, until there are no more requests; return in the process that is to run a script."""
    while True:
        said, passed, *_ = socket.recv_fds(requests, _MOST, 2)
        if not said:
            sys.exit()
        watcher = os.fork()
        if watcher == 0:
            requests.close()
            output, asked = passed[0], socket.socket(fileno=passed[1])
            pid = os.fork()
            if pid:
                _watch(pid, asked, output)
            asked.close()
            _become(json.loads(said), output)
            return
        for number in passed:
            os.close(number)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def _watch(pid: int, asked: socket.socket, output: int) -> NoReturn:
    """Tell a script's process, and at its end its exit code; end it if nobody is there any more who wants to know."""
    os.close(output)
    _send(asked, pid)
    ended = os.pidfd_open(pid)
    if ended not in select.select([ended, asked], [], [])[0]:
        os.kill(pid, signal.SIGKILL)
    _send(asked, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    os._exit(0)


def _send(asked: socket.socket, number: int) -> None:
    with contextlib.suppress(OSError):
        asked.send(str(number).encode())


def _become(request: Mapping[str, Any], output: int) -> None:
    """Make this process what would have been started."""
    for number in (1, 2):
        os.dup2(output, number)
    os.close(output)
    os.environ.clear()
    os.environ.update(request["environ"])
    os.chdir(request["folder"])
    sys.argv = request["arguments"]
    sys.path[0] = str(Path(sys.argv[0]).parent)


if __name__ == "__main__":
    for name in sys.argv[2:]:
        importlib.import_module(name)
    serve(socket.socket(fileno=int(sys.argv[1])))
    runpy.run_path(sys.argv[0], run_name="__main__")
