"""A queue of events: changes are told at once, and whatever is wrong with the queue costs no more than its speed."""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_spot.watch import watcher as watching
from airflow_spot.watch.push import DETAIL_TYPE, SWEEP_SECONDS, Change, read_event
from airflow_spot.watch.service import ErrorKind
from airflow_spot.watch.watcher import Watcher
from tests.watch.hours import EPOCH, Cloud, Refused, run
from tests.watch.scene import LIFE, Waiter, name, wait_for

HOUR, INTERVAL = 3600.0, 15.0
LONG_POLL, VISIBLE_AGAIN = 10.0, 5.0
log = logging.getLogger("tests.watch")


def event(job_name: str, at: datetime, **more: Any) -> str:
    """An event as EventBridge puts it into a queue."""
    detail = {"TrainingJobName": job_name, "TrainingJobStatus": "InProgress"}
    return json.dumps({"detail-type": DETAIL_TYPE, "time": f"{at:%Y-%m-%dT%H:%M:%SZ}", "detail": detail, **more})


class Post:
    """
    A queue that the events of a cloud's jobs come to.

    :param delay: seconds from a change to its event; ``copies``: how often each comes.
    """

    def __init__(self, cloud: Cloud, *, delay: float = 1.0, copies: int = 1) -> None:
        self._cloud = cloud
        self.inbox: dict[str, tuple[float, str]] = {}
        self.fails: Callable[[], Exception | None] = lambda: None
        self.renewed = 0
        for job in cloud.jobs.values():
            for moment in job.moments:
                for _ in range(copies):
                    self.send(moment + delay, event(job.name, EPOCH + timedelta(seconds=moment)))

    def send(self, at: float, body: str) -> None:
        if at >= 0:
            self.inbox[str(len(self.inbox))] = (at, body)

    async def call(self, work: Callable[[], Any]) -> Any:
        """Do a call; a receive waits for messages."""
        if work == self.receive:
            end = self._now() + LONG_POLL
            await asyncio.sleep(max(0.0, min([end, *(at for at, _ in self.inbox.values())]) - self._now()))
        return await self._cloud.call(work)

    def receive(self) -> Sequence[dict[str, Any]]:
        if error := self.fails():
            raise error
        there = [handle for handle, (at, _) in self.inbox.items() if at <= self._now()][:10]
        found = [{"ReceiptHandle": handle, "Body": self.inbox[handle][1]} for handle in there]
        for handle in there:
            self.inbox[handle] = (self._now() + VISIBLE_AGAIN, self.inbox[handle][1])
        return found

    def delete(self, handles: Sequence[str]) -> None:
        for handle in handles:
            del self.inbox[handle]

    def renew(self) -> None:
        self.renewed += 1

    def classify_error(self, error: Exception) -> ErrorKind:
        return error.trouble if isinstance(error, Refused) else ErrorKind.OTHER

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "_now", lambda: EPOCH + timedelta(seconds=asyncio.get_running_loop().time()))


def sweep(jobs: int, *, seed: int = 1) -> tuple[Cloud, dict[str, float]]:
    """Jobs that train, and end in the next half hour."""
    cloud, jitter, ends = Cloud(), random.Random(seed), {}
    for number in range(jobs):
        life = [(-600.0 + step * 60, status) for step, status in enumerate(LIFE)]
        ends[name(number)] = end = 300 + jitter.random() * 1500
        cloud.put(name(number), *life, (end, "Completed"))
    return cloud, ends


def wait(cloud: Cloud, post: Post, names: Sequence[str], seconds: float = HOUR) -> dict[str, Waiter]:
    async def scene() -> dict[str, Waiter]:
        by = Watcher(cloud, "the cloud", log, event_queue=post, call=post.call, jitter=random.Random(0).random)
        return await wait_for(cloud, names, seconds=seconds, interval=INTERVAL, by=by)

    return run(scene())


def late(waiters: dict[str, Waiter], ends: dict[str, float]) -> list[float]:
    """Seconds from each end to its news."""
    told = [(waiter.ended_at or float("inf")) - ends[name] for name, waiter in waiters.items()]
    assert all(waiter.statuses == [*LIFE, "Completed"] for waiter in waiters.values())
    return told


