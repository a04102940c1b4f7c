"""The account's lists: shared by all its watchers, which take half of them at most and give way first."""

from __future__ import annotations

import asyncio
import itertools
import random

from airflow_spot.watch.list_quota import ListQuota, ListQuotas
from airflow_spot.watch.pace import LIST_SECONDS
from airflow_spot.watch.service import ErrorKind
from airflow_spot.watch.watcher import UNREADABLE_SECONDS, Watcher
from tests.watch.hours import Cloud, Refused, run
from tests.watch.scene import LIFE, log, name, wait_for

HOUR, INTERVAL = 3600.0, 15.0


def training(cloud: Cloud, jobs: int, first: int = 0) -> list[str]:
    return [
        cloud.put(name(number), *((-600 + step * 60.0, status) for step, status in enumerate(LIFE)))
        for number in range(first, first + jobs)
    ]


def test_a_list_waits_for_the_one_before_whoever_asked_for_it() -> None:
    quota = ListQuota()
    quota.take(10.0)
    assert quota.free_at == 10.0 + LIST_SECONDS
    quota.take(10.5)
    assert quota.free_at == 10.5 + LIST_SECONDS


def test_it_gives_way_for_longer_and_longer_and_comes_back() -> None:
    quota, now, pauses = ListQuota(), 0.0, []
    for _ in range(8):
        quota.throttled(now, 0.0)
        pauses.append(quota.free_at - now)
        now = quota.free_at
    assert pauses == sorted(pauses)
    assert pauses[0] == 2 * LIST_SECONDS and pauses[-1] == 60
    assert quota.factor > 1 and quota.refusals == 8
    for _ in range(120):
        quota.answered()
    assert (quota.factor, quota.refusals) == (1.0, 0)


def test_an_account_has_one_on_a_loop() -> None:
    quotas = ListQuotas()

    async def scene() -> tuple[ListQuota, ListQuota, ListQuota]:
        return quotas.of("eu-west-1 1"), quotas.of("eu-west-1 1"), quotas.of("eu-west-1 2")

    first, again, other = run(scene())
    assert first is again and first is not other


def many(cloud: Cloud, watchers: int, *, seconds: float, shared: bool) -> None:
    """Watch from several connections: of one triggerer, or of as many."""

    async def scene() -> None:
        quotas = ListQuotas()
        made = [
            Watcher(
                cloud,
                f"watcher {number}",
                log,
                call=cloud.call,
                jitter=random.Random(number).random,
                quota_of=quotas.of if shared else lambda _: ListQuota(),
            )
            for number in range(watchers)
        ]
        jobs = [training(cloud, 120, 1_000 * number) for number in range(watchers)]
        await asyncio.gather(
            *(
                wait_for(cloud, names, seconds=seconds, interval=INTERVAL, by=each)
                for names, each in zip(jobs, made, strict=True)
            )
        )

    run(scene())


def test_the_connections_of_a_triggerer_take_half_of_the_accounts_lists_together() -> None:
    cloud, moments = Cloud(filter="ignored"), list[float]()
    cloud.before = lambda operation: moments.append(cloud._now()) if operation == "ListTrainingJobs" else None
    many(cloud, 8, seconds=300, shared=True)
    begun = [at for at in moments if at > 10]  # the first list of each tells it whose account it is
    assert len(begun) > 200
    assert min(after - before for before, after in itertools.pairwise(begun)) >= 0.999 * LIST_SECONDS


def test_somebody_else_who_lists_is_served_beside_many_triggerers() -> None:
    cloud = Cloud(filter="ignored", lists_a_second=2.0)
    refused = []

    async def somebody_else() -> None:
        for _ in range(400):
            await asyncio.sleep(1.0)
            try:
                cloud.take_list()
            except Refused:
                refused.append(cloud._now())

    async def scene() -> None:
        other = asyncio.ensure_future(somebody_else())
        made = [
            Watcher(cloud, f"triggerer {number}", log, call=cloud.call, jitter=random.Random(number).random)
            for number in range(10)
        ]
        jobs = [training(cloud, 120, 1_000 * number) for number in range(10)]
        await asyncio.gather(
            *(
                wait_for(cloud, names, seconds=410, interval=INTERVAL, by=each)
                for names, each in zip(jobs, made, strict=True)
            )
        )
        await other

    run(scene())
    late = [at for at in refused if at > 200]
    assert len(late) <= 200 / 3
    assert cloud.calls["ListTrainingJobs"] - cloud.calls["throttled"] > 100


def test_lists_that_are_throttled_for_ever_slow_no_describe_and_hide_no_end() -> None:
    cloud = Cloud()
    names = training(cloud, 200)
    cloud.before = refuse_lists
    for number, job in enumerate(cloud.jobs.values()):
        job.moments.append(400.0 + 7 * number)
        job.statuses.append("Completed")
    waiters = run(wait_for(cloud, names, interval=INTERVAL))
    late = [waiters[job.name].ended_at - job.moments[-1] for job in cloud.jobs.values()]  # type: ignore[operator]
    # A round of 200 describes, half a second apart; and the longest interval, where lists are tried again.
    assert max(late) <= 200 * 0.5 + 8 * INTERVAL + 10
    assert cloud.calls["ListTrainingJobs"] <= 6 + (2_000 / UNREADABLE_SECONDS + 1) * 6
    assert all(len(waiter.troubles) <= 1 for waiter in waiters.values())  # of the first minute


def refuse_lists(operation: str) -> None:
    if operation == "ListTrainingJobs":
        raise Refused(ErrorKind.THROTTLED)
