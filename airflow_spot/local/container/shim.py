"""The process between the service and a job's process: it makes sure that nothing of the job outlives the service.

Run as ``python -S -E shim.py STATUS_FD``; standard library only, so that it starts in some 20 ms. Three processes:

- the **shim** reads commands from stdin. The end of stdin means that the service is gone, however it went, since the
  kernel closes pipes also after a SIGKILL: then all ends.
- the **init** is process 1 of the job's PID namespace where there is one, so that its end is the end of all
  others in it. Elsewhere the shim is the reaper of all descendants and kills them one by one.
- the **job** leads a process group of its own, which is what gets SIGTERM.

Protocol: the first line of stdin is the specification (see ``Spec`` in
``airflow_spot.local.container.container``), then ``term`` and ``kill`` lines. On STATUS_FD come ``{"pid": n}`` or
``{"error": text}``, and last ``{"code": n, "signal": s}``: for a job that a signal ended, the signal's number, and
128 + it as its code; else the signal is 0. Where the shim has sent that signal, ``"signalled"`` is when, in seconds
since 1970.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from airflow_spot.local.container import namespaces

NOT_FOUND = 127


def main(status_fd: int) -> int:
    line, commands = _first_line()
    if not line:
        return 1
    spec: dict[str, Any] = json.loads(line)
    namespaces.adopt_orphans()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    report_read, report_write = os.pipe()
    try:
        if spec["namespace"]:
            namespaces.enter_process_namespace()
        init = os.fork()
    except OSError as error:
        _write(status_fd, {"error": str(error)})
        return 1
    if init == 0:
        os.close(report_read)
        _init(spec, report_write)
    os.close(report_write)
    end = _watch(init, report_read, status_fd, commands)
    if spec["link"]:
        with contextlib.suppress(OSError):
            Path(spec["link"]).unlink()
    if end is not None:
        _write(status_fd, end)
    return 0


def _first_line() -> tuple[bytes, bytes]:
    """Return the first line of stdin, and what has come after it; nothing at all if stdin ends before."""
    data = b""
    while b"\n" not in data:
        chunk = os.read(0, 65536)
        if not chunk:
            return b"", b""
        data += chunk
    line, _, rest = data.partition(b"\n")
    return line, rest


def _watch(init: int, report: int, status_fd: int, buffered: bytes) -> dict[str, Any] | None:
    """Pass on commands until the job or the service has ended, then end what is left; return how the job ended."""
    killed: dict[str, Any] = {"code": 128 + signal.SIGKILL, "signal": int(signal.SIGKILL)}
    end: dict[str, Any] | None = None
    terminated: float | None = None
    started = False
    while True:
        readable, _, _ = select.select([0, report], [], [])
        if report in readable:
            data = os.read(report, 4096)
            for entry in data.decode().splitlines():
                message = json.loads(entry)
                if "error" in message:
                    _write(status_fd, message)
                elif "started" in message:
                    started = True
                    _write(status_fd, {"pid": init})
                else:
                    by_us = terminated is not None and message["signal"] == signal.SIGTERM
                    end = {**message, "signalled": terminated} if by_us else message
            if not data:
                break
        if 0 in readable:
            data = os.read(0, 4096)
            *commands, buffered = (buffered + data).split(b"\n")
            if b"term" in commands:
                terminated = terminated or time.time()
                os.kill(init, signal.SIGTERM)
            if b"kill" in commands or not data:
                end = {**killed, "signalled": time.time()}
                break
    _end(init)
    return end if end is not None or not started else killed


def _end(init: int) -> None:
    os.kill(init, signal.SIGKILL)
    os.waitpid(init, 0)
    # An orphan that is killed may leave orphans in its turn.
    while children := _children(os.getpid()):
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def _children(parent: int) -> list[int]:
    try:
        entries = [entry.name for entry in Path("/proc").iterdir()]
    except OSError:
        return []
    children = []
    for entry in entries:
        if entry.isdigit():
            try:
                stat = Path(f"/proc/{entry}/stat").read_bytes()
            except OSError:
                continue
            if int(stat.rpartition(b")")[2].split()[1]) == parent:
                children.append(int(entry))
    return children


def _init(spec: dict[str, Any], report: int) -> NoReturn:
    namespaces.die_with_parent(signal.SIGKILL)
    if spec["namespace"]:
        try:
            folders = spec["environment"].get("PATH", "").split(os.pathsep)
            needed = [*spec["command"], *folders, spec["scratch"], __file__]  # HOME is in the scratch space
            namespaces.enter_mount_namespace(spec["root"], spec["hostname"], spec["hosts"], spec["scratch"], needed)
        except OSError as error:
            _write(report, {"error": str(error)})
            os._exit(1)
    job = os.fork()
    if job == 0:
        _exec(spec)
    # The job does so itself; where it was faster and has begun its program, the kernel refuses it to others.
    with contextlib.suppress(PermissionError):
        os.setpgid(job, job)
    signal.signal(signal.SIGTERM, lambda number, frame: _signal_group(job))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    # This process is here for as long as the job is, and must not keep the shim's stdin open.
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    _write(report, {"started": True})
    while True:
        ended, status = os.wait()
        if ended == job:
            code = os.waitstatus_to_exitcode(status)
            _write(report, {"code": code if code >= 0 else 128 - code, "signal": max(0, -code)})
            os._exit(0)


def _signal_group(group: int) -> None:
    try:
        os.killpg(group, signal.SIGTERM)
    except ProcessLookupError:
        return


def _exec(spec: dict[str, Any]) -> NoReturn:
    try:
        os.setpgid(0, 0)
        namespaces.die_with_parent(signal.SIGKILL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.chdir(spec["cwd"])
        os.execvpe(spec["command"][0], spec["command"], spec["environment"])  # noqa: S606
    except OSError as error:
        os.write(2, f"{spec['command'][0]}: {error.strerror}\n".encode())
    except ValueError as error:
        # A NUL or half a surrogate pair: no program can be given such a text.
        os.write(2, f"the command or the environment cannot be passed on: {error}\n".encode())
    finally:
        os._exit(NOT_FOUND)


def _write(fd: int, message: dict[str, Any]) -> None:
    os.write(fd, json.dumps(message).encode() + b"\n")


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
