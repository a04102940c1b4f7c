"""The starts of a job are read from its transitions, as SageMaker has them."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_spot.core.starts import Start, advance, read_starts, read_uploading
from tests.core.cases import NOW, later
from tests.recorded.test_cases import description, of


def at(seconds: float) -> datetime:
    return later(seconds=seconds)


def job(*spans: tuple[str, float, float | None]) -> dict[str, Any]:
    """A job, by status, begin and end in seconds from its creation."""
    return {
        "CreationTime": NOW,
        "SecondaryStatusTransitions": [
            {"Status": status, "StartTime": at(begin), **({} if end is None else {"EndTime": at(end)})}
            for status, begin, end in spans
        ],
    }


@pytest.mark.parametrize(
    ("said", "starts"),
    [
        (job(), [Start(NOW)]),
        (job(("Starting", 1, None)), [Start(NOW)]),
        (
            job(("Starting", 1, 9), ("Downloading", 9, 12), ("Training", 12, None)),
            [Start(NOW, at(9), at(12))],
        ),
        (
            job(("Starting", 1, 9), ("Downloading", 9, 12), ("Training", 12, 40), ("Uploading", 40, 45)),
            [Start(NOW, at(9), at(12), None, at(45))],
        ),
        # One interruption, as AWS's lifecycle page has it.
        (
            job(
                *(("Starting", 1, 9), ("Downloading", 9, 12), ("Training", 12, 40), ("Interrupted", 40, 41)),
                *(("Starting", 41, 50), ("Downloading", 50, 52), ("Training", 52, None)),
            ),
            [Start(NOW, at(9), at(12), at(40), at(40)), Start(at(40), at(50), at(52))],
        ),
        # Lost while its data came down.
        (
            job(("Starting", 1, 9), ("Downloading", 9, 12), ("Interrupted", 12, 13), ("Starting", 13, None)),
            [Start(NOW, at(9), None, at(12), at(12)), Start(at(12))],
        ),
        # On-demand: two waits in a row, for hours.
        (job(("Pending", 1, 9_000), ("Pending", 9_000, None)), [Start(NOW)]),
        # The RetryStrategy's restart, without an Interrupted.
        (
            job(("Starting", 1, 2), ("Training", 2, 5), ("Restarting", 5, 6), ("Training", 6, None)),
            [Start(NOW, at(2), at(2), None, at(5)), Start(at(5), at(6), at(6))],
        ),
    ],
)
def test_starts(said: dict[str, Any], starts: list[Start]) -> None:
    assert list(read_starts(said)) == starts


def test_waits_and_launches_of_what_is_not_over_count_until_now() -> None:
    assert Start(NOW).waited(at(30)) == 30
    assert Start(NOW, at(10)).launched(at(30)) == 20
    assert Start(NOW).launched(at(30)) == 0
    assert Start(None).waited(at(30)) == 0


STATUSES = ["Starting", "Pending", "Downloading", "Training", "Interrupted", "Uploading", "Restarting", "ANewOne"]


@given(st.lists(st.sampled_from(STATUSES), max_size=12))
def test_whatever_comes_has_a_start_for_each_interruption_and_no_time_is_negative(statuses: list[str]) -> None:
    spans = [(status, float(i), float(i + 1)) for i, status in enumerate(statuses)]
    starts = read_starts(job(*spans))
    assert len(starts) >= 1 + statuses.count("Interrupted")
    assert sum(1 for start in starts if start.lost) == statuses.count("Interrupted")
    for start in starts:
        moments = [moment for moment in (start.asked, start.granted, start.training) if moment]
        assert moments == sorted(moments)


STATUSES = ("Starting", "Downloading", "Training", "Interrupted", "Uploading", "Stopping", "Completed", "Restarting")


@given(st.lists(st.tuples(st.sampled_from(STATUSES), st.integers(1, 900)), max_size=20))
def test_a_job_that_is_heard_of_step_by_step_has_the_starts_of_its_description(steps: list[tuple[str, int]]) -> None:
    spans, begin = [], 0
    for status, took in steps:
        spans.append((status, begin + 1.0, begin + 1.0 + took))
        begin += took
    if spans:
        spans[-1] = (*spans[-1][:2], None)  # type: ignore[assignment]
    heard = (Start(NOW),)
    for status, since, _ in spans:
        heard = advance(heard, status, at(since))
        assert advance(heard, status, at(since)) == heard  # told twice
    # What a transition's EndTime says beside the next one's StartTime, only the description has.
    assert [replace(each, ended=None) for each in heard] == [
        replace(each, ended=None) for each in read_starts(job(*spans))
    ]
    for mine, theirs in zip(heard, read_starts(job(*spans)), strict=True):
        assert theirs.ended is None or mine.ended == theirs.ended


def test_since_when_a_job_uploads_is_read() -> None:
    assert read_uploading(job(("Training", 1, 9), ("Uploading", 9, 12))) == at(9)
    assert read_uploading(job(("Training", 1, 9))) is None


@pytest.mark.parametrize("case", of("describe"))
def test_a_recorded_job_that_is_heard_of_step_by_step_has_the_starts_of_its_description(case: dict[str, Any]) -> None:
    said = description(case["input"])
    heard = (Start(said.get("CreationTime")),)
    for each in said.get("SecondaryStatusTransitions") or ():
        heard = advance(heard, each["Status"], each["StartTime"])
    # Only its EndTime says how long the last status, or one that another overlaps, went on.
    assert [replace(each, ended=None) for each in heard] == [replace(each, ended=None) for each in read_starts(said)]
