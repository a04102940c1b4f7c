"""Whatever a run has been through, its timeline is JSON of a bounded size, and so is what a deferral carries of it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_spot.core.attempt import Attempt
from airflow_spot.core.identity import JobName
from airflow_spot.core.money.totals import total
from airflow_spot.core.outcomes import Outcome
from airflow_spot.core.placement import Placement
from airflow_spot.core.script_progress import ScriptProgress
from airflow_spot.core.starts import Start
from airflow_spot.core.timeline.carried import MOST, pack, unpack
from airflow_spot.core.timeline.phase import phase_of
from airflow_spot.core.timeline.state import OVER, Again, Decision, LedgerState, Phase, Tick, note, take_in, tick
from airflow_spot.core.timeline.summary import summary_of
from airflow_spot.core.timeline.thinning import size_of
from airflow_spot.core.timeline.whole import timeline_of, totals_of
from airflow_spot.core.try_marks import TryMark
from airflow_spot.render.ledger_format import MAX_TIMELINE_BYTES, STATES
from tests.core.cases import NOW, RUN, later
from tests.core.timeline.runs import begun, large, names, twice_interrupted

#: As SageMaker has them: in milliseconds.
moments = st.integers(-1_000_000, 1_000_000_000).map(lambda some: NOW + timedelta(milliseconds=some))
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
maybe = st.none() | moments
starts = st.builds(Start, maybe, maybe, maybe, maybe, maybe)


@st.composite
def jobs(draw: st.DrawFn) -> Attempt:
    name = JobName("train", RUN.key, draw(st.integers(1, 3)), draw(st.integers(1, 40)))
    outcome = draw(st.none() | st.sampled_from(Outcome))
    return Attempt(
        name=name,
        job_name=str(name),
        placement=Placement(
            draw(texts),
            draw(st.integers(1, 9)),
            draw(st.booleans()),
            draw(st.sampled_from([(), (("ml.a", 1), ("ml.b", 2))])),
        ),
        status=draw(st.sampled_from(["InProgress", "Stopping", "Completed", "Failed"])),
        secondary_status=draw(texts),
        outcome=outcome,
        rung=draw(texts),
        interruptions=draw(st.integers(0, 9)),
        training_seconds=draw(st.integers(0, 10**6)),
        billable_seconds=draw(st.integers(0, 10**6)),
        created=draw(maybe),
        ended=draw(maybe),
        uploading=draw(maybe),
        failure_reason=draw(texts),
        why=draw(texts),
        created_by=draw(st.none() | st.just(TryMark(2, 3))),
        checkpoint_s3_uri=draw(texts),
        exit_code=draw(st.none() | st.integers(-9, 255)),
        starts=tuple(draw(st.lists(starts, max_size=5))),
        whole=draw(st.booleans()),
    )


@st.composite
def states(draw: st.DrawFn) -> LedgerState:
    made = begun(try_number=draw(st.integers(1, 9)), dag_id=draw(texts))
    found = {job.job_name: job for job in draw(st.lists(jobs(), max_size=6))}
    state = replace(made, jobs=found, generation=draw(st.integers(1, 3)), lost=draw(st.none() | st.integers(0, 9)))
    for name in found:
        state = tick(
            state, name, draw(st.lists(st.builds(Tick, moments, st.none() | st.integers(0, 10**9)), max_size=4))
        )
    for _ in range(draw(st.integers(0, 4))):
        state = note(state, draw(moments), draw(texts), draw(texts))
    spans = st.lists(st.builds(Again, st.integers(1, 9), moments, moments), max_size=3).map(tuple)
    return replace(
        state,
        lost=None if state.lost is None else float(state.lost),
        again={name: draw(spans) for name in found},
        phase=draw(st.none() | st.builds(Phase, st.sampled_from(STATES), moments, texts)),
        awaited=draw(st.none() | st.tuples(texts, texts)),
        reported=draw(st.none() | st.just(ScriptProgress(5, None, {"loss": 0.5}, NOW))),
        points=tuple(draw(st.lists(st.tuples(moments, st.integers(0, 10**12)), max_size=4))),
        model=draw(st.none() | texts),
        deadline=draw(maybe),
    )


def clean(value: Any) -> Any:
    """Fails for what a database's JSON does not take."""
    return json.loads(json.dumps(value, allow_nan=False))


