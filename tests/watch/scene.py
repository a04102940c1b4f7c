"""Many who wait, on one watcher."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Iterable
from dataclasses import dataclass, field

from airflow_spot.watch.subscription import JobUpdate, Subscription
from airflow_spot.watch.watcher import Watcher
from tests.watch.hours import Cloud

log = logging.getLogger("tests.watch")
LIFE = ("Starting", "Downloading", "Training")


def name(number: int) -> str:
    """A job of ours."""
    return f"train-afspot-{number:010d}-1-1"


@dataclass
class Waiter:
    """
    What one of them was told.

    :ivar statuses: all transitions, as they came.
    :ivar ended_at: when it heard of the end.
    """

    job_name: str
    statuses: list[str] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    ended_at: float | None = None
    last: JobUpdate | None = None

    async def wait(self, subscription: Subscription) -> None:
        with subscription:
            while True:
                news = await subscription.next()
                assert news is not None
                self.last = news
                self.statuses += [transition["Status"] for transition in news.new]
                self.troubles += [news.trouble] if news.trouble else []
                if news.ended or news.gone or news.refused:
                    self.ended_at = asyncio.get_running_loop().time()
                    return


def watcher(cloud: Cloud, seed: int = 0) -> Watcher:
    """A watcher of a cloud."""
    return Watcher(cloud, "the cloud", log, call=cloud.call, jitter=random.Random(seed).random)


async def wait_for(
    cloud: Cloud,
    names: Iterable[str],
    *,
    seconds: float | None = None,
    interval: float = 15.0,
    by: Watcher | None = None,
) -> dict[str, Waiter]:
    """
    Wait for jobs, all at once.

    :param seconds: after which to give up those that have not ended; None for never.
    """
    watching = by or watcher(cloud)
    waiters = {name: Waiter(name) for name in names}
    tasks = [
        asyncio.ensure_future(waiter.wait(watching.subscribe(waiter.job_name, interval=interval)))
        for waiter in waiters.values()
    ]
    _, left = await asyncio.wait(tasks, timeout=seconds)
    for task in left:
        task.cancel()
    for task in tasks:
        if task not in left:
            task.result()
    if left:
        await asyncio.wait(left)
    assert not watching.watched.jobs, "who is gone leaves nothing behind"
    return waiters
