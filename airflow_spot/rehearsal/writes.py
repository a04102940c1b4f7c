"""
What a script writes into its checkpoint folder, as the kernel tells it: which file, when, in how many pieces.

It can also stop the script's processes in the middle of a write. For that, they are bound to the processor of the
thread that listens, at the lowest priority: the kernel wakes that thread with the event, and lets it go before them.
A write of a hundred bytes is met so as surely as one of a gigabyte.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import platform
import select
import signal
import struct
import sys
import termios
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from airflow_spot.core.folder_look import is_named_otherwise
from airflow_spot.rehearsal.processes import await_stopped, send, threads

MODIFY, CLOSE_WRITE, MOVED_FROM, MOVED_TO, CREATE, DELETE = 0x2, 0x8, 0x40, 0x80, 0x100, 0x200
IS_DIRECTORY, IGNORED = 0x40000000, 0x8000
_WATCHED = MODIFY | CLOSE_WRITE | MOVED_FROM | MOVED_TO | CREATE | DELETE
_MARKERS = (".sagemaker-uploading", ".sagemaker-uploaded")
#: SageMaker uploads no file of this ending: a library writes one aside, and renames it.
_IGNORED_SUFFIX = ".sagemaker-ignore"
_HEAD = struct.Struct("iIII")
#: sched_setattr(2), which neither Python nor the C library offers, and its argument.
_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274}
_SCHED_ATTR = struct.Struct("=IIQiIQQQ")
_POLL_MILLISECONDS = 10
#: A file is longer a moment before the kernel says that it was written to.
_LOOKED_SECONDS = 0.1


@dataclass
class Write:
    """
    One write of a file.

    :ivar key: the file's name, relative to the folder; after a rename, the new one.
    :ivar began: when it was made or cut to nothing, seconds since the epoch.
    :ivar ended: when it was closed, or renamed, if that was later; None if never.
    :ivar size: in bytes, when it was closed.
    :ivar pieces: how many system calls wrote it.
    :ivar aside: whether it got its name by a rename, when it was whole.
    """

    key: str
    began: float
    ended: float | None = None
    size: int = 0
    pieces: int = 0
    aside: bool = False


@dataclass(frozen=True)
class Deleted:
    """A file that the script, or the end of its instance, has deleted."""

    key: str
    time: float


@dataclass
class Torn:
    """A write in whose middle the processes were stopped. :ivar began: when it was begun."""

    key: str
    size: int
    began: float


@dataclass
class _Trap:
    after: int
    piece: int
    processes: Callable[[], list[int]]
    processor: int
    known: list[int] = field(default_factory=list)
    caught: threading.Event = field(default_factory=threading.Event)
    torn: Torn | None = None
    write: Write | None = None
    bound: bool = False


class FolderWatch:
    """
    Watches a checkpoint folder, which comes and goes with each start. A context manager.

    :param folder: on this machine.
    :ivar writes: what was written, oldest first; what Local SageMaker restores before a start is there too.
    :ivar deleted: likewise.
    :ivar begun: how many writes the script has begun: see :meth:`live_since`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.writes: list[Write] = []
        self.deleted: list[Deleted] = []
        self.begun = 0
        self._open: dict[str, Write] = {}
        # What a look into a new folder saw. The kernel may tell of it once more: within so many bytes of events, and
        # until then. What may have been open is told of when it is closed.
        self._looked: dict[str, Write] = {}
        self._looked_bytes = 0
        self._looked_until = 0.0
        self._maybe_open: dict[str, Write] = {}
        self._moved: dict[int, str] = {}
        self._folders: dict[int, str] = {}
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = -1
        self._ending = threading.Event()
        self._trap: _Trap | None = None
        self._live_since = float("inf")
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="checkpoint-folder", daemon=True)

    def __enter__(self) -> FolderWatch:
        if not is_supported():
            return self
        self._fd = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        if self._fd >= 0:
            self._thread.join(60)  # a busy machine lets it wait
            os.close(self._fd)
            self._fd = -1

    def live_since(self, moment: float) -> None:
        """Note when the script was started: what was written before was not its own."""
        with self._lock:
            if self._live_since == float("inf"):
                # The kernel may have told of its first writes before anybody told of its start.
                self.begun += sum(write.began >= moment for write in self.writes)
            self._live_since = moment

    def asleep(self) -> None:
        """Note that the script does not run."""
        self._live_since = float("inf")

    # The trap.

    def set_trap(self, after: int, piece: int, processes: Callable[[], list[int]]) -> None:
        """
        Have the processes stopped in the middle of a write.

        :param after: so many writes are let pass before.
        :param piece: 0: once the file is open and empty; n: once n of its pieces are written.
        :param processes: returns the numbers of the job's processes.
        """
        processor = min(os.sched_getaffinity(0))
        self._trap = _Trap(after, piece, processes, processor)

    def trapped(self) -> Torn | None:
        """Return the write that was met; None if there is none yet."""
        trap = self._trap
        return trap.torn if trap is not None and trap.caught.is_set() else None

    def drop_trap(self) -> None:
        """Stop interrupting writes from now on."""
        self._trap = None

    # The thread.

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        while not self._ending.is_set():
            if not self._folders:
                self._add(self.folder, "")
            trap = self._trap
            if trap is not None and not trap.bound and trap.after <= 0:
                self._bind(trap)
            if poll.poll(_POLL_MILLISECONDS):
                self._read()
        while poll.poll(0):
            self._read()

    def _add(self, path: Path, key: str) -> None:
        """
        Watch a folder, and the folders in it.

        What is in a folder already was written before anybody looked, as early as its file says, and counts as whole
        unless more is told.
        """
        number = self._libc.inotify_add_watch(self._fd, os.fsencode(path), _WATCHED)
        if number < 0:
            return
        self._folders[number] = key
        try:
            entries = list(os.scandir(path))
        except OSError:
            return
        for entry in entries:
            inner = f"{key}/{entry.name}" if key else entry.name
            if entry.is_dir(follow_symlinks=False):
                self._add(Path(entry.path), inner)
            elif is_scripts(inner) and self._newest(inner) is None:
                with contextlib.suppress(OSError), self._lock:
                    self._handle(CREATE | CLOSE_WRITE, inner, 0, entry.stat(follow_symlinks=False).st_ctime)
                    self._looked[inner] = self._maybe_open[inner] = self.writes[-1]
        self._looked_bytes, self._looked_until = self._queued(), time.time() + _LOOKED_SECONDS

    def _queued(self) -> int:
        """Return how many bytes of events the kernel has for us."""
        return int.from_bytes(fcntl.ioctl(self._fd, termios.FIONREAD, bytes(4)), sys.byteorder)

    def _newest(self, key: str) -> Write | None:
        return next((write for write in reversed(self.writes) if write.key == key), None)

    def _read(self) -> None:
        try:
            data = os.read(self._fd, 65536)
        except BlockingIOError:
            return
        now = time.time()
        if self._looked_bytes <= 0 and now > self._looked_until:
            # What was empty then is likely to be open still.
            self._looked = {key: write for key, write in self._looked.items() if not write.size}
        self._looked_bytes -= len(data)
        offset = 0
        while offset < len(data):
            number, mask, cookie, length = _HEAD.unpack_from(data, offset)
            offset += _HEAD.size
            name = os.fsdecode(data[offset : offset + length].rstrip(b"\0"))
            offset += length
            if mask & IGNORED:
                self._folders.pop(number, None)
                continue
            if number not in self._folders or not name:
                continue
            if not mask & IS_DIRECTORY and not is_scripts(name):
                self._dropped(self._moved.pop(cookie, None) if mask & MOVED_TO else None)
                continue
            folder = self._folders[number]
            self._event(mask, f"{folder}/{name}" if folder else name, cookie, now)
        self._spring()

    def _event(self, mask: int, key: str, cookie: int, now: float) -> None:
        if mask & IS_DIRECTORY:
            self._folder_event(mask, key, cookie, now)
        else:
            with self._lock:
                self._handle(mask, key, cookie, now)

    def _folder_event(self, mask: int, key: str, cookie: int, now: float) -> None:
        if mask & CREATE:
            self._add(self.folder / key, key)
        elif mask & MOVED_FROM:
            self._moved[cookie] = key
        elif mask & MOVED_TO:
            before = self._moved.pop(cookie, None)
            if before is None:
                self._add(self.folder / key, key)
                return
            self._looked = {path: write for path, write in self._looked.items() if not path.startswith(f"{before}/")}
            for number, known in self._folders.items():
                if known == before or known.startswith(f"{before}/"):
                    self._folders[number] = key + known[len(before) :]
            with self._lock:
                for write in self.writes:
                    if write.key.startswith(f"{before}/"):
                        write.key = key + write.key[len(before) :]
                        write.aside, write.ended = True, now
                        self._open.pop(f"{before}{write.key[len(key) :]}", None)
                        self._measure(write)
            # It may have been renamed before anybody looked into it.
            self._add(self.folder / key, key)

    def _handle(self, mask: int, key: str, cookie: int, now: float) -> None:
        if mask & CREATE:
            self._begin(key, now)
        if mask & MODIFY:
            write = self._open.get(key) or self._begin(key, now)
            write.pieces += 1
        if mask & CLOSE_WRITE:
            write = self._open.get(key) or self._maybe_open.get(key) or self._begin(key, now, known=False)
            self._maybe_open.pop(key, None)
            self._measure(write)
            # The kernel closes the files of a process that is killed.
            write.ended = None if self._trap is not None and self._trap.write is write else now
            self._open.pop(key, None)
        if mask & MOVED_FROM:
            self._moved[cookie] = key
        if mask & MOVED_TO:
            self._renamed(self._moved.pop(cookie, ""), key, now)
        if mask & DELETE:
            self._open.pop(key, None)
            self._looked.pop(key, None)
            self._maybe_open.pop(key, None)
            self.deleted.append(Deleted(key, now))

    def _begin(self, key: str, now: float, known: bool = True) -> Write:
        write = self._open.get(key)
        if write is not None and write.pieces == 0:
            return write
        write = self._looked.pop(key, None)
        self._maybe_open.pop(key, None)
        # What was there before this start is written once more now.
        if write is not None and write.began >= self._live_since:
            write.ended = None
            self._open[key] = write
            return write
        write = Write(key, now)
        self.writes.append(write)
        self.begun += now >= self._live_since
        if known:
            self._open[key] = write
        return write

    def _renamed(self, before: str, key: str, now: float) -> None:
        twice = self._looked.pop(key, None)
        write = self._newest(before) or twice
        if write is None:
            write = Write(key, now)
            self.writes.append(write)
            self.begun += now >= self._live_since
        if before in self._open:
            self._open[key] = self._open.pop(before)
        self._looked.pop(before, None)
        self._maybe_open.pop(before, None)
        if twice is not write:
            self._forget(twice)
        write.key, write.aside = key, True
        self._measure(write)
        write.ended = now

    def _dropped(self, before: str | None) -> None:
        """Note that a file got a name that no checkpoint has."""
        if before is not None:
            with self._lock:
                self._open.pop(before, None)
                self._forget(self._newest(before))

    def _forget(self, write: Write | None) -> None:
        if write is not None:
            self.writes = [each for each in self.writes if each is not write]
            self.begun -= write.began >= self._live_since

    def _measure(self, write: Write) -> None:
        with contextlib.suppress(OSError):
            write.size = (self.folder / write.key).stat().st_size

    def _bind(self, trap: _Trap) -> None:
        """Run this thread ahead of the job's: see the module."""
        trap.bound = True
        trap.known = trap.processes()
        with contextlib.suppress(OSError):
            os.sched_setaffinity(0, {trap.processor})
            self._take_short_turns()
        for process in trap.known:
            for thread in threads(process):
                with contextlib.suppress(OSError):
                    os.sched_setaffinity(thread, {trap.processor})
                    os.setpriority(os.PRIO_PROCESS, thread, 19)

    def _take_short_turns(self) -> None:
        """Ask for turns of a tenth of a millisecond: from Linux 6.12 on, whoever does so goes first when it wakes."""
        call = _SCHED_SETATTR.get(platform.machine())
        if call is not None:
            self._libc.syscall(call, 0, _SCHED_ATTR.pack(_SCHED_ATTR.size, 0, 0, 0, 0, 100_000, 0, 0), 0)

    def _spring(self) -> None:
        trap = self._trap
        if trap is None or trap.caught.is_set():
            return
        if self.begun >= trap.after and not trap.bound:
            self._bind(trap)
        if self.begun <= trap.after:
            return
        open_now = [write for write in self._open.values() if write.began >= self._live_since]
        write = next((each for each in reversed(open_now) if each.pieces >= trap.piece), None)
        if write is None:
            return
        for process in trap.known:
            send(process, signal.SIGSTOP)
        processes = [*trap.known, *(each for each in trap.processes() if each not in trap.known)]
        for process in processes:
            send(process, signal.SIGSTOP)
        await_stopped(processes)
        # What had happened before they stood still.
        self._trap = None
        self._read()
        self._trap = trap
        if self._open.get(write.key) is not write:
            for process in processes:
                send(process, signal.SIGCONT)
            if trap.piece:
                trap.piece = 0  # a smaller target for the next try: the moment at which the file is open
            return
        size = 0
        with contextlib.suppress(OSError):
            size = (self.folder / write.key).stat().st_size
        trap.write = write
        trap.torn = Torn(write.key, size, write.began)
        trap.caught.set()


def is_scripts(key: str) -> bool:
    """Return whether a file may be of the script's checkpoints: no marker of SageMaker's, no report, no known log."""
    return not key.endswith(_MARKERS) and not is_named_otherwise(key.removesuffix(_IGNORED_SUFFIX))


def is_supported() -> bool:
    """Return whether this machine tells of writes."""
    return sys.platform == "linux"
