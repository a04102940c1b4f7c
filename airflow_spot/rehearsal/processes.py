"""The processes of a job: which they are, and how they are stopped for a while."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

_STOP_SECONDS = 2.0


def process_tree(root: int) -> list[int]:
    """Return the numbers of a process's descendants. The process itself is the container's init, and not of the job."""
    children: dict[int, list[int]] = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError):
                stat = Path(entry.path, "stat").read_bytes()
                children.setdefault(int(stat.rpartition(b")")[2].split()[1]), []).append(int(entry.name))
    found, queue = [], [root]
    while queue:
        for child in children.get(queue.pop(), ()):
            found.append(child)
            queue.append(child)
    return found


def threads(process: int) -> list[int]:
    """Return the numbers of a process's threads; none where it has gone."""
    try:
        return [int(path.name) for path in Path(f"/proc/{process}/task").iterdir()]
    except OSError:
        return []


def send(process: int, number: int) -> None:
    """Send a signal to a process, if it is there."""
    with contextlib.suppress(OSError):
        os.kill(process, number)


def await_stopped(processes: list[int]) -> None:
    """Wait until processes stand still, two seconds at most."""
    deadline = time.monotonic() + _STOP_SECONDS
    for process in processes:
        while time.monotonic() < deadline:
            try:
                state = Path(f"/proc/{process}/stat").read_bytes().rpartition(b")")[2].split()[0]
            except OSError:
                break
            if state in (b"T", b"t", b"Z", b"X"):
                break
