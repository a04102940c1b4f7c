"""What the triggerer tells of a job that waits for capacity, while its transition stays the same."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta

import pytest

from airflow_spot.core.events import CapacityAwaited, Event
from airflow_spot.core.log_messages import lines
from airflow_spot.core.run_state import WatchedJob
from airflow_spot.triggers.job_wait import JobWait
from airflow_spot.watch.observe import Look
from airflow_spot.watch.subscription import Subscription
from tests.core.cases import NOW

JOB = "train-afspot-abcdefghij-1-1"


def look(message: str, ended: bool = False) -> Look:
    return Look({}, (), 1, ended, None if ended else NOW, "" if ended else message)


def test_each_change_and_each_hour_is_told() -> None:
    heard: list[Event] = []
    clock = [NOW]
    subscription = Subscription(JOB, 0, 30.0, ask=lambda _: None, close=lambda _: None)
    wait = JobWait(WatchedJob(JOB), None, heard.append, logging.getLogger("t"), lambda: clock[0].timestamp())  # noqa: PLW0108 - of the moment

    async def scene() -> None:
        waiting = asyncio.ensure_future(wait.event(subscription))
        for minutes, message in ((0, "Preparing"), (5, "no capacity"), (6, "no capacity"), (70, "no capacity")):
            clock[0] = NOW + timedelta(minutes=minutes)
            subscription.ask()
            subscription.look(look(message))
            for _ in range(5):
                await asyncio.sleep(0)
        subscription.look(look("", ended=True))
        assert (await waiting)["status"] == "terminal"

    asyncio.run(scene())
    told = [event for event in heard if isinstance(event, CapacityAwaited)]
    assert [(event.at - NOW).total_seconds() / 60 for event in told] == [5.0, 70.0]
    assert {event.message for event in told} == {"no capacity"}


@pytest.mark.parametrize("keeps", [True, False])
def test_an_interruption_is_told_as_what_the_job_restarts_from(keeps: bool) -> None:
    heard: list[Event] = []
    subscription = Subscription(JOB, 0, 30.0, ask=lambda _: None, close=lambda _: None)
    wait = JobWait(WatchedJob(JOB, keeps_checkpoints=keeps), None, heard.append, logging.getLogger("t"))
    interrupted = {"Status": "Interrupted", "StartTime": NOW}
    subscription.look(Look({}, (interrupted,), 1, True, None, ""))
    assert asyncio.run(wait.event(subscription))["status"] == "terminal"
    (line,) = (line for event in heard for line in lines(event))
    assert ("from the newest checkpoint" in line) == keeps
    assert ("checkpoints that the script keeps itself" in line) == (not keeps)
