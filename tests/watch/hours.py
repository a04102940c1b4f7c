"""Hours in milliseconds: an event loop whose time skips ahead, and a SageMaker whose jobs live by it."""

from __future__ import annotations

import asyncio
import random
import selectors
from bisect import bisect_right
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any, TypeVar

from airflow_spot.watch.service import ErrorKind

T = TypeVar("T")
ENDS = ("Completed", "Failed", "Stopped")
EPOCH = datetime(2026, 1, 1, tzinfo=timezone.utc)


class _Skipping(selectors.SelectSelector):
    """Waits for nothing: time passes instead."""

    loop: SkippingLoop

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "everybody waits, and nothing will happen any more"
            self.loop.now += max(0.0, timeout)
        return ready


class SkippingLoop(asyncio.SelectorEventLoop):
    """An event loop on which nobody waits: its time continues to the next thing that happens."""

    def __init__(self) -> None:
        selector = _Skipping()
        selector.loop = self
        self.now = 0.0
        super().__init__(selector)

    def time(self) -> float:
        return self.now


def run(scene: Awaitable[T]) -> T:
    """Run a coroutine to its end on a skipping loop. Nothing may be left of it then."""
    loop = SkippingLoop()

    async def scene_and_what_it_left() -> T:
        result = await scene
        for _ in range(10):  # what was cancelled ends
            await asyncio.sleep(0)
        assert asyncio.all_tasks(loop) == {asyncio.current_task()}
        return result

    try:
        return loop.run_until_complete(scene_and_what_it_left())
    finally:
        loop.close()


@dataclass
class CloudJob:
    """A job's whole life: when it enters which secondary status."""

    name: str
    moments: list[float]
    statuses: list[str]

    def at(self, now: float) -> int:
        """How many transitions there are by then."""
        return bisect_right(self.moments, now)


class Refused(Exception):
    """An error of the cloud."""

    def __init__(self, trouble: ErrorKind) -> None:
        super().__init__(trouble.value)
        self.trouble = trouble


@dataclass
class Cloud:
    """
    What a watcher asks, answered from the jobs' lives.

    :param lag: seconds by which lists are behind.
    :param filter: ``kept``, ``ignored``, or ``late`` (applied after the page is cut).
    :param frozen: LastModifiedTime stands still while a job is InProgress.
    :param throttled: and the next two: the probability of each trouble.
    :param poisoned: jobs whose describes fail, always.
    :param denied: operations that are not permitted.
    :param lists_a_second: the account's quota of them, whoever asks; None for none.
    :param expires: after so many calls the credentials have run out, until they are renewed.
    """

    seed: int = 0
    lag: float = 0.0
    filter: str = "kept"
    frozen: bool = False
    throttled: float = 0.0
    cut: float = 0.0
    poisoned: set[str] = field(default_factory=set)
    denied: set[str] = field(default_factory=set)
    lists_a_second: float | None = None
    expires: int | None = None
    slow: float = 0.0
    jobs: dict[str, CloudJob] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    called_at: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._since_renewal = 0
        self._lists_left = (0.0, 0.0)
        self._sorted: list[CloudJob] = []
        self.before: Callable[[str], None] = lambda _: None

    clock_offset = 0.0
    account = "eu-west-1 123456789012"

    # ---- what a test does

    def put(self, name: str, *life: tuple[float, str]) -> str:
        """Have a job, which enters statuses at moments."""
        self.jobs[name] = CloudJob(name, [moment for moment, _ in life], [status for _, status in life])
        return name

    async def call(self, work: Callable[[], T]) -> T:
        """Do a call, which takes time."""
        await asyncio.sleep(0.05 + self.slow)
        return work()

    # ---- what it answers

    def describe(self, job_name: str) -> dict[str, Any] | None:
        self._called("DescribeTrainingJob")
        if job_name in self.poisoned:
            raise Refused(ErrorKind.OTHER)
        job, now = self.jobs.get(job_name), self._now()
        return None if job is None or not job.at(now) else self._description(job, now)

    def page(self, token: str | None, after: datetime | None) -> dict[str, Any]:
        self._called("ListTrainingJobs")
        self.take_list()
        then = self._now() - self.lag
        known = [job for job in self._newest_first() if job.moments[0] <= then]
        late = after is not None and self.filter == "late"
        if after is not None and self.filter == "kept":
            known = [job for job in known if self._modified(job, then) > after]
        begin = int(token or 0)
        lines = [self._line(job, then) for job in known[begin : begin + 100]]
        if late:
            lines = [line for line in lines if line["LastModifiedTime"] > after]
        return {"TrainingJobSummaries": lines, **({"NextToken": str(begin + 100)} if begin + 100 < len(known) else {})}

    def take_list(self) -> None:
        """Take a list from the account's quota, as SageMaker does for whoever asks."""
        if self.lists_a_second is None:
            return
        at, spent = self._lists_left
        spent = max(0.0, spent - (self._now() - at) * self.lists_a_second)
        if spent + 1 > max(1.0, self.lists_a_second):
            self._lists_left = (self._now(), spent)
            self.calls["throttled"] += 1
            raise Refused(ErrorKind.THROTTLED)
        self._lists_left = (self._now(), spent + 1)

    def _newest_first(self) -> list[CloudJob]:
        if len(self._sorted) != len(self.jobs):
            self._sorted = sorted(self.jobs.values(), key=lambda job: (job.moments[0], job.name), reverse=True)
        return [job for job in self._sorted if "afspot-" in job.name]

    def renew(self) -> None:
        self.calls["renew"] += 1
        self._since_renewal = 0

    def classify_error(self, error: Exception) -> ErrorKind:
        return error.trouble if isinstance(error, Refused) else ErrorKind.OTHER

    # ---- inside

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _called(self, operation: str) -> None:
        self.calls[operation] += 1
        self.called_at.append(self._now())
        self.before(operation)
        self._since_renewal += 1
        if operation in self.denied:
            raise Refused(ErrorKind.DENIED)
        if self.expires is not None and self._since_renewal > self.expires:
            raise Refused(ErrorKind.EXPIRED)
        jitter = self._random.random()
        if jitter < self.throttled:
            raise Refused(ErrorKind.THROTTLED)
        if jitter < self.throttled + self.cut:
            raise Refused(ErrorKind.TRANSIENT)

    def _modified(self, job: CloudJob, now: float) -> datetime:
        last = job.at(now) - 1
        stands_still = self.frozen and job.statuses[last] not in ENDS
        return EPOCH + timedelta(seconds=job.moments[0 if stands_still else last])

    def _line(self, job: CloudJob, now: float) -> dict[str, Any]:
        status = job.statuses[job.at(now) - 1]
        return {
            "TrainingJobName": job.name,
            "TrainingJobStatus": status if status in ENDS else "InProgress",
            "SecondaryStatus": status,
            "CreationTime": EPOCH + timedelta(seconds=job.moments[0]),
            "LastModifiedTime": self._modified(job, now),
        }

    def _description(self, job: CloudJob, now: float) -> dict[str, Any]:
        count = job.at(now)
        passed = zip(job.statuses[:count], job.moments[:count], strict=True)
        transitions = [{"Status": status, "StartTime": EPOCH + timedelta(seconds=at)} for status, at in passed]
        return {**self._line(job, now), "SecondaryStatusTransitions": transitions}
