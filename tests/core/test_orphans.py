"""Which live jobs are orphans."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from airflow_spot.core.identity import JobName, RunIdentity
from airflow_spot.core.marks import run_tags, tag_map
from airflow_spot.core.orphans import LiveJob, TaskState, judge, run_of

NOW = datetime(2026, 11, 24, 12, tzinfo=timezone.utc)
RUN = RunIdentity("prod", "dag é", "manual__1", "group.fit", 4)
JOB = LiveJob("x", "arn", NOW - timedelta(hours=1), RUN)
LONG_AGO = NOW - timedelta(minutes=11)


def name(run: RunIdentity) -> str:
    return str(JobName("x", run.key, 1, 1))


def test_the_key_proves_whose_a_job_is() -> None:
    tags = tag_map(run_tags(RUN, 1))
    assert run_of(name(RUN), tags, "prod") == RUN
    assert run_of(name(RUN), tags, "test") is None
    assert run_of(name(RUN), {}, "prod") is None
    cut = RunIdentity("prod", "d", "r" * 300, "t")
    assert run_of(name(cut), tag_map(run_tags(cut, 1)), "prod") is None


@pytest.mark.parametrize("state", ["success", "failed", "skipped", "removed", "upstream_failed"])
def test_nobody_comes_for_what_is_over(state: str) -> None:
    assert judge(JOB, TaskState(True, state, LONG_AGO), NOW).orphan is True
    assert judge(JOB, TaskState(True, state, NOW - timedelta(minutes=9)), NOW).orphan is False


@pytest.mark.parametrize(
    "state",
    [None, "running", "deferred", "queued", "scheduled", "up_for_retry", "up_for_reschedule", "restarting", "new"],
)
def test_somebody_may_come_in_any_other_state(state: str | None) -> None:
    assert judge(JOB, TaskState(True, state, LONG_AGO), NOW).orphan is False


def test_a_task_instance_that_is_gone() -> None:
    assert judge(JOB, TaskState(False), NOW).orphan is True
    young = LiveJob("x", "arn", NOW - timedelta(minutes=1), RUN)
    assert judge(young, TaskState(False), NOW).orphan is False


def test_what_its_task_was_not_to_wait_for_is_no_orphan() -> None:
    left = LiveJob("x", "arn", NOW - timedelta(hours=1), RUN, left=True)
    assert judge(left, TaskState(True, "success", LONG_AGO), NOW).orphan is False
    assert judge(left, TaskState(False), NOW).orphan is False


def test_what_cannot_be_told_is_no_orphan() -> None:
    assert judge(JOB, TaskState(False, dag_known=False), NOW).orphan is None
    assert judge(LiveJob("x", "arn", LONG_AGO, None), TaskState(False), NOW).orphan is None
    assert judge(JOB, None, NOW).orphan is None
