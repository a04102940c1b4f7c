"""
XComs of a task's own instance, written from its worker and from its trigger, by version of Airflow.

What is written is for people to look at: nothing here raises, and a failure is said once.
"""

from __future__ import annotations

import asyncio
import importlib
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache, partial
from typing import Any, Protocol

from airflow import __version__ as airflow_version

#: Makes what is to be written, by key. It may take milliseconds, so a trigger has it done in a thread.
Values = Callable[[], Mapping[str, Any]]

#: How long a trigger that fires waits for the last write. The first one of a triggerer took eleven seconds on 3.3:
#: Airflow's supervisor makes its API then.
LAST_SECONDS = 5.0
#: After a failure a worker does not try again for so long: Airflow 3 repeats such a call for a minute by itself, in
#: which the worker does not look at its job.
PAUSE_SECONDS = 300.0

#: Goes when 2.11 is no longer supported.
_AIRFLOW_2 = airflow_version.startswith("2.")


class Log(Protocol):
    """A task's or a trigger's logger."""

    def warning(self, message: str, /, *args: Any) -> Any: ...


class _Told:
    """Says once that XComs cannot be written."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._said = False

    def tell(self, error: Exception) -> None:
        if not self._said:
            self._said = True
            # Not the message: a backend of the user's may repeat what it was given.
            self._log.warning("The timeline of this task in the Airflow UI is not up to date: %s", type(error).__name__)


@contextmanager
def timeouts_wait() -> Iterator[None]:
    """
    Have Airflow's timeout of the task come after the block, not in the middle of it.

    In the middle of a question to Airflow 3's supervisor it would leave the answer for the next one to read: that which
    says how the task ended.
    """
    handler: Any = signal.getsignal(signal.SIGALRM)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield
        return
    came: list[tuple[Any, ...]] = []
    signal.signal(signal.SIGALRM, lambda *how: came.append(how))
    try:
        yield
    finally:
        signal.signal(signal.SIGALRM, handler)
        if came:
            handler(*came[-1])


class WorkerXComs:
    """
    Writes from a task's worker, at once. Not from a signal handler, which may have come in the middle of a write.

    :param task_instance: of the task's context.
    """

    def __init__(self, task_instance: Any, log: Log) -> None:
        self._ti = task_instance
        self._told = _Told(log)
        self._not_before = 0.0

    def write(self, make: Values, *, last: bool = False) -> bool:
        """
        Write; return whether it was written.

        :param last: there is no later write: it is tried although the last one has just failed.
        """
        if time.monotonic() < self._not_before and not last:
            return False
        try:
            with timeouts_wait():
                for key, value in make().items():
                    self._ti.xcom_push(key=key, value=value)
        except Exception as error:
            self._not_before = time.monotonic() + PAUSE_SECONDS
            self._told.tell(error)
            return False
        return True


class TriggerXComs:
    """
    Writes from a trigger without holding up its event loop: one write at a time, and the newest wins.

    :param task_instance: as the triggerer set it on the trigger; None, as where ``dag.test()`` runs a trigger, for no
        writes.
    """

    def __init__(self, task_instance: Any, log: Log) -> None:
        self._ti = task_instance
        self._told = _Told(log)
        self._next: tuple[int, Values] | None = None
        self._work: asyncio.Task[None] | None = None
        self._lock = threading.Lock()
        self._count = self._written = 0

    def put(self, make: Values) -> None:
        """Queue something to be written soon, in place of what waits to be written."""
        if self._ti is None:
            return
        self._next = self._numbered(make)
        if self._work is None or self._work.done():
            # Never cancelled with the trigger: an answer of Airflow's that nobody reads would be read as another's.
            self._work = asyncio.ensure_future(self._write_all())
            _UNDER_WAY.add(self._work)
            self._work.add_done_callback(_UNDER_WAY.discard)

    async def close(self, seconds: float | None = None) -> None:
        """Wait until all is written, but not for long: then what has not begun is left to the worker that continues."""
        if self._work is not None and not self._work.done():
            await asyncio.wait([self._work], timeout=LAST_SECONDS if seconds is None else seconds)
            self._written = self._count

    def write(self, make: Values) -> None:
        """Write now, from one of asgiref's threads; nothing that was put before is written after it."""
        if self._ti is not None:
            self._write(*self._numbered(make))

    def _numbered(self, make: Values) -> tuple[int, Values]:
        self._count += 1
        return self._count, make

    def _write(self, number: int, make: Values) -> None:
        with self._lock:
            if number <= self._written:
                return
            self._written = number
            try:
                for key, value in make().items():
                    set_xcom(self._ti, key, value)
            except Exception as error:
                self._told.tell(error)

    async def _write_all(self) -> None:
        from airflow_spot.watch.threads import in_thread  # asgiref: not where a DAG is parsed

        while (following := self._next) is not None:
            self._next = None
            try:
                await in_thread(partial(self._write, *following), _threads())
            except Exception as error:  # no thread is to be had: the interpreter ends
                self._told.tell(error)
                return


@cache
def _threads() -> ThreadPoolExecutor:
    """Return threads of their own: a burst of writes must not hold up those that look at jobs."""
    return ThreadPoolExecutor(max_workers=2, thread_name_prefix="airflow-spot-xcoms")


#: The event loop itself holds tasks only weakly.
_UNDER_WAY: set[asyncio.Task[None]] = set()


def set_xcom(task_instance: Any, key: str, value: Any) -> None:
    """
    Write an XCom of a trigger's own task instance, over what is there. It blocks, and is for asgiref's threads only.

    :raises Exception: it could not be written.
    """
    module = "airflow.models.xcom" if _AIRFLOW_2 else "airflow.sdk.execution_time.xcom"
    backend: Any = importlib.import_module(module).XCom
    index = task_instance.map_index
    backend.set(
        key=key,
        value=value,
        dag_id=task_instance.dag_id,
        task_id=task_instance.task_id,
        run_id=task_instance.run_id,
        map_index=-1 if index is None else index,
    )
