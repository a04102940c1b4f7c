"""A subscriber of a watcher: what it waits for, and what it hears."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from airflow_spot.core.starts import Start, read_starts
from airflow_spot.watch.observe import Look


@dataclass(frozen=True)
class JobUpdate:
    """
    What is new about a job.

    :param new: transitions, in their order; each comes once.
    :param ended: the job is terminal.
    :param gone: there is no such job.
    :param waiting_since: since when it has waited for capacity, while it does.
    :param wait_message: what SageMaker says of the wait.
    :param starts: of the job so far; empty where they are not known.
    :param refused: why nobody can look at it, now or later.
    :param trouble: why nobody could look at it just now; it is tried again.
    """

    new: tuple[Mapping[str, Any], ...] = ()
    ended: bool = False
    gone: bool = False
    waiting_since: datetime | None = None
    wait_message: str = ""
    starts: tuple[Start, ...] = ()
    refused: str | None = None
    trouble: str | None = None


class Subscription:
    """
    A wait for one job. A context manager, which leaves nothing behind; get one from a watcher.

    :param seen: how many of the job's transitions have been told before.
    :param interval: seconds between two sweeps, at most.
    :param ask: has the watcher look at a job now.
    :param close: ends the subscription at the watcher.
    """

    __slots__ = (
        "_ask",
        "_asked",
        "_close",
        "_counted",
        "_message",
        "_news",
        "_since",
        "_waiter",
        "interval",
        "job_name",
        "seen",
    )

    def __init__(
        self,
        job_name: str,
        seen: int,
        interval: float,
        *,
        ask: Callable[[Subscription], None],
        close: Callable[[Subscription], None],
    ) -> None:
        self.job_name = job_name
        self.seen = seen
        self.interval = interval
        self._ask = ask
        self._close: Callable[[Subscription], None] | None = close
        self._counted = False
        self._asked = False
        self._since: datetime | None = None
        self._message = ""
        self._news: tuple[JobUpdate, ...] = ()
        self._waiter: asyncio.Future[None] | None = None

    def __enter__(self) -> Subscription:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def next(self, timeout: float | None = None) -> JobUpdate | None:
        """
        Wait for news.

        :param timeout: seconds; None for any.
        :return: None where there were none in that time.
        """
        if not self._news:
            waiter = self._waiter = asyncio.get_running_loop().create_future()
            try:
                await asyncio.wait((waiter,), timeout=timeout)
            finally:
                self._waiter = None
        if not self._news:
            return None
        first, *rest = self._news
        self._news = tuple(rest)
        return first

    def ask(self) -> None:
        """Ask for a look at the job now: an update follows, even if nothing is new."""
        self._asked = True
        self._ask(self)

    def close(self) -> None:
        """End the subscription. May be called twice."""
        close, self._close = self._close, None
        if close is not None:
            close(self)

    # ---- what the watcher does

    def look(self, found: Look) -> None:
        """Add a look to the queue if it has something new for this subscriber."""
        quiet = self._counted and not self._asked and not found.new and not found.ended
        if quiet and (found.waiting_since, found.wait_message) == (self._since, self._message):
            return
        self.seen, self._since, self._counted, self._asked = found.seen, found.waiting_since, True, False
        self._message = found.wait_message
        self.tell(
            JobUpdate(
                found.new,
                ended=found.ended,
                waiting_since=found.waiting_since,
                wait_message=found.wait_message,
                starts=read_starts(found.description),
            )
        )

    def tell(self, news: JobUpdate) -> None:
        """Queue an update."""
        self._news = (*self._news, news)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