@settings(max_examples=30, deadline=None)
@given(states(), moments)
def test_whatever_a_run_was_it_has_a_timeline_in_order(state: LedgerState, now: datetime) -> None:
    timeline, summary = timeline_of(state, now), summary_of(state, now)
    assert clean(timeline) == timeline
    assert clean(summary) == summary
    assert size_of(timeline) <= MAX_TIMELINE_BYTES
    assert timeline["state"] in STATES
    for line in timeline["attempts"]:
        for start in line["starts"]:
            known = [moment for moment in start if moment is not None]
            assert known == sorted(known)
            assert all(moment >= 0 for moment in known)
        assert all(begin <= end for begin, end in line["again"])
        assert line["ticks"] == sorted(line["ticks"], key=lambda one: one[0] or 0.0)
    at = [when for when, _, _ in timeline["decisions"]]
    assert at == sorted(at)
    assert (summary["ended"] is None) == (phase_of(state).state not in OVER)


@settings(max_examples=30, deadline=None)
@given(states())
def test_what_a_deferral_carries_comes_back(state: LedgerState) -> None:
    assert unpack(pack(state)) == state


def test_thirty_attempts_with_their_starts_fit_in_whole() -> None:
    state = large(30, 18)
    timeline = timeline_of(state, later(days=7))
    assert sum(len(line["starts"]) for line in timeline["attempts"]) == 540
    assert size_of(timeline) < MAX_TIMELINE_BYTES
    again = unpack(pack(state))
    assert again is not None
    assert sum(len(job.starts) for job in again.jobs.values()) == 540
    assert len(pack(twice_interrupted()[0])) < 1_000


@pytest.mark.parametrize(("attempts", "each", "ticks"), [(30, 18, 400), (1, 3000, 900), (300, 20, 3), (900, 1, 0)])
def test_the_oldest_is_thinned_and_counted(attempts: int, each: int, ticks: int) -> None:
    state = large(attempts, each, ticks)
    for number in range(250):
        state = note(state, later(days=9, seconds=number), f"attempt {number} refused", "quota " * 40)
    timeline = timeline_of(state, later(days=30))
    assert MAX_TIMELINE_BYTES * 0.8 < size_of(timeline) <= MAX_TIMELINE_BYTES
    lines = timeline["attempts"]
    assert len(lines) + timeline["more_attempts"] == attempts
    assert [line["number"] for line in lines] == list(range(attempts - len(lines) + 1, attempts + 1))
    assert all(len(line["starts"]) + line["more_starts"] == each for line in lines)
    assert all(len(line["ticks"]) + line["more_ticks"] == ticks for line in lines)
    assert len(lines[-1]["starts"]) >= 1
    # The sums are of all that is known, whatever is drawn.
    assert timeline["totals"]["interruptions"] == summary_of(state, later(days=30))["interruptions"]
    assert timeline["totals"]["attempts"] == min(attempts, 300)


@pytest.mark.parametrize(("attempts", "each", "ticks"), [(30, 18, 400), (1, 3000, 900), (300, 20, 3), (900, 1, 0)])
def test_what_is_carried_is_bounded_and_has_the_newest(attempts: int, each: int, ticks: int) -> None:
    state = large(attempts, each, ticks)
    for number in range(250):
        state = note(state, later(days=9, seconds=number), f"attempt {number} refused", f"quota {number * 7919} " * 12)
    packed = pack(state)
    assert 0 < len(packed) <= MOST
    again = unpack(packed)
    assert again is not None
    assert again.attempts[-1].number == attempts
    assert again.live is not None
    assert len(again.live.starts) >= min(each, 4)
    assert len(again.live.starts) + again.dropped_starts.get(again.live.job_name, 0) == each
    assert len(again.jobs) + again.dropped_jobs == attempts
    assert names(again.attempts) == sorted(names(again.attempts))


def test_where_even_one_job_is_too_much_nothing_is_carried() -> None:
    assert pack(begun(run_id="".join(map(chr, range(256, 20_000)))), 100) == ""
    assert unpack("") is None


@pytest.mark.parametrize("value", [None, 7, "", "no base64", "aGVsbG8=", "eJyrVspWsqoFAA3zA0g=", "eJyLjgUAARUAuQ=="])
def test_what_cannot_be_read_is_not_known(value: Any) -> None:
    assert unpack(value) is None


def test_the_sums_hold_through_a_deferral() -> None:
    state = large(4, 5)
    again = unpack(pack(state))
    assert again is not None
    now = later(days=2)
    assert totals_of(again, now) == totals_of(state, now)
    ended = take_in(begun(), state.attempts[:-1], 1, lost=7.0)
    assert totals_of(ended, now) == total(state.attempts[:-1], now, None, 7.0)


def test_notes_ticks_and_points_are_bounded() -> None:
    state, job = twice_interrupted()
    state = tick(state, job.job_name, (Tick(later(minutes=each)) for each in range(3000)))
    assert len(state.ticks[job.job_name]) + state.dropped_ticks[job.job_name] == 3000
    for number in range(500):
        state = note(state, NOW, "pause", str(number))
    assert len(state.notes) + state.dropped_notes == 500
    assert state.notes[-1] == Decision(NOW, "pause", "499")
