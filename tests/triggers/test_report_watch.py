"""The triggerer reads how far a script is: in a thread, seldom, and for nothing where it never reports."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest

from airflow_spot.core.events import Event, ScriptProgressed
from airflow_spot.core.run_state import WatchedJob, WatchedReports
from airflow_spot.core.script_progress import Reports, ScriptProgress
from airflow_spot.core.starts import Start
from airflow_spot.triggers.report_watch import ReportWatch
from tests.core.cases import NOW

JOB = "train-afspot-abcdefghij-1-1"
FOLDER = "s3://bucket/c/g0001"
TRAINING = (Start(NOW, NOW, NOW),)


def minute(number: float) -> datetime:
    return NOW + timedelta(minutes=number)


class Folder:
    """A checkpoint folder, and how often it was read."""

    def __init__(self) -> None:
        self.reads = 0
        self.step: int | None = None

    async def read(self, uri: str) -> ScriptProgress | None:
        assert uri == FOLDER
        self.reads += 1
        return None if self.step is None else ScriptProgress(self.step, 100, {}, minute(self.reads))


def watch(folder: Folder, heard: list[Event], *, expected: bool = True) -> ReportWatch:
    return ReportWatch(JOB, WatchedReports(FOLDER, expected), Reports(), folder.read, heard.append)


def test_it_reads_while_the_job_trains_and_tells_the_tenths() -> None:
    folder, heard = Folder(), list[Event]()
    watched = watch(folder, heard)

    async def scene() -> None:
        await watched.look(minute(9))
        watched.take((Start(NOW),))  # it waits for its instances
        await watched.look(minute(9))
        assert (folder.reads, watched.next) == (0, None)
        watched.take(TRAINING)
        watched.take(())  # an update that says nothing of them
        for number, step in enumerate((1, 4, 12, 15, 99), 1):
            folder.step = step
            await watched.look(minute(number / 2))  # too early, every second time
            await watched.look(minute(number * 10))

    asyncio.run(scene())
    assert folder.reads == 5
    told = [each for each in heard if isinstance(each, ScriptProgressed)]
    assert [each.found.step for each in told] == [1, 4, 12, 15, 99]
    assert [each.found.step for each in told if each.is_news] == [1, 12, 99]
    assert watched.reports.last is not None


@pytest.mark.parametrize(("expected", "reads"), [(True, 8), (False, 1)])
def test_where_nothing_comes_it_is_read_seldom_or_never_again(expected: bool, reads: int) -> None:
    folder, heard = Folder(), list[Event]()
    watched = watch(folder, heard, expected=expected)
    watched.take(TRAINING)

    async def scene() -> None:
        for number in range(1, 60 * 2):
            await watched.look(minute(number / 2))

    asyncio.run(scene())
    assert folder.reads == reads
    assert heard == []


def test_a_start_that_ended_is_not_read() -> None:
    watched = watch(Folder(), [])
    watched.take((Start(NOW, NOW, NOW, NOW, NOW),))
    assert watched.next is None


@pytest.mark.parametrize("row", [None, 5, {}, {"uri": ""}, {"uri": 3}])
def test_a_row_that_says_no_place_is_none(row: Any) -> None:
    assert WatchedJob.from_json({"name": JOB, "reports": row}).reports is None


def test_a_row_is_read_as_it_was_written() -> None:
    job = WatchedJob(JOB, reports=WatchedReports(FOLDER, True))
    assert WatchedJob.from_json(job.to_json()) == job
