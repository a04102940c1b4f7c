"""What a script reports of itself: read whatever stands there, looked for seldom, and told where it is news."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_spot.core.script_progress import (
    METRICS_KEPT,
    NAME_LENGTH,
    PAUSE_LEAST,
    PAUSE_MOST,
    Reports,
    ScriptProgress,
)
from tests.core.cases import NOW

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=9,
)
FILES = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("v", "step", "total", "metrics", "at", "percent"), JSON)
) | st.fixed_dictionaries(
    {
        "step": st.integers(0, 10**6),
        "total": st.none() | st.integers(0, 10**6),
        "at": st.floats(0, 4e9),
        "metrics": st.dictionaries(st.text(max_size=60), JSON, max_size=12),
    }
)


def report(step: int, total: int | None = 100, minutes: float = 0, **metrics: float) -> ScriptProgress:
    return ScriptProgress(step, total, metrics, NOW + timedelta(minutes=minutes))


@given(FILES)
def test_whatever_stands_in_the_file_is_read_or_is_nothing(said: Any) -> None:
    found = ScriptProgress.parse(json.dumps(said).encode(), NOW)
    if found is None:
        return
    assert found.at <= NOW
    assert len(found.metrics) <= METRICS_KEPT
    assert all(len(name) <= NAME_LENGTH for name in found.metrics)
    assert found.percent is None or 0 <= found.percent <= 100
    assert len(str(found)) < 600
    assert str(found).isprintable()
    assert ScriptProgress.from_json(json.loads(json.dumps(found.to_json()))) == found


@given(st.binary(max_size=40))
def test_bytes_are_nothing(text: bytes) -> None:
    assert ScriptProgress.parse(text, NOW) is None


def test_nesting_without_an_end_is_nothing() -> None:
    assert ScriptProgress.parse(b'{"step":' * 9_000, NOW) is None


def test_steps_may_be_tokens() -> None:
    said = {"step": 5_000_000_000, "total": 300_000_000_000, "at": 1, "metrics": {"tokens": 5e9, "huge": 1e300}}
    found = ScriptProgress.parse(json.dumps(said).encode(), NOW)
    assert str(found) == "step 5,000,000,000 of 300,000,000,000 (2 %), tokens 5e+09"


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-01-01T00:00:00", "x"])
def test_a_time_that_is_none_in_utc_is_nothing(at: str) -> None:
    assert ScriptProgress.from_json({"step": 1, "at": at}) is None
    assert Reports.from_json({"last": {"step": 1, "at": at}}) == Reports()


def test_the_clock_of_the_instance_counts_for_nothing_later_than_the_file() -> None:
    said = {"step": 1, "total": 2, "metrics": {}, "at": (NOW + timedelta(hours=3)).timestamp()}
    found = ScriptProgress.parse(json.dumps(said).encode(), NOW)
    assert found is not None
    assert found.at == NOW


@pytest.mark.parametrize(
    ("said", "text"),
    [
        (report(120, 500, loss=0.30931, accuracy=0.9), "step 120 of 500 (24 %), loss 0.3093, accuracy 0.9"),
        (report(1_250_000, None), "step 1,250,000"),
        (report(3, 0), "step 3 of 0"),
        (report(7, 5), "step 7 of 5 (100 %)"),
    ],
)
def test_it_is_told_in_a_line(said: ScriptProgress, text: str) -> None:
    assert str(said) == text


@pytest.mark.parametrize(
    ("told", "found", "news"),
    [
        (None, report(0), True),
        (report(11), report(19, minutes=5), False),
        (report(11), report(20, minutes=5), True),
        (report(11), report(19, minutes=31), True),
        (report(11), report(11, minutes=99), False),  # no step more
        (report(19), report(12, minutes=5), True),  # an interruption has cost some
        (report(11, None), report(90, None, minutes=5), False),
        (report(11, None), report(90, None, minutes=31), True),
        (report(99), report(100, minutes=1), True),
    ],
)
def test_the_log_is_told_of_tenths_of_losses_and_now_and_then(
    told: ScriptProgress | None, found: ScriptProgress, news: bool
) -> None:
    known, is_news = Reports(told=told, last=told).take(found, NOW)
    assert is_news is news
    assert known.last == found
    assert known.told == (found if news else told)


def test_it_is_looked_for_as_often_as_a_tenth_takes() -> None:
    reports, begun = Reports(), NOW
    assert reports.next_look(None, expected=True) is None
    assert reports.next_look(begun, expected=True) == begun + timedelta(seconds=PAUSE_LEAST)
    reports, _ = reports.take(report(1, 1_000), NOW)
    assert reports.pause == PAUSE_LEAST
    reports, _ = reports.take(report(21, 1_000, minutes=1), NOW)  # 20 steps a minute: a tenth takes five
    assert reports.pause == 300
    assert reports.next_look(begun, expected=False) == NOW + timedelta(minutes=5)
    reports, _ = reports.take(report(22, 1_000, minutes=9), NOW)
    assert reports.pause == PAUSE_MOST
    reports, _ = reports.take(report(900, 1_000, minutes=10), NOW)
    assert reports.pause == PAUSE_LEAST


def test_a_script_that_never_reports_is_looked_at_more_and_more_seldom() -> None:
    reports = Reports()
    for pause in (120, 240, 480, 600, 600):
        reports, is_news = reports.take(None, NOW)
        assert (reports.pause, is_news) == (pause, False)
    assert reports.next_look(NOW, expected=True) is not None
    assert reports.next_look(NOW, expected=False) is None


def test_a_job_that_has_ended_is_looked_at_once_more() -> None:
    seen = Reports(seen=True, looked=NOW)
    assert seen.is_last_due(NOW + timedelta(seconds=1), expected=False)
    assert not seen.is_last_due(NOW, expected=True)
    assert Reports().is_last_due(NOW, expected=True)
    assert not Reports().is_last_due(NOW, expected=False)


@given(
    st.builds(
        Reports,
        seen=st.booleans(),
        last=st.none() | st.builds(report, st.integers(0, 999), st.none() | st.integers(0, 999)),
        told=st.none() | st.builds(report, st.integers(0, 999)),
        looked=st.none() | st.just(NOW),
        pause=st.floats(PAUSE_LEAST, PAUSE_MOST),
    )
)
def test_what_is_known_survives_a_deferral(reports: Reports) -> None:
    assert Reports.from_json(json.loads(json.dumps(reports.to_json()))) == reports


@given(JSON | st.fixed_dictionaries({}, optional=dict.fromkeys(("seen", "last", "told", "looked", "pause"), JSON)))
def test_a_row_of_whatever_kind_is_read(value: Any) -> None:
    found = Reports.from_json(value)
    assert PAUSE_LEAST <= found.pause <= PAUSE_MOST
    assert found.looked is None or isinstance(found.looked, datetime)
    assert Reports.from_json(found.to_json()) == replace(found)
