"""What is carried through a deferral reads back, in this version and in others."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_spot.core.ended_attempts import pack, unpack
from airflow_spot.core.history import History, Refusal
from airflow_spot.core.outcomes import Outcome
from airflow_spot.core.run_state import STATE_VERSION, RunState, WatchedJob
from airflow_spot.core.try_marks import TryMark
from tests.core.cases import NOW, attempt, later, refusal

states = st.builds(
    RunState,
    generation=st.integers(1, 9),
    first_of_try=st.integers(1, 99),
    this_try=st.none() | st.builds(TryMark, st.integers(1, 9), st.integers(0, 9), st.none() | st.integers(0, 9)),
    namespace=st.text(max_size=20),
    jobs=st.lists(st.text(min_size=1, max_size=9), max_size=3).map(tuple),
    give_up_at=st.none() | st.floats(0, 4e9),
    refusals=st.just((refusal(1), refusal(2))) | st.just(()),
    restart_requested=st.booleans(),
    since=st.none() | st.just(NOW),
    timeline=st.text(max_size=20),
    ended=st.just(unpack(pack([attempt(2, Outcome.NO_CAPACITY, created=NOW, ended=later(hours=1))]))) | st.just(()),
)


@given(states, st.dictionaries(st.text(min_size=1).map(lambda name: f"new_{name}"), st.integers(), max_size=3))
def test_it_reads_back_and_what_a_newer_version_adds_is_ignored(state: RunState, more: dict[str, int]) -> None:
    assert RunState.from_json({**json.loads(json.dumps(state.to_json())), **more}) == state


def test_a_newer_layout_is_read_as_far_as_it_is_known() -> None:
    read = RunState.from_json({"version": STATE_VERSION + 1, "generation": 2, "probes": [1]})
    assert (read.generation, read.first_of_try, read.jobs, read.version) == (2, 1, (), STATE_VERSION + 1)


def test_the_ended_attempts_of_the_try_are_carried_and_the_first_ones_begin() -> None:
    made = [
        attempt(number, Outcome.NO_CAPACITY, created=later(hours=number), ended=later(hours=9)) for number in (1, 2)
    ]
    live = attempt(3, None, created=later(hours=3))
    state = RunState.of(History(1, (*made, live), first_of_try=2), TryMark(1, 0), "ns", (live.job_name,), None)
    read = RunState.from_json(json.loads(json.dumps(state.to_json())))
    assert read.since == later(hours=1)
    assert [one.job_name for one in read.ended] == [made[1].job_name]
    assert RunState.of(History(1), TryMark(1, 0), "ns", (), None).since is None


def test_what_is_missing_or_broken_in_what_is_carried_is_read_again() -> None:
    read = RunState.from_json({"generation": 2, "ended": {"name": 5}})
    assert (read.since, read.ended) == (None, ())


@pytest.mark.parametrize("value", [{}, {"seen": 3}])
def test_what_is_no_runs_state_is_refused(value: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="no state of a run"):
        RunState.from_json(value)


def test_a_watched_job_reads_back() -> None:
    job = WatchedJob("name", 3, 60.0)
    assert WatchedJob.from_json({**job.to_json(), "priority": 1}) == job
    assert WatchedJob.from_json({"name": "name"}) == WatchedJob("name")
    own = WatchedJob("name", keeps_checkpoints=False)
    assert WatchedJob.from_json(own.to_json()) == own


def test_a_refusal_of_a_newer_version_is_one_for_want_of_capacity() -> None:
    """After a rollback: an error here would leave the job with nobody."""
    written = {**refusal(1).to_json(), "outcome": "rung_unavailable"}
    read = RunState.from_json({"generation": 1, "refusals": [written]})
    assert [each.outcome for each in read.refusals] == [Outcome.NO_CAPACITY]


def test_of_many_refusals_the_newest_alone_keeps_its_message() -> None:
    refusals = tuple(Refusal(1, "r", Outcome.NO_CAPACITY, NOW, "why " * 200) for _ in range(500))
    state = RunState.of(History(1, refusals=refusals), TryMark(1, 0), "ns", (), None)
    assert [bool(refusal.message) for refusal in state.refusals][-2:] == [False, True]
    assert len(json.dumps(state.to_json())) < 8_000
