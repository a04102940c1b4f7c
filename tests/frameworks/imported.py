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
from typing import TextIO

_MOST = 1 << 17


class Forked:
    """
    A script that runs, with what tests use of a ``Popen``.

    :ivar stdout: what it says, errors and all.
    """

    def __init__(self, pid: int, stdout: TextIO, ended: socket.socket) -> None:
        self.pid, self.stdout, self._ended = pid, stdout, ended
        self._code: int | None = None

    def wait(self) -> int:
        """Wait for its end; return its exit code, negative for a signal's."""
        if self._code is None:
            self._code = int(self._ended.recv(_MOST))
        return self._code


class Imported:
    """
    A process that starts scripts, one at a time.

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
        request = {"arguments": [*arguments], "folder": str(folder), "environ": {**environ}}
        socket.send_fds(self._socket, [json.dumps(request).encode()], [write])
        os.close(write)
        pid = self._socket.recv(_MOST)
        assert pid, f"it could not import: it ended with {self._process.wait()}"
        return Forked(int(pid), os.fdopen(read), self._socket)

    def close(self) -> None:
        """End it, and what it has started."""
        self._socket.close()
        self._process.wait()


def serve(requests: socket.socket) -> None:
    """Start what is asked for in a fork, and tell its process and then its exit code, again and again."""
    while True:
        said, passed, *_ = socket.recv_fds(requests, _MOST, 1)
        if not said:
            return
        request = json.loads(said)
        pid = os.fork()
        if pid == 0:
            requests.close()
            for number in (1, 2):
                os.dup2(passed[0], number)
            os.close(passed[0])
            os.environ.clear()
            os.environ.update(request["environ"])
            os.chdir(request["folder"])
            sys.argv = request["arguments"]
            sys.path[0] = str(Path(sys.argv[0]).parent)
            runpy.run_path(sys.argv[0], run_name="__main__")
            return
        os.close(passed[0])
        requests.send(str(pid).encode())
        ready, _, _ = select.select([ended := os.pidfd_open(pid), requests], [], [])
        if ended not in ready:  # who has asked for it has gone
            os.kill(pid, signal.SIGKILL)
        os.close(ended)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        with contextlib.suppress(OSError):
            requests.send(str(code).encode())


if __name__ == "__main__":
    for name in sys.argv[2:]:
        importlib.import_module(name)
    serve(socket.socket(fileno=int(sys.argv[1])))
