"""The jobs that a watcher watches: who waits for which, and which is to be described when."""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Iterator
from datetime import datetime

from airflow_spot.core.identity import MARKER
from airflow_spot.watch.subscription import Subscription
from airflow_spot.watch.sweep import Status


class Job:
    """
    What is known of one watched job.

    :ivar listed: what a list said of it last; ``described``: what a describe said. None: nothing yet.
    :ivar due: when it is described next, if nothing asks for it before.
    :ivar failures: describes of it that failed, one after the other.
    :ivar denied: since when they are not permitted; None while they are.
    :ivar missing: describes that found no such job, one after the other.
    :ivar urgent: it is in the queue of those to be described now.
    :ivar first: it is in the one that comes before.
    """

    __slots__ = (
        "created",
        "denied",
        "described",
        "due",
        "failures",
        "first",
        "is_listable",
        "listed",
        "missing",
        "name",
        "subscribers",
        "urgent",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_listable = f"{MARKER}-" in name
        self.subscribers: list[Subscription] = []
        self.created: datetime | None = None
        self.listed: Status | None = None
        self.described: Status | None = None
        self.due = 0.0
        self.failures = 0
        self.denied: float | None = None
        self.missing = 0
        self.urgent = False
        self.first = False


class WatchedJobs:
    """The watched jobs. Times are the event loop's, in seconds."""

    def __init__(self) -> None:
        self.jobs: dict[str, Job] = {}
        self._intervals: Counter[float] = Counter()
        self._unlistable = 0
        self._urgent: tuple[deque[Job], deque[Job]] = (deque(), deque())
        self._timed: list[tuple[float, str]] = []

    # ---- who waits

    def add(self, subscription: Subscription, now: float) -> Job:
        """Add a subscriber to a job, which gets a first look for it, in its turn."""
        self._intervals[subscription.interval] += 1
        job = self.jobs.get(subscription.job_name)
        if job is None:
            job = self.jobs[subscription.job_name] = Job(subscription.job_name)
            self._unlistable += not job.is_listable
        job.subscribers.append(subscription)
        # Also for a job that is known already: what was told to others was not told to this one.
        self.schedule(job, now)
        return job

    def remove(self, subscription: Subscription) -> None:
        """Remove a subscriber."""
        self._intervals[subscription.interval] -= 1
        if not self._intervals[subscription.interval]:
            del self._intervals[subscription.interval]
        job = self.jobs[subscription.job_name]
        job.subscribers.remove(subscription)
        if not job.subscribers:
            del self.jobs[job.name]
            self._unlistable -= not job.is_listable
            self._tidy()

    def _tidy(self) -> None:
        """Drop the entries of jobs that nobody waits for: they must not pile up."""
        if len(self._timed) > 2 * len(self.jobs) + 64:
            self._timed = [(job.due, job.name) for job in self.jobs.values()]
            heapq.heapify(self._timed)
        if not self.jobs:
            for queue in self._urgent:
                queue.clear()

    @property
    def interval(self) -> float:
        """Seconds between two sweeps, as the most impatient wants it."""
        return min(self._intervals, default=60.0)

    @property
    def listable(self) -> Iterator[Job]:
        """The jobs that a list can show."""
        return (job for job in self.jobs.values() if job.is_listable)

    @property
    def unlistable(self) -> Iterator[Job]:
        """Those that it cannot: a sensor waits for jobs of any name."""
        return (job for job in self.jobs.values() if not job.is_listable)

    @property
    def counts(self) -> tuple[int, int]:
        """How many jobs a list can show, and how many not."""
        return len(self.jobs) - self._unlistable, self._unlistable

    # ---- which to describe

    def prioritize(self, job: Job, *, first: bool = False) -> None:
        """
        Have a job described as soon as may be.

        :param first: before those that are in a prioritize otherwise: it has ended, or somebody asks.
        """
        if first and not job.first:
            job.first = True
            self._urgent[0].append(job)
        elif not job.urgent:
            self._urgent[1].append(job)
        job.urgent = True

    def schedule(self, job: Job, when: float) -> None:
        """Schedule a describe of a job for then, unless something asks for it before."""
        job.due = when
        heapq.heappush(self._timed, (when, job.name))
        self._tidy()

    def take_urgent(self, most: int) -> list[Job]:
        """Take the first of those in a prioritize."""
        taken: list[Job] = []
        for queue in self._urgent:
            while queue and len(taken) < most:
                job = queue.popleft()
                # One that came before others since is in both queues.
                if job.urgent and self.jobs.get(job.name) is job:
                    taken.append(job)
                job.urgent = job.first = False
        return taken

    @property
    def next_due(self) -> tuple[float, Job] | None:
        """When the next describe is due that is in no prioritize, and of which job."""
        while self._timed:
            when, name = self._timed[0]
            job = self.jobs.get(name)
            if job is not None and job.due == when and not job.urgent:
                return when, job
            heapq.heappop(self._timed)
        return None

    def forget(self, now: float) -> None:
        """Forget what was learned of the jobs, not who waits for them: each gets a first look again."""
        for job in self.jobs.values():
            job.listed = job.described = None
            job.urgent = job.first = False
            job.due = now
        for queue in self._urgent:
            queue.clear()
        self._timed = [(job.due, job.name) for job in self.jobs.values()]
        heapq.heapify(self._timed)
