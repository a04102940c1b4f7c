"""One thread for each processing job, transform job, tuning job and endpoint: started, guarded and ended in one place.

Training jobs are not among them: thousands of those share a few threads, see
:mod:`airflow_spot.local.training.schedulers`.
"""

from __future__ import annotations

import logging
import threading
import time
from abc import ABC, abstractmethod

from airflow_spot.local.errors import JobError, JobStopped, internal_failure

log = logging.getLogger(__name__)

JOIN_SECONDS = 10.0


class Runner(ABC):
    """The life of one job. Subclasses define what it does; :class:`JobThreads` calls each method once, in this order.

    :param title: for the log and the thread's name, e.g. ``processing job a``.
    :ivar abandoned: set when the service ends: nothing is recorded any more.
    """

    def __init__(self, title: str) -> None:
        self.title = title
        self.abandoned = False

    @abstractmethod
    def run(self) -> None:
        """Do the work.

        :raises JobError: with the FailureReason, if the job fails.
        :raises JobStopped: if it was stopped before it was done.
        """

    @abstractmethod
    def clean_up(self) -> None:
        """Release whatever the job held, however :meth:`run` ended."""

    @abstractmethod
    def record_end(self, failure: str | None) -> None:
        """Enter the last status. Not called for a job that was abandoned.

        :param failure: the FailureReason of one that failed.
        """

    @abstractmethod
    def wake(self) -> None:
        """Make :meth:`run` notice soon that it was abandoned. Called on another thread; does not wait."""


class JobThreads:
    """The threads that run. Thread-safe.

    Guarantee: whatever happens in a runner, its job gets an end, and :meth:`close` leaves no thread that could still
    record one.
    """

    def __init__(self) -> None:
        self._running: dict[Runner, threading.Thread] = {}
        self._lock = threading.Lock()
        self._closed = False

    def start(self, runner: Runner) -> None:
        """Begin a job's life on a thread of its own. After :meth:`close`, does nothing."""
        thread = threading.Thread(target=self._drive, args=(runner,), name=runner.title, daemon=True)
        with self._lock:
            if self._closed:
                return
            self._running[runner] = thread
            thread.start()

    def _drive(self, runner: Runner) -> None:
        try:
            failure = _guarded(runner)
            if not runner.abandoned:
                runner.record_end(failure)
        except Exception:
            log.exception("%s: its end was not recorded", runner.title)
        finally:
            with self._lock:
                del self._running[runner]

    def close(self) -> None:
        """Abandon all jobs and wait for their threads, for ``JOIN_SECONDS`` together."""
        with self._lock:
            self._closed = True
            running = dict(self._running)
        for runner in running:
            runner.abandoned = True
            runner.wake()
        deadline = time.monotonic() + JOIN_SECONDS
        for thread in running.values():
            thread.join(max(0.0, deadline - time.monotonic()))


def _guarded(runner: Runner) -> str | None:
    """Run to the end; return why the job failed, if it did."""
    failure: str | None = None
    for step in (runner.run, runner.clean_up):
        try:
            step()
        except JobStopped:
            log.debug("%s is stopped", runner.title)
        except JobError as error:
            failure = failure or str(error)
        except Exception as error:
            log.exception("%s", runner.title)
            failure = failure or internal_failure(error)
    return failure
