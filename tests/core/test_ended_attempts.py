"""What a deferral carries of ended attempts: small, and enough to decide by."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_spot.core.attempt import Attempt
from airflow_spot.core.decide import decide, seconds_without_instances
from airflow_spot.core.ended_attempts import KEPT, pack, unpack
from airflow_spot.core.history import History
from airflow_spot.core.ladder import Rung
from airflow_spot.core.marks import RequestMark
from airflow_spot.core.outcomes import Outcome
from tests.core.cases import NOW, attempt, later, limits

RUNGS = (Rung("ml.g5.xlarge"), Rung("ml.g6.xlarge", attempts=2), Rung("ml.g5.xlarge", spot=False))


def carried(*attempts: Attempt) -> tuple[Attempt, ...]:
    """Attempts as they come back from Airflow's database."""
    return unpack(json.loads(json.dumps(pack(attempts))))


def ended(number: int, outcome: Outcome, seconds: int = 0, *, prefix: str = "train", **more: Any) -> Attempt:
    begun = later(hours=number, milliseconds=137 * number)
    return attempt(
        number,
        outcome,
        prefix=prefix,
        created=begun,
        ended=begun + timedelta(seconds=seconds + 60),
        training_seconds=seconds,
        billable_seconds=seconds // 3,
        **more,
    )


@st.composite
def pasts(draw: st.DrawFn) -> tuple[Attempt, ...]:
    count = draw(st.integers(1, 12))
    made = []
    for number in range(1, count + 1):
        outcome = draw(st.sampled_from(Outcome))
        seconds = draw(st.integers(0, 5_000))
        begun = later(hours=number)
        working = draw(st.none() | st.just(begun + timedelta(seconds=50)))
        exit_code = draw(st.none() | st.integers(-9, 255)) if outcome is Outcome.SCRIPT_ERROR else None
        made.append(
            ended(
                number,
                outcome,
                seconds,
                rung=draw(st.sampled_from(RUNGS)),
                active_seconds=draw(st.floats(0, 5_000)),
                working_since=working,
                exit_code=exit_code,
                interruptions=draw(st.integers(0, 9)),
            )
        )
    return tuple(made)


@given(pasts(), st.integers(0, 40))
def test_the_next_action_is_the_same(past: tuple[Attempt, ...], hours: int) -> None:
    """The newest is read in whole each time; all before it may be carried."""
    case = limits(*RUNGS, script_errors=2, retry_exit_codes=frozenset({3}), max_total_run=9_000, max_attempts=10)
    again = (*carried(*past[:-1]), past[-1])
    assert [one.job_name for one in again] == [one.job_name for one in past]
    now = later(hours=hours)
    assert decide(case.limits, History(1, again), now, case.policy) == decide(
        case.limits, History(1, past), now, case.policy
    )
    waited = [seconds_without_instances(History(1, each).past, now) for each in (again, past)]
    assert abs(waited[0] - waited[1]) <= 0.2 * len(past)


@given(pasts())
def test_it_is_the_same_however_often_it_is_carried(past: tuple[Attempt, ...]) -> None:
    once = carried(*past)
    assert carried(*once) == once
    assert not any(one.whole for one in once)
    assert [(one.trained, one.exit_code, one.interruptions, one.billable_seconds) for one in once] == [
        (one.trained, one.exit_code, one.interruptions, one.billable_seconds) for one in past
    ]


def test_three_hundred_are_some_kilobytes_and_no_more_are_carried() -> None:
    prefix = "a-training-with-a-long-name-of-its-own"
    many = [ended(number, Outcome.CAPACITY_TIMEOUT, 86_400, prefix=prefix) for number in range(1, 701)]
    assert len(json.dumps(pack(many[:300]))) < 13_000
    assert len(json.dumps(pack(many))) < 13_000
    assert [one.number for one in carried(*many)] == list(range(701 - KEPT, 701))
    # A name of 63 characters is cut by one more with each digit of the number.
    assert [one.job_name for one in carried(*many[:300])] == [one.job_name for one in many[:300]]


@pytest.mark.parametrize(
    "more",
    [{"request": RequestMark("on-demand", 2)}, {"prefix": "renamed"}, {"created": None}, {"ended": None}],
    ids=["a request", "another name", "no begin", "no end"],
)
def test_what_is_rare_is_read_again(more: dict[str, Any]) -> None:
    odd = {"created": NOW, **more}
    ends = odd.pop("ended", NOW)
    rare = attempt(2, Outcome.MOVED, ended=ends, **odd)
    assert [one.number for one in carried(ended(1, Outcome.NO_CAPACITY), rare)] == [1]
    live = attempt(3, None, created=NOW)
    assert carried(live) == ()


@pytest.mark.parametrize(
    "value",
    [
        None,
        {},
        [],
        "text",
        {"name": "a-strangers-job", "since": 1.0, "words": [], "lines": "1"},
        {"name": "train-afspot-abcdefghij-1-1", "since": 1.0, "words": ["r", "moved"], "lines": "1 0 1 x"},
        {"name": "train-afspot-abcdefghij-1-1", "since": 1e300, "words": ["r", "moved"], "lines": "1 0 1 0 0 0 0 0 0"},
        {"name": "train-afspot-abcdefghij-1-1", "since": None, "words": ["r", "moved"], "lines": "1 0 1 0 0 0 0 0 0"},
    ],
)
def test_what_cannot_be_read_is_nothing(value: Any) -> None:
    assert unpack(value) == ()


def test_an_outcome_of_a_newer_version_is_read_again_after_a_rollback() -> None:
    written = pack([ended(1, Outcome.NO_CAPACITY), ended(2, Outcome.MOVED)])
    assert [one.number for one in unpack({**written, "words": [str(RUNGS[0]), "of_a_newer_version", "moved"]})] == [2]
    assert [one.number for one in unpack({**written, "more": 1, "lines": written["lines"]})] == [1, 2]


def test_another_runs_name_is_not_mixed_in() -> None:
    mine = ended(1, Outcome.NO_CAPACITY)
    other = replace(ended(2, Outcome.NO_CAPACITY), job_name="train-afspot-zzzzzzzzzz-1-2")
    assert [one.number for one in carried(mine, other)] == [1]
