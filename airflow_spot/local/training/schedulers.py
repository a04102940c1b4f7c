"""What resumes the lives of jobs: a thread for each, or a few threads for all."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
from collections.abc import Callable
from typing import Protocol

from airflow_spot.local.clock import Clock
from airflow_spot.local.training.lifecycle import Lifecycle

log = logging.getLogger(__name__)

JOIN_SECONDS = 10.0


class Scheduler(Protocol):
    """Resumes lives when their time has come, or when they are woken."""

    def add(self, life: Lifecycle) -> None:
        """Begin a life."""

    def close(self) -> None:
        """End all lives where they are, and wait for it."""


class ThreadScheduler:
    """For real processes: a life may block for as long as it likes.

    :param on_end: called with each life that has ended, or was ended by :meth:`close`.
    """

    def __init__(self, clock: Clock, on_end: Callable[[Lifecycle], None]) -> None:
        self._clock = clock
        self._on_end = on_end
        self._threads: dict[Lifecycle, threading.Thread] = {}
        self._lock = threading.Lock()
        self._closing = False

    def add(self, life: Lifecycle) -> None:
        thread = threading.Thread(target=self._drive, args=(life,), name=f"job-{life.job.name}", daemon=True)
        with self._lock:
            self._threads[life] = thread
        thread.start()

    def _drive(self, life: Lifecycle) -> None:
        poked = threading.Event()
        life.on_wake(poked.set)
        steps = life.run()
        try:
            for delay in steps:
                poked.wait(min(self._clock.machine_seconds(delay), threading.TIMEOUT_MAX))
                poked.clear()
                if self._closing:
                    return
        finally:
            steps.close()
            with self._lock:
                self._threads.pop(life, None)
            self._on_end(life)

    def close(self) -> None:
        self._closing = True
        with self._lock:
            threads = dict(self._threads)
        for life in threads:
            life.wake()
        for thread in threads.values():
            thread.join(JOIN_SECONDS)


class _Entry:
    """A life in the pool. ``due`` is its valid time in the heap; older entries of it there are void."""

    def __init__(self, life: Lifecycle) -> None:
        self.life = life
        self.steps = life.run()
        self.due = 0.0
        self.queued = False
        self.running = False
        self.poked = False


class CooperativeScheduler:
    """For simulated jobs: thousands of lives on a few threads. A life is resumed by one thread at a time.

    :param threads: how many; lives wait for S3 now and then, and must not hold up all others.
    """

    def __init__(self, clock: Clock, on_end: Callable[[Lifecycle], None], threads: int = 4) -> None:
        self._clock = clock
        self._on_end = on_end
        self._heap: list[tuple[float, int, _Entry]] = []
        self._order = itertools.count()
        self._entries: dict[Lifecycle, _Entry] = {}
        self._changed = threading.Condition()
        self._closing = False
        self._threads = [
            threading.Thread(target=self._work, name=f"pool-{number}", daemon=True) for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def add(self, life: Lifecycle) -> None:
        entry = _Entry(life)
        life.on_wake(lambda: self._wake(entry))
        with self._changed:
            self._entries[life] = entry
            self._queue(entry, self._clock.now())

    def _queue(self, entry: _Entry, due: float) -> None:
        entry.due, entry.queued = due, True
        heapq.heappush(self._heap, (due, next(self._order), entry))
        self._changed.notify()

    def _wake(self, entry: _Entry) -> None:
        with self._changed:
            if entry.running:
                entry.poked = True
            elif entry.queued:
                self._queue(entry, self._clock.now())

    def _work(self) -> None:
        while (entry := self._next()) is not None:
            try:
                delay = next(entry.steps, None)
            except Exception:
                log.exception("job %s", entry.life.job.name)
                delay = None
            with self._changed:
                entry.running = False
                if delay is None:
                    self._entries.pop(entry.life, None)
                else:
                    self._queue(entry, self._clock.now() + (0.0 if entry.poked else delay))
                entry.poked = False
            if delay is None:
                self._on_end(entry.life)

    def _next(self) -> _Entry | None:
        with self._changed:
            while not self._closing:
                wait = None
                if self._heap:
                    due, _, entry = self._heap[0]
                    if not entry.queued or due != entry.due:
                        heapq.heappop(self._heap)
                        continue
                    wait = self._clock.machine_seconds(due - self._clock.now())
                    if wait <= 0:
                        heapq.heappop(self._heap)
                        entry.queued, entry.running = False, True
                        return entry
                self._changed.wait(wait if wait is None or wait < threading.TIMEOUT_MAX else None)
            return None

    def close(self) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(JOIN_SECONDS)
        for entry in list(self._entries.values()):
            if not entry.running:
                entry.steps.close()
