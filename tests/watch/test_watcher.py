"""One watcher for thousands of jobs: its calls, what it tells and how soon, and what it bears."""

from __future__ import annotations

import asyncio
import itertools
import logging
import random

import pytest

from airflow_spot.watch.watcher import DENIED_SECONDS, GONE_LOOKS, GONE_PAUSE, RESTART_SECONDS, Watcher
from tests.watch.hours import Cloud, run
from tests.watch.scene import LIFE, Waiter, name, wait_for, watcher

HOUR = 3600.0
INTERVAL = 15.0


def training(cloud: Cloud, jobs: int, *, since: float = -600.0) -> list[str]:
    """Have jobs that have begun to train, and continue."""
    return [
        cloud.put(name(number), *((since - number % 97 + step * 60, status) for step, status in enumerate(LIFE)))
        for number in range(jobs)
    ]


def lists(cloud: Cloud) -> int:
    return cloud.calls["ListTrainingJobs"]


def describes(cloud: Cloud) -> int:
    return cloud.calls["DescribeTrainingJob"]


# ---- how many calls


@pytest.mark.parametrize("jobs", [1, 2, 100, 1_000, pytest.param(5_000, marks=pytest.mark.slow)])
def test_an_hour_in_which_nothing_happens(jobs: int) -> None:
    """The first hour has a first look at each job too, and the second only what continues for ever."""
    cloud = Cloud()
    names = training(cloud, jobs)
    watched = run(hour_by_hour(cloud, names, hours=2))
    whole = 2 * (2 + jobs // 100) if jobs > 100 else 0
    for listed, described in watched if jobs > 1 else []:
        assert described <= 2 * jobs
        assert listed <= HOUR / INTERVAL + whole + 30
    assert sum(watched[1]) <= HOUR / INTERVAL + 2 * jobs + whole


async def hour_by_hour(cloud: Cloud, names: list[str], hours: int) -> list[tuple[int, int]]:
    """Wait for jobs, and count the calls of each hour."""
    waiting = asyncio.ensure_future(wait_for(cloud, names, seconds=hours * HOUR, interval=INTERVAL))
    counts = [(0, 0)]
    for _ in range(hours):
        await asyncio.sleep(HOUR - 0.001)
        counts.append((lists(cloud), describes(cloud)))
    await waiting
    return [(a - c, b - d) for (a, b), (c, d) in zip(counts[1:], counts, strict=False)]


def test_the_calls_grow_with_the_changes() -> None:
    """A thousand jobs, each of which is interrupted once in the hour: the calls are those that a change costs."""
    cloud, jitter = Cloud(), random.Random(1)
    names = training(cloud, 1_000)
    for job in cloud.jobs.values():
        lost = 900 + jitter.random() * 2_000
        for after, status in ((0, "Interrupted"), (20, "Starting"), (80, "Downloading"), (120, "Training")):
            job.moments.append(lost + after)
            job.statuses.append(status)
    waiters = run(wait_for(cloud, names, seconds=HOUR, interval=INTERVAL))
    changes = 4 * 1_000
    assert lists(cloud) + describes(cloud) <= HOUR / INTERVAL + changes + 2 * 1_000
    for waiter in waiters.values():
        assert waiter.statuses == [*LIFE, "Interrupted", *LIFE]


@pytest.mark.parametrize("broken", [{"filter": "ignored"}, {"filter": "late"}, {"frozen": True}])
@pytest.mark.parametrize("jobs", [250, 2_000])
def test_a_filter_that_is_not_kept(jobs: int, broken: dict[str, object]) -> None:
    """Whole lists then: a page for each hundred jobs, and one list a second at most."""
    cloud = Cloud(**broken)  # type: ignore[arg-type]
    names = training(cloud, jobs)
    ending = names[:: jobs // 50]
    for number, each in enumerate(ending):
        cloud.jobs[each].moments.append(600 + number * 13.7)
        cloud.jobs[each].statuses.append("Completed")
    waiters = run(wait_for(cloud, names, seconds=HOUR / 2, interval=INTERVAL))
    pages = 1 + jobs // 100
    assert lists(cloud) <= min(HOUR / 2, (HOUR / 2 / INTERVAL + 10) * pages)
    assert describes(cloud) <= jobs + len(ending)
    sweep = max(INTERVAL, pages * 1.1)
    late = [waiters[each].ended_at - cloud.jobs[each].moments[-1] for each in ending]  # type: ignore[operator]
    assert max(late) <= sweep + 1
    assert not [each for each in waiters.values() if each.ended_at and each.job_name not in ending]


def test_lists_are_a_second_apart() -> None:
    cloud = Cloud(filter="ignored")
    moments: list[float] = []
    cloud.before = lambda operation: moments.append(cloud._now()) if operation == "ListTrainingJobs" else None
    run(wait_for(cloud, training(cloud, 3_000), seconds=300, interval=INTERVAL))
    assert min(after - before for before, after in itertools.pairwise(moments)) >= 0.999


def test_calls_do_not_burst_when_thousands_begin() -> None:
    cloud = Cloud()
    run(wait_for(cloud, training(cloud, 2_000), seconds=60, interval=INTERVAL))
    assert describes(cloud) <= 60 * 5 + 1


# ---- what is told, and how soon


@pytest.mark.parametrize("jobs", [1, 3, 100, 1_000, pytest.param(5_000, marks=pytest.mark.slow)])
def test_an_end_is_told_within_a_sweep_and_a_second(jobs: int) -> None:
    cloud, jitter = Cloud(), random.Random(2)
    names = training(cloud, jobs)
    for job in cloud.jobs.values():
        job.moments.append(30 + jitter.random() * HOUR / 2)
        job.statuses.append("Completed")
    waiters = run(wait_for(cloud, names, interval=INTERVAL))
    late = [waiters[job.name].ended_at - job.moments[-1] for job in cloud.jobs.values()]  # type: ignore[operator]
    # Of 5,000 jobs that end within half an hour, a sweep shows more than a page.
    assert 0 < max(late) <= INTERVAL + 1 + (5 if jobs > 1_000 else 0)
    if jobs <= 1_000:  # of more, some end before their first look: the worker tells their story
        assert all(waiter.statuses == [*LIFE, "Completed"] for waiter in waiters.values())


def test_many_that_end_at_once_are_told_at_once() -> None:
    cloud = Cloud()
    names = training(cloud, 1_000)
    for job in cloud.jobs.values():
        job.moments.append(400.0)
        job.statuses.append("Failed")
    waiters = run(wait_for(cloud, names, interval=INTERVAL))
    # Ten pages at one a second, since a filter that has so much to show is paged through.
    assert max(waiter.ended_at or 0 for waiter in waiters.values()) <= 400 + INTERVAL + 10 * 1.1 + 1


def test_what_happens_between_two_looks_is_told_whole_and_in_order() -> None:
    cloud = Cloud()
    job = cloud.put(name(1), (0, "Starting"), (1, "Downloading"), (2, "Training"), (33, "Interrupted"))
    for moment, status in ((34, "Starting"), (35, "Downloading"), (36, "Training"), (50, "Uploading")):
        cloud.jobs[job].moments.append(moment)
        cloud.jobs[job].statuses.append(status)
    cloud.jobs[job].moments.append(90)
    cloud.jobs[job].statuses.append("Completed")
    waiters = run(wait_for(cloud, [job], interval=INTERVAL))
    assert waiters[job].statuses == [*LIFE, "Interrupted", *LIFE, "Uploading", "Completed"]


def test_who_has_seen_a_part_is_told_the_rest() -> None:
    cloud = Cloud()
    (job,) = training(cloud, 1)

    async def scene() -> tuple[list[str], list[str]]:
        watching = watcher(cloud)
        first, second = Waiter(job), Waiter(job)
        tasks = [asyncio.ensure_future(first.wait(watching.subscribe(job, interval=INTERVAL)))]
        await asyncio.sleep(100)
        tasks.append(asyncio.ensure_future(second.wait(watching.subscribe(job, seen=2, interval=INTERVAL))))
        await asyncio.sleep(100)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        return first.statuses, second.statuses

    assert run(scene()) == ([*LIFE], ["Training"])


@pytest.mark.parametrize("lag", [5.0, 60.0])
def test_a_list_that_lags(lag: float) -> None:
    """New jobs that no list shows yet are not gone, an old state asks for no describe, and ends come so much later."""
    cloud, jitter = Cloud(lag=lag), random.Random(3)
    for number in range(300):
        begun, ends = number * 0.1 - 5, 400 + jitter.random() * 1000
        cloud.put(name(number), (begun, "Starting"), (begun + 40, "Downloading"), (begun + 70, "Training"))
        cloud.jobs[name(number)].moments.append(ends)
        cloud.jobs[name(number)].statuses.append("Completed")

    async def scene() -> dict[str, Waiter]:
        await asyncio.sleep(40)
        return await wait_for(cloud, cloud.jobs, interval=INTERVAL)

    waiters = run(scene())
    late = [waiters[job.name].ended_at - job.moments[-1] for job in cloud.jobs.values()]  # type: ignore[operator]
    assert max(late) <= lag + INTERVAL + 1
    assert all(waiter.statuses == [*LIFE, "Completed"] for waiter in waiters.values())
    changes = sum(job.moments[-2] > 40 for job in cloud.jobs.values()) + 300
    assert describes(cloud) <= 300 + 2 * changes


def test_a_job_that_is_gone_and_one_that_never_was() -> None:
    cloud = Cloud()
    names = training(cloud, 20)

    async def scene() -> dict[str, Waiter]:
        asyncio.get_running_loop().call_later(100, cloud.jobs.pop, names[7])
        return await wait_for(cloud, [*names, "train-afspot-never-1-1"], seconds=200, interval=INTERVAL)

    waiters = run(scene())
    told = {each.job_name: each.last for each in waiters.values() if each.ended_at}
    assert set(told) == {names[7], "train-afspot-never-1-1"}
    assert all(news is not None and news.gone for news in told.values())


def test_jobs_that_no_list_shows_are_described() -> None:
    """A sensor waits for jobs of any name."""
    cloud = Cloud()
    for number in range(5):
        cloud.put(f"theirs-{number}", (-5, "Starting"), (60 + number, "Completed"))
    names = [*training(cloud, 50), *(f"theirs-{number}" for number in range(5))]
    waiters = run(wait_for(cloud, names, seconds=120, interval=INTERVAL))
    for number in range(5):
        assert (waiters[f"theirs-{number}"].ended_at or HOUR) <= 60 + number + INTERVAL + 1


def test_old_jobs_below_many_newer_ones() -> None:
    """What lies deeper in the list than it is worth to page is described instead."""
    cloud = Cloud()
    names = training(cloud, 3, since=-50_000)
    training(cloud, 4_000)
    for number in range(3):
        cloud.put(names[number], (-50_000 - number, "Starting"), (700 + number, "Completed"))
    waiters = run(wait_for(cloud, names, interval=INTERVAL))
    assert max(waiter.ended_at or HOUR for waiter in waiters.values()) <= 702 + INTERVAL + 1
    assert lists(cloud) + describes(cloud) <= 3 * 720 / INTERVAL + 12


# ---- what it bears


def test_throttled_and_cut_calls() -> None:
    cloud, jitter = Cloud(throttled=0.1, cut=0.02), random.Random(4)
    names = training(cloud, 400)
    for job in cloud.jobs.values():
        job.moments.append(200 + jitter.random() * 1800)
        job.statuses.append("Completed")
    waiters = run(wait_for(cloud, names, interval=INTERVAL))
    late = sorted(waiters[job.name].ended_at - job.moments[-1] for job in cloud.jobs.values())  # type: ignore[operator]
    assert late[200] <= INTERVAL + 1
    assert late[-1] <= 4 * INTERVAL
    assert all(waiter.last is not None and waiter.last.ended for waiter in waiters.values())
    assert not [waiter for waiter in waiters.values() if waiter.troubles]


def test_a_throttled_account_is_called_less_and_less_and_then_again() -> None:
    cloud = Cloud()
    names = training(cloud, 50)

    async def scene() -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(600, setattr, cloud, "throttled", 1.0)
        loop.call_later(3000, setattr, cloud, "throttled", 0.0)
        await wait_for(cloud, names, seconds=2 * HOUR, interval=INTERVAL)

    run(scene())
    during = [at for at in cloud.called_at if 900 < at < 3000]
    after = [at for at in cloud.called_at if at > 2 * HOUR - 1200]
    assert len(during) <= 2100 / 30 + 5
    assert len(after) >= 1200 / INTERVAL / 2


def test_nobody_can_look_for_two_hours() -> None:
    cloud = Cloud(cut=1.0)
    names = training(cloud, 120)
    waiters = run(wait_for(cloud, names, interval=INTERVAL))
    assert all(waiter.last is not None and waiter.last.refused for waiter in waiters.values())
    assert all(2 * HOUR <= (waiter.ended_at or 0) <= 2 * HOUR + 120 for waiter in waiters.values())
    assert all(1 <= len(waiter.troubles) <= 40 for waiter in waiters.values())


def test_credentials_that_run_out_are_renewed() -> None:
    cloud = Cloud(expires=40)
    names = training(cloud, 30)
    for job in cloud.jobs.values():
        job.moments.append(1500)
        job.statuses.append("Completed")
    waiters = run(wait_for(cloud, names, interval=INTERVAL))
    assert cloud.calls["renew"] >= 3
    assert max(waiter.ended_at or HOUR for waiter in waiters.values()) <= 1500 + INTERVAL + 3
    assert not [waiter for waiter in waiters.values() if waiter.troubles]


@pytest.mark.parametrize("jobs", [1, 60])
def test_a_poisoned_job_does_not_stop_the_others(jobs: int) -> None:
    cloud = Cloud()
    names = training(cloud, jobs)
    poisoned = name(999)
    cloud.put(poisoned, (-700.0, "Starting"), (500.0, "Training"))
    cloud.poisoned.add(poisoned)
    for each in names:
        cloud.jobs[each].moments.append(1000)
        cloud.jobs[each].statuses.append("Completed")
    waiters = run(wait_for(cloud, [poisoned, *names], interval=INTERVAL))
    assert max(waiters[each].ended_at or HOUR for each in names) <= 1000 + INTERVAL + 1
    assert all(not waiters[each].troubles for each in names)
    assert waiters[poisoned].troubles
    assert waiters[poisoned].last is not None and waiters[poisoned].last.refused  # a worker finds out why


def test_the_end_of_a_poisoned_job_is_told_all_the_same() -> None:
    cloud = Cloud()
    names = training(cloud, 10)
    cloud.jobs[names[3]].moments.append(1000)
    cloud.jobs[names[3]].statuses.append("Failed")
    cloud.poisoned.add(names[3])
    waiters = run(wait_for(cloud, names, seconds=1100, interval=INTERVAL))
    assert (waiters[names[3]].ended_at or HOUR) <= 1000 + INTERVAL + 1


def test_without_permission_to_list_each_job_is_described() -> None:
    cloud = Cloud(denied={"ListTrainingJobs"})
    names = training(cloud, 20)
    cloud.jobs[names[3]].moments.append(1000)
    cloud.jobs[names[3]].statuses.append("Failed")
    waiters = run(wait_for(cloud, names, seconds=1100, interval=INTERVAL))
    assert (waiters[names[3]].ended_at or HOUR) <= 1000 + INTERVAL + 2
    assert lists(cloud) == 1


def test_without_permission_to_describe_a_worker_is_asked_once_that_is_believed() -> None:
    cloud = Cloud(denied={"DescribeTrainingJob"})
    waiters = run(wait_for(cloud, training(cloud, 5), interval=INTERVAL))
    assert all(waiter.last is not None and waiter.last.refused for waiter in waiters.values())
    assert all((waiter.ended_at or 0) >= DENIED_SECONDS for waiter in waiters.values())


@pytest.mark.parametrize("seconds", [3, 200])
def test_a_denial_that_passes_sends_nobody_to_a_worker(seconds: float) -> None:
    cloud = Cloud()
    names = training(cloud, 40)

    async def scene() -> dict[str, Waiter]:
        loop = asyncio.get_running_loop()
        loop.call_later(100, cloud.denied.add, "DescribeTrainingJob")
        loop.call_later(100 + seconds, cloud.denied.clear)
        for each in names:
            cloud.jobs[each].moments += [101.0, 1000.0]
            cloud.jobs[each].statuses += ["Uploading", "Completed"]
        return await wait_for(cloud, names, seconds=1500, interval=INTERVAL)

    waiters = run(scene())
    assert all(waiter.last is not None and waiter.last.ended for waiter in waiters.values())


def test_one_look_that_finds_no_job_is_not_its_end() -> None:
    cloud = Cloud()
    (name,) = training(cloud, 1)
    job = cloud.jobs[name]

    async def scene() -> dict[str, Waiter]:
        loop = asyncio.get_running_loop()
        del cloud.jobs[name]
        loop.call_later(GONE_PAUSE * (GONE_LOOKS - 1) - 0.5, cloud.jobs.__setitem__, name, job)
        job.moments.append(300.0)
        job.statuses.append("Completed")
        return await wait_for(cloud, [name], seconds=400, interval=INTERVAL)

    (waiter,) = run(scene()).values()
    assert waiter.last is not None
    assert waiter.last.ended


def test_a_watcher_that_breaks_begins_anew_and_says_why(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cloud = Cloud()
    names = training(cloud, 10)
    for each in names:
        cloud.jobs[each].moments += [301.0, 900.0]
        cloud.jobs[each].statuses += ["Uploading", "Completed"]
    real, broken = Watcher._sweep, [3]

    def break_now_and_then(self: Watcher, now: float) -> None:
        if cloud._now() > 300 and broken[0]:
            broken[0] -= 1
            raise KeyError("a bug")
        real(self, now)

    monkeypatch.setattr(Watcher, "_sweep", break_now_and_then)
    with caplog.at_level(logging.WARNING):
        waiters = run(wait_for(cloud, names, interval=INTERVAL))
    assert sum("crashed; restarting: KeyError: 'a bug'" in line for line in caplog.messages) == 3
    assert all(waiter.statuses == [*LIFE, "Uploading", "Completed"] for waiter in waiters.values())


def test_a_list_that_nobody_foresaw_keeps_no_job_waiting(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cloud = Cloud()
    names = training(cloud, 60)
    for each in names:
        cloud.jobs[each].moments.append(900.0)
        cloud.jobs[each].statuses.append("Completed")

    def break_always(self: Watcher, *given: object) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(Watcher, "_compare", break_always)
    with caplog.at_level(logging.WARNING):
        waiters = run(wait_for(cloud, names, interval=INTERVAL))
    assert any("unexpected ListTrainingJobs answer: KeyError: 'a bug'" in line for line in caplog.messages)
    assert max(waiter.ended_at or HOUR for waiter in waiters.values()) <= 1000
    assert all(waiter.statuses == [*LIFE, "Completed"] for waiter in waiters.values())


def test_a_watcher_that_is_cancelled_while_somebody_waits(caplog: pytest.LogCaptureFixture) -> None:
    cloud = Cloud()
    names = training(cloud, 2)
    for each in names:
        cloud.jobs[each].moments.append(100)
        cloud.jobs[each].statuses.append("Completed")

    async def scene() -> dict[str, Waiter]:
        watching = watcher(cloud)

        def cancel() -> None:
            assert watching._task is not None
            watching._task.cancel()

        asyncio.get_running_loop().call_later(50, cancel)
        return await wait_for(cloud, names, interval=INTERVAL, by=watching)

    waiters = run(scene())
    assert max(waiter.ended_at or HOUR for waiter in waiters.values()) <= 100 + INTERVAL + RESTART_SECONDS + 1
    assert "restarting" in caplog.text


def test_it_ends_with_its_last_subscriber() -> None:
    cloud = Cloud()
    names = training(cloud, 3)

    async def scene() -> int:
        await wait_for(cloud, names, seconds=100, interval=INTERVAL)
        before = sum(cloud.calls.values())
        await asyncio.sleep(HOUR)
        return sum(cloud.calls.values()) - before

    assert run(scene()) == 0
