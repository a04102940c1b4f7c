"""The watcher on Local SageMaker, in real time: its lists lag, its filter is not kept, its calls fail."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Iterator
from datetime import timedelta

import pytest

from airflow_spot.local import LocalSageMaker
from airflow_spot.triggers.sources import SageMakerSource
from airflow_spot.watch import lists
from airflow_spot.watch.watcher import Watcher
from tests.local.jobs import Jobs
from tests.watch.scene import LIFE, Waiter, name

pytestmark = pytest.mark.slow

JOBS, ENDING = 120, range(0, 120, 8)
INTERVAL = 2.0


@pytest.fixture(scope="module")
def service() -> Iterator[LocalSageMaker]:
    """Jobs for two pages, that train for as long as they are let."""
    with LocalSageMaker(engine="simulated", grace_seconds=0) as made:
        yield made


@pytest.fixture
def names(service: LocalSageMaker, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    for variable, value in service.environ.items():
        monkeypatch.setenv(variable, value)
    client, jobs = service.client("sagemaker"), Jobs(service)
    found = [name(number) for number in range(JOBS)]
    for each in found:
        request = jobs.request(TrainingJobName=each, HyperParameters={"simulated_seconds": "3600"})
        del request["CheckpointConfig"]
        client.create_training_job(**request)
    yield found
    service.set_faults("")
    for each in found:
        if client.describe_training_job(TrainingJobName=each)["TrainingJobStatus"] == "InProgress":
            client.stop_training_job(TrainingJobName=each)
    for each in found:
        jobs.end(each)
        client.delete_training_job(TrainingJobName=each)


@pytest.mark.parametrize(
    ("plan", "slack", "filtered"),
    [
        ("ListTrainingJobs=lag:seconds=4", 4, True),
        ("ListTrainingJobs=filter-after-paging", 0, False),
        ("*=frozen-last-modified", 0, False),
        ("*TrainingJob*=throttle:p=0.1,seed=1;*TrainingJob*=cut-before:p=0.02,seed=2", 10, True),
    ],
)
def test_ends_are_told(
    service: LocalSageMaker,
    names: list[str],
    plan: str,
    slack: float,
    filtered: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # All jobs are new here, and a filter reaches back behind most of what happens in a test.
    monkeypatch.setattr(lists, "FILTER_MARGIN", timedelta(seconds=4 + slack))
    if "frozen" in plan:
        time.sleep(4)
        service.interrupt(names[1])
    service.set_faults(plan)
    client = service.client("sagemaker")
    ended: set[str] = set()
    told_at: dict[str, float] = {}

    async def scene() -> dict[str, Waiter]:
        watching = Watcher(
            SageMakerSource(aws_conn_id=None, region_name="us-east-1"), "here", logging.getLogger("here")
        )
        waiters = {each: Waiter(each) for each in names}
        tasks = {
            each: asyncio.ensure_future(waiters[each].wait(watching.subscribe(each, interval=INTERVAL)))
            for each in names
        }
        for each, task in tasks.items():
            task.add_done_callback(lambda _, each=each: told_at.setdefault(each, time.time()))
        loop = asyncio.get_running_loop()
        await asyncio.sleep(2 * INTERVAL + slack + 2)
        for number in ENDING:
            # Past the faults, which are the watcher's.
            while names[number] not in ended:
                try:
                    await asyncio.to_thread(client.stop_training_job, TrainingJobName=names[number])
                    ended.add(names[number])
                except Exception:
                    await asyncio.sleep(0.2)
            await asyncio.sleep(0.2)
        await asyncio.wait([tasks[each] for each in ended], timeout=240)
        assert watching._lists._uses_filter(loop.time()) is filtered
        for task in tasks.values():
            task.cancel()
        await asyncio.wait(tasks.values())
        return waiters

    waiters = asyncio.run(scene())
    assert {each for each, waiter in waiters.items() if waiter.ended_at} == {names[number] for number in ENDING}
    pages = 1 if filtered else 2
    # By the first list that shows it: after one that was under way and those that lag, and with one between it and its
    # describe, since a list that is due goes first. Seconds would say more about the machine.
    stops = {line["job"]: line["time"] for line in service.audit if line.get("status") == "Stopped"}
    calls = [line for line in service.audit if line.get("operation") == "ListTrainingJobs" and line["error"] is None]
    for each in ended:
        read = sum(stops[each] < line["time"] < told_at[each] for line in calls)
        assert read <= pages * (3 + math.ceil(slack / INTERVAL))
    for each in ended:
        told = [status for status in waiters[each].statuses if status != "Stopping"]
        # Without its last transition, or its first look, where many calls were to be made first.
        assert told in ([*LIFE, "Uploading", "Stopped"], [*LIFE, "Uploading"], [*LIFE], [])
