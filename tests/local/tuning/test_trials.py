"""When a tuning job is over, and which of its training jobs is the best."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_spot.local.tuning.trials import (
    Limits,
    Trial,
    Verdict,
    best,
    judge,
    not_improving,
    objective_counters,
    should_stop_early,
    status_counters,
)

SMALL, LARGE = Limits(maximize=False), Limits(maximize=True)
VALUES = st.floats(-1e6, 1e6)


def done(*values: float, status: str = "Completed", ended: float = 1.0) -> Trial:
    return Trial(status, values, ended=ended)


RUNNING = Trial("InProgress", (0.1,))
FAILED = done(0.0, status="Failed")


@st.composite
def trials(draw: st.DrawFn) -> list[Trial]:
    statuses = st.sampled_from(["InProgress", "Stopping", "Completed", "Failed", "Stopped"])
    found = []
    for number, status in enumerate(draw(st.lists(statuses, max_size=12))):
        ended = None if status in ("InProgress", "Stopping") else float(number)
        values = tuple(draw(st.lists(VALUES, max_size=4)))
        found.append(Trial(status, values, draw(st.booleans()), ended))
    return found


@given(trials(), st.booleans())
def test_the_best_is_a_completed_one_that_no_completed_one_beats(found: list[Trial], maximize: bool) -> None:
    limits = Limits(maximize=maximize)
    index = best(found, limits)
    finals = [trial.final for trial in found if trial.status == "Completed" and trial.final is not None]
    if index is None:
        assert not finals
    else:
        assert found[index].final == (max(finals) if maximize else min(finals))
        assert [trial.final for trial in found].index(found[index].final) <= index


@given(trials())
def test_each_job_is_counted_once(found: list[Trial]) -> None:
    assert sum(status_counters(found).values()) == sum(objective_counters(found).values()) == len(found)
    assert status_counters(found)["InProgress"] == objective_counters(found)["Pending"]


def test_counters_tell_the_services_errors_from_the_scripts() -> None:
    found = [RUNNING, done(1.0), done(), FAILED, replace(FAILED, retryable=True), done(1.0, status="Stopped")]
    assert status_counters(found) == {
        "Completed": 2,
        "InProgress": 1,
        "RetryableError": 1,
        "NonRetryableError": 1,
        "Stopped": 1,
    }
    # Of a job that failed, or printed no metric, the objective does not count.
    assert objective_counters(found) == {"Succeeded": 2, "Pending": 1, "Failed": 3}


@given(trials(), st.booleans(), st.floats(0, 100), st.integers(0, 20))
def test_it_goes_on_while_something_may_still_come(
    found: list[Trial], maximize: bool, now: float, further: int
) -> None:
    limits = Limits(maximize=maximize, trials=len(found) + further)
    verdict = judge(found, limits, now, exhausted=False)
    running = [trial for trial in found if trial.ended is None]
    succeeded = [trial for trial in found if trial.objective_status == "Succeeded"]
    if (running or further) and (succeeded or len(found) < 5):
        assert verdict is None
    if not running and not further and succeeded:
        assert verdict == Verdict("Completed")
    if verdict is not None and verdict.status == "Failed":
        assert not succeeded
        assert verdict.reason


def test_five_fruitless_jobs_are_enough() -> None:
    assert judge([FAILED] * 4, replace(SMALL, trials=10), 0, exhausted=False) is None
    verdict = judge([FAILED] * 5 + [RUNNING], replace(SMALL, trials=10), 0, exhausted=False)
    assert verdict is not None
    assert verdict.status == "Failed"
    assert str(verdict.reason).startswith("No training job succeeded after 5 attempts.")
    silent = judge([done()] * 5, replace(SMALL, trials=10), 0, exhausted=False)
    assert silent is not None
    assert str(silent.reason).startswith("No objective metrics found after running 5 training jobs.")


def test_all_of_fewer_fruitless_jobs_fail_it_too() -> None:
    assert judge([FAILED, FAILED], replace(SMALL, trials=2), 0, exhausted=False) is not None
    assert judge([FAILED, RUNNING], replace(SMALL, trials=2), 0, exhausted=False) is None
    assert judge([FAILED, done(1.0)], replace(SMALL, trials=2), 0, exhausted=False) == Verdict("Completed")


def test_it_ends_when_there_is_no_other_combination() -> None:
    assert judge([done(1.0)], SMALL, 0, exhausted=True) == Verdict("Completed")
    assert judge([done(1.0), RUNNING], SMALL, 0, exhausted=True) is None


@pytest.mark.parametrize(("maximize", "target", "over"), [(False, 0.5, True), (False, 0.4, False), (True, 0.4, True)])
def test_a_target_ends_it(maximize: bool, target: float, over: bool) -> None:
    limits = Limits(maximize=maximize, trials=9, target=target)
    assert (judge([done(0.5), RUNNING], limits, 0, exhausted=False) is not None) is over


def test_a_running_job_reaches_no_target() -> None:
    assert judge([RUNNING, done(9.0)], Limits(maximize=False, trials=9, target=0.5), 0, exhausted=False) is None


def test_its_time_ends_it() -> None:
    limits = replace(SMALL, trials=9, until=100.0)
    assert judge([RUNNING], limits, 99, exhausted=False) is None
    assert judge([RUNNING], limits, 100, exhausted=False) == Verdict("Completed")


def test_not_improving_counts_jobs_that_are_less_than_one_per_cent_better() -> None:
    found = [done(1.0, ended=1), done(0.995, ended=2), done(2.0, ended=3)]
    assert not_improving(found, SMALL) == 2
    assert not_improving([*found, done(0.98, ended=4)], SMALL) == 0
    # The order is that of their ends.
    assert not_improving([done(0.98, ended=4), *found], SMALL) == 0
    assert not_improving([*found, replace(FAILED, ended=5.0)], SMALL) == 2
    limits = replace(SMALL, trials=9, not_improving=3)
    assert judge(found, limits, 0, exhausted=False) is None
    assert judge([*found, done(1.0, ended=4)], limits, 0, exhausted=False) == Verdict("Completed")


def test_early_stopping_compares_with_the_median_of_running_averages() -> None:
    others = [done(1.0, 0.8), done(0.6, 0.4), done(0.2, 0.0)]
    # After two epochs their averages are 0.9, 0.5 and 0.1.
    assert should_stop_early((9.0, 0.51), 2, others, SMALL)
    assert not should_stop_early((9.0, 0.49), 2, others, SMALL)
    assert should_stop_early((9.0, 0.49), 2, others, LARGE)
    # The median after the first epoch is 0.6.
    assert not should_stop_early((0.59, 9.0), 1, others, SMALL)


def test_early_stopping_leaves_out_jobs_that_run_failed_or_were_shorter() -> None:
    assert not should_stop_early((9.0,), 1, [], SMALL)
    assert not should_stop_early((9.0,), 1, [RUNNING, FAILED], SMALL)
    assert not should_stop_early((1.0, 9.0), 2, [done(0.0)], SMALL)
    assert should_stop_early((1.0, 9.0), 2, [done(0.0), done(0.0, 0.0, status="Stopped")], SMALL)


@given(st.lists(VALUES, min_size=1, max_size=6), trials(), st.booleans())
def test_early_stopping_is_the_same_upside_down(values: list[float], others: list[Trial], maximize: bool) -> None:
    mirrored = [replace(other, values=tuple(-value for value in other.values)) for other in others]
    epoch = len(values)
    limits, opposite = Limits(maximize=maximize), Limits(maximize=not maximize)
    flipped = [-value for value in values]
    assert should_stop_early(values, epoch, others, limits) == should_stop_early(flipped, epoch, mirrored, opposite)


@given(st.lists(st.lists(VALUES, min_size=3, max_size=3), min_size=1, max_size=7))
def test_the_best_at_every_epoch_is_never_stopped(curves: list[list[float]]) -> None:
    # Below every value of the others so far, and so below each of their averages.
    champion = [min(min(curve[:epoch]) for curve in curves) - 1 for epoch in (1, 2, 3)]
    for epoch in (1, 2, 3):
        assert not should_stop_early(champion, epoch, [done(*curve) for curve in curves], SMALL)
