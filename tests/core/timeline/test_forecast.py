"""When a run with a deadline is expected to end, by the pace that its script tells."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest

from airflow_spot.core.events import ScriptProgressed
from airflow_spot.core.outcomes import Outcome
from airflow_spot.core.script_progress import ScriptProgress
from airflow_spot.core.timeline.forecast import expected_end
from airflow_spot.core.timeline.state import LedgerState, finish, take_in
from airflow_spot.core.timeline.summary import summary_of
from airflow_spot.core.timeline.whole import timeline_of
from tests.core.cases import NOW, later
from tests.core.timeline.runs import begun, created, heard, passed

DEADLINE = later(hours=10)


def training(*reports: tuple[float, int], total: int | None = 1000) -> LedgerState:
    """Return a run that trains since its first minute and has reported so; times are minutes."""
    state = take_in(begun(), (created(),), 1, lost=0.0, deadline=DEADLINE)
    state = heard(state, *passed(created(), ("Starting", 0), ("Downloading", 10), ("Training", 60)))
    return heard(state, *(said(minute, step, total) for minute, step in reports))


def said(minute: float, step: int, total: int | None = 1000) -> ScriptProgressed:
    job = created().job_name
    return ScriptProgressed(job, ScriptProgress(step, total, {}, later(minutes=minute)), is_news=False)


def minutes(found: tuple[datetime, ...] | None) -> list[int] | None:
    return None if found is None else [round((moment - NOW).total_seconds() / 60) for moment in found]


def test_one_that_nothing_interrupts_goes_on_at_its_pace() -> None:
    state = training((10, 100), (20, 200))
    assert minutes(expected_end(state, later(minutes=21))) == [100, 100, 100]
    timeline, summary = timeline_of(state, later(minutes=21)), summary_of(state, later(minutes=21))
    assert timeline["forecast"] == [6000.0] * 3
    assert summary["forecast"] == [int(later(minutes=100).timestamp())] * 3


def test_what_was_lost_makes_it_later_and_the_earliest_is_without_that() -> None:
    # 300 steps of ten a minute, of which 100 are lost; in forty minutes 200 are left.
    state = training((10, 100), (30, 300), (40, 200), (50, 300))
    assert minutes(expected_end(state, later(minutes=51))) == [120, 190, 190]


def test_attempts_before_count_for_the_latest() -> None:
    first = replace(created(), outcome=Outcome.NO_CAPACITY, status="Failed")
    second = created(2, at=60 * 60.0)
    state = take_in(begun(), (first, second), 1, lost=0.0, deadline=DEADLINE)
    state = heard(state, said(10, 100), said(70, 100), said(80, 200))
    # Eighty minutes of 100 steps each ten, against ten since the second attempt began.
    assert minutes(expected_end(state, later(minutes=81))) == [160, 160, 640]


def test_while_it_does_not_train_the_clock_goes_on() -> None:
    state = heard(training((10, 100), (20, 200)), *passed(created(), ("Interrupted", 1500), ("Starting", 1500)))
    assert minutes(expected_end(state, later(minutes=60))) == [140, 140, 140]


@pytest.mark.parametrize(
    "state",
    [
        replace(training((10, 100), (20, 200)), deadline=None),
        training((10, 100), (20, 200), total=None),
        training((10, 100)),
        training((10, 100), (10.5, 200)),
        training((10, 200), (20, 200)),
        training((10, 200), (20, 100)),
        training((10, 900), (20, 1000)),
        training((10, 100), (20, 101), total=10**15),
        training(),
        finish(training((10, 100), (20, 200)), "failed", NOW),
        replace(training((10, 100), (20, 200)), jobs={}),
    ],
    ids=["no deadline", "no total", "one", "a moment", "stands", "falls", "done", "never", "none", "over", "no job"],
)
def test_nothing_is_said_where_it_cannot_be_told(state: LedgerState) -> None:
    assert expected_end(state, later(minutes=21)) is None
    assert timeline_of(state, later(minutes=21))["forecast"] is None