def test_changes_are_told_at_once_and_lists_are_rare() -> None:
    cloud, ends = sweep(500)
    post = Post(cloud)
    waiters = wait(cloud, post, list(ends))
    assert max(late(waiters, ends)) < 5
    assert cloud.calls["ListTrainingJobs"] <= 5 + (1800 / SWEEP_SECONDS) * (1 + 500 // 100)
    assert cloud.calls["DescribeTrainingJob"] <= 3 * 500
    assert not post.inbox


def test_events_twice_late_and_out_of_order_do_no_harm() -> None:
    cloud, ends = sweep(50)
    post = Post(cloud, copies=3)
    jitter = random.Random(2)
    post.inbox = {handle: (at + jitter.random() * 90, body) for handle, (at, body) in post.inbox.items()}
    waiters = wait(cloud, post, list(ends))
    assert max(late(waiters, ends)) < 95
    assert cloud.calls["DescribeTrainingJob"] <= 6 * 50


def test_lost_events_are_made_good_by_the_next_list() -> None:
    cloud, ends = sweep(50)
    post = Post(cloud)
    post.inbox.clear()
    assert max(late(wait(cloud, post, list(ends)), ends)) < SWEEP_SECONDS + 5


def test_what_is_not_ours_is_not_kept_and_not_taken_from_others(caplog: pytest.LogCaptureFixture) -> None:
    cloud, ends = sweep(5)
    post = Post(cloud)
    post.send(10, "not JSON")
    post.send(11, json.dumps({"detail-type": "Scheduled Event"}))
    post.send(12, event(name(77), EPOCH + timedelta(seconds=12)))

    async def scene() -> list[int]:
        by = Watcher(cloud, "the cloud", log, event_queue=post, call=post.call, jitter=random.Random(0).random)
        waiting = asyncio.ensure_future(wait_for(cloud, list(ends), seconds=HOUR, interval=INTERVAL, by=by))
        left = []
        for moment in (20, 60, 200):
            await asyncio.sleep(moment - asyncio.get_running_loop().time())
            left.append(sum(name(77) in body for _, body in post.inbox.values()))
        await waiting
        return left

    assert run(scene()) == [1, 1, 0]  # another triggerer has two minutes
    assert not post.inbox
    assert caplog.text.count("messages other than training-job events") == 1


@pytest.mark.parametrize(
    "trouble", [ErrorKind.DENIED, ErrorKind.TRANSIENT, ErrorKind.EXPIRED, ErrorKind.THROTTLED, ErrorKind.OTHER]
)
def test_without_the_queue_jobs_are_looked_at(trouble: ErrorKind, caplog: pytest.LogCaptureFixture) -> None:
    cloud, ends = sweep(50)
    post = Post(cloud)
    post.fails = lambda: Refused(trouble)
    assert max(late(wait(cloud, post, list(ends)), ends)) < INTERVAL + 5
    assert "falling back to polling" in caplog.text
    assert bool(post.renewed) is (trouble is ErrorKind.EXPIRED)


def test_a_queue_that_falls_silent_is_noticed_and_heard_again() -> None:
    cloud, ends = sweep(200)
    post = Post(cloud)
    post.fails = lambda: Refused(ErrorKind.TRANSIENT) if 400 < asyncio.get_running_loop().time() < 1000 else None
    waiters = wait(cloud, post, list(ends))
    found = {name: (waiter.ended_at or float("inf")) - ends[name] for name, waiter in waiters.items()}
    for job, end in ends.items():
        # Until it is noticed; then by lists; then by events again.
        bound = 150 if 390 < end < 520 else INTERVAL + 5 if 520 <= end < 1000 else 5 if end > 1350 or end < 390 else 300
        assert found[job] < bound, (job, end)


@given(st.one_of(st.text(), st.none(), st.integers(), st.recursive(st.text(), st.lists).map(json.dumps)))
def test_any_message_can_be_read(body: Any) -> None:
    assert read_event(body) is None


@given(
    st.dictionaries(st.sampled_from(["detail", "detail-type", "time"]), st.one_of(st.text(), st.integers(), st.none()))
)
def test_half_an_event_is_none(parts: dict[str, Any]) -> None:
    assert read_event(json.dumps(parts)) is None


@pytest.mark.parametrize(
    ("time", "at"),
    [
        ("2026-01-01T00:00:00Z", EPOCH),
        ("2026-01-01T00:00:00", EPOCH),
        ("2026-01-01T01:00:00+01:00", EPOCH),
        ("yesterday", None),
        (None, None),
    ],
)
def test_an_event_says_which_job_and_when(time: str | None, at: datetime | None) -> None:
    assert read_event(event("a-job", EPOCH, time=time)) == Change("a-job", at)
