"""What is decided on a ladder, by budgets apart, and without progress."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from airflow_spot.core.attempt import Attempt
from airflow_spot.core.decide import Action, Fail, Pause, Stop, Submit, Succeed, Wait
from airflow_spot.core.history import History
from airflow_spot.core.ladder import Rung
from airflow_spot.core.marks import StopMark
from airflow_spot.core.outcomes import Outcome
from airflow_spot.core.progress import Progress, ProgressRules
from airflow_spot.core.starts import Start
from airflow_spot.core.stop_reasons import StopReason
from tests.core.cases import NOW, SPOT, Case, attempt, history, later, limits, refusal
from tests.core.test_decide import DEMAND, OTHER, O, act

# ---- the ladder, and budgets apart


def climb(on: Case, *outcomes: Outcome, step: timedelta = timedelta(days=1)) -> list[str]:
    """The rungs that attempts are created on, each long after the last one ended."""
    past: tuple[Attempt, ...] = ()
    rungs = []
    for number, outcome in enumerate(outcomes, 1):
        action = act(History(1, past), on, NOW + number * step)
        if not isinstance(action, Submit):
            return [*rungs, type(action).__name__]
        rungs.append(str(action.rung))
        past = (*past, attempt(number, outcome, rung=action.rung, ended=NOW + number * step))
    return rungs


TWICE = Rung("ml.p3.2xlarge", attempts=2)
A, B, C = str(SPOT), str(TWICE), str(DEMAND)


@pytest.mark.parametrize(
    ("outcomes", "rungs"),
    [
        ([O.NO_CAPACITY] * 6, [A, B, B, C, A, B]),
        ([O.CAPACITY_TIMEOUT] * 6, [A, B, B, C, A, B]),
        ([O.RUNG_TIMEOUT] * 6, [A, B, B, C, A, B]),
        (
            [O.NO_CAPACITY, O.STOPPED_BY_OPERATOR, O.NO_CAPACITY, O.NO_CAPACITY, O.SERVICE_ERROR, O.COMPLETED],
            [A, B, B, B, C, C],
        ),
        ([O.NO_CAPACITY, O.INTERRUPTED, O.INTERRUPTED, O.NO_CAPACITY, O.NO_CAPACITY, O.COMPLETED], [A, B, B, B, B, C]),
        ([O.SCRIPT_ERROR, O.COMPLETED], [A, "Fail"]),
    ],
)
def test_the_ladder_is_climbed_by_misses_alone(outcomes: list[Outcome], rungs: list[str]) -> None:
    assert climb(limits(SPOT, TWICE, DEMAND), *outcomes) == rungs


def test_a_quota_leaves_its_rung_at_once_and_no_job_takes_its_number() -> None:
    on = limits(SPOT, TWICE, DEMAND)
    second = act(History(1, (), 1, (refusal(1),)), on)
    assert isinstance(second, Submit)
    assert (second.number, second.rung) == (1, TWICE)
    third = act(History(1, (), 1, (refusal(1), refusal(1, rung=TWICE))), on)
    assert isinstance(third, Submit)
    assert (third.number, third.rung) == (1, DEMAND)
    attempts = (attempt(1, O.NO_CAPACITY, rung=DEMAND),)
    round_done = act(History(1, attempts, 1, (refusal(1), refusal(1, rung=TWICE))), on, later(days=1))
    assert isinstance(round_done, Submit)
    assert (round_done.number, round_done.rung) == (2, SPOT)


def test_a_pause_for_a_quota_says_whose_turn_it_waits_for() -> None:
    past = History(1, (), 1, (refusal(1),))
    pause = act(past)
    assert isinstance(pause, Pause)
    assert pause.quota_key == str(SPOT)
    assert NOW < pause.until <= later(seconds=15)
    come = History(1, (), 1, (replace(refusal(1), backoff_skipped=True),))
    assert isinstance(act(come), Submit)
    again = act(replace(come, refusals=(*come.refusals, refusal(1))))
    assert isinstance(again, Pause)
    assert again.until > pause.until


def waiting(since: datetime, rung: Rung, **more: object) -> History:
    """A live job that waits for capacity."""
    return History(1, (attempt(1, None, rung=rung, waiting_since=since, created=since, **more),))


PATIENT = Rung("ml.p3.2xlarge", wait=600.0)


@pytest.mark.parametrize(
    ("past", "on", "action"),
    [
        (waiting(later(seconds=-599), PATIENT), limits(PATIENT, DEMAND), Wait),
        (waiting(later(seconds=-600), PATIENT), limits(PATIENT, DEMAND), Stop),
        (waiting(later(days=-9), SPOT), limits(PATIENT, SPOT), Wait),  # its rung names no wait
        (waiting(later(days=-9), PATIENT), limits(PATIENT), Wait),  # nowhere else to go
        (waiting(later(seconds=-600), PATIENT, status="Stopping"), limits(PATIENT, DEMAND), Wait),
        (waiting(later(seconds=-99), SPOT), limits(max_total_wait=100.0), Wait),
        (waiting(later(seconds=-100), SPOT), limits(max_total_wait=100.0), Stop),
        (history(None), limits(PATIENT, DEMAND, max_total_wait=0.0), Wait),  # it trains
    ],
)
def test_a_rungs_wait_is_ours_and_a_job_that_trains_never_meets_it(
    past: History, on: Case, action: type[Action]
) -> None:
    chosen = act(past, on)
    assert isinstance(chosen, action)


def test_how_long_a_job_may_wait_goes_with_it_even_while_it_trains() -> None:
    on = limits(PATIENT, DEMAND, max_total_wait=900.0)
    chosen = act(History(1, (attempt(1, None, rung=PATIENT, created=later(seconds=-400), active_seconds=100.0),)), on)
    assert isinstance(chosen, Wait)
    assert chosen.capacity_timeout == 600.0
    tired = act(History(1, (attempt(1, None, rung=PATIENT, created=later(seconds=-700), active_seconds=100.0),)), on)
    assert isinstance(tired, Wait)
    assert tired.capacity_timeout == 300.0


def test_all_waits_together_have_an_end_and_training_does_not_count() -> None:
    on = limits(SPOT, DEMAND, max_total_wait=1_000.0)

    def past(worked: float) -> History:
        done = attempt(1, O.CAPACITY_TIMEOUT, created=later(seconds=-5_000), active_seconds=worked)
        return History(1, (done,))

    assert isinstance(act(past(4_500.0), on), Submit)
    spent = act(past(3_999.0), on)
    assert isinstance(spent, Fail)
    assert (spent.kind, "max_total_wait" in spent.why) == (O.CAPACITY_TIMEOUT, True)
    stopped = History(1, (attempt(1, O.STOPPED_BY_OPERATOR, created=later(seconds=-5_000)),))
    after = act(stopped, on)
    assert isinstance(after, Fail)
    assert after.kind is O.CAPACITY_TIMEOUT


def test_as_many_jobs_as_max_attempts_and_no_more() -> None:
    on = limits(max_attempts=2)
    assert climb(on, O.NO_CAPACITY, O.NO_CAPACITY, O.NO_CAPACITY) == [A, A, "Fail"]
    end = act(history(O.NO_CAPACITY, O.NO_CAPACITY), on, later(days=1))
    assert isinstance(end, Fail)
    assert end.kind is O.NO_CAPACITY
    # Attempts of earlier tries count for nothing.
    assert isinstance(act(history(*[O.NO_CAPACITY] * 2, first_of_try=2), on, later(days=1)), Submit)


@pytest.mark.parametrize(
    ("codes", "errors", "action"),
    [
        ([1], 0, "Fail"),
        ([1], 1, A),
        ([1, 1], 1, "Fail"),
        ([42], 0, A),
        ([42] * 9, 0, A),
        ([42, 1, 42], 0, "Fail"),
        ([42, 1, 42], 1, A),
        ([None], 0, "Fail"),
    ],
)
def test_script_errors_have_a_budget_of_their_own_and_some_codes_none(
    codes: list[int | None], errors: int, action: str
) -> None:
    past = tuple(attempt(n, O.SCRIPT_ERROR, exit_code=code) for n, code in enumerate(codes, 1))
    on = limits(script_errors=errors, retry_exit_codes=frozenset({42}))
    chosen: Action = Pause(NOW, "")
    if codes[-1] == 42 or errors:
        paused = act(History(1, past), on)
        assert isinstance(paused, (Pause, Fail)), "a script that fails at once is not started again at once"
    for ends in range(1, len(codes) + 1):
        chosen = act(History(1, past[:ends]), on, later(days=1))
        if isinstance(chosen, Fail):
            break
    assert (str(chosen.rung) if isinstance(chosen, Submit) else type(chosen).__name__) == action


def test_a_job_that_is_cut_off_is_gone_on_from_within_a_total() -> None:
    cut = {"outcome": O.MAX_RUNTIME_EXCEEDED, "training_seconds": 100}
    past = History(1, tuple(attempt(number, **cut) for number in (1, 2)))  # type: ignore[arg-type]
    assert isinstance(act(past, limits(max_total_run=201.0)), Submit)
    end = act(past, limits(max_total_run=200.0))
    assert isinstance(end, Fail)
    assert "max_total_run" in end.why
    assert isinstance(act(past), Fail)


# ---- no progress, and all that was trained


STUCK = Progress(barren=3)


@pytest.mark.parametrize(
    ("barren", "most", "stops"), [(2, 3, False), (3, 3, True), (9, 3, True), (9, None, False), (1, 1, True)]
)
def test_a_live_spot_job_is_stopped_after_so_many_starts_without_progress(
    barren: int, most: int | None, stops: bool
) -> None:
    past = replace(history(None), progress=Progress(barren=barren))
    action = act(past, limits(progress=ProgressRules(600, most)))
    assert isinstance(action, Stop) == stops
    if isinstance(action, Stop):
        assert action.reason is StopReason.NO_PROGRESS
        assert f"{barren} starts in a row left nothing new" in action.why
        assert "no on-demand rung" in action.why


def test_where_the_ladder_has_an_on_demand_rung_it_moves_there() -> None:
    case = limits(SPOT, OTHER, DEMAND)
    stop = act(replace(history(None), progress=STUCK), case)
    assert isinstance(stop, Stop)
    assert f"it moves to {DEMAND}" in stop.why
    stopped = replace(history(O.NO_PROGRESS), progress=STUCK)
    submit = act(stopped, case)
    assert isinstance(submit, Submit)
    assert submit.rung == DEMAND
    # There it stays, whatever it has trained in vain before, and comes back to no spot rung for want of capacity.
    there = History(1, (*stopped.attempts, attempt(2, None, rung=DEMAND)), progress=STUCK)
    assert isinstance(act(there, case), Wait)
    missed = History(1, (*stopped.attempts, attempt(2, O.NO_CAPACITY, rung=DEMAND)), progress=STUCK)
    again = act(missed, case, later(days=1))
    assert isinstance(again, Submit)
    assert again.rung == DEMAND
    pause = act(missed, case)
    assert isinstance(pause, Pause)


@pytest.mark.parametrize("ended", [O.NO_PROGRESS, O.MAX_WAIT_EXCEEDED, O.CAPACITY_TIMEOUT, O.STOPPED_BY_OPERATOR])
def test_without_one_the_run_fails(ended: Outcome) -> None:
    action = act(replace(history(ended), progress=STUCK))
    assert isinstance(action, Fail)
    assert action.kind is O.NO_PROGRESS
    assert "3 starts in a row" in action.why


def test_one_that_left_something_after_all_goes_on_where_it_was() -> None:
    """On SIGTERM, when it was stopped for want of that."""
    action = act(history(O.NO_PROGRESS), limits(SPOT, DEMAND))
    assert isinstance(action, Submit)
    assert action.rung == SPOT


def test_a_success_is_one_whatever_it_left() -> None:
    assert isinstance(act(replace(history(O.COMPLETED), progress=STUCK)), Succeed)


def test_a_try_that_begins_counts_anew() -> None:
    past = history(O.NO_PROGRESS, first_of_try=2)
    assert isinstance(act(past), Submit)


@pytest.mark.parametrize("ended", [O.MAX_WAIT_EXCEEDED, O.MOVED, O.SERVICE_ERROR, O.NO_CAPACITY, O.NO_PROGRESS])
def test_max_total_run_bounds_what_no_job_was_cut_off_in(ended: Outcome) -> None:
    past = History(1, tuple(attempt(number, ended, training_seconds=100) for number in (1, 2)))
    action = act(past, limits(max_total_run=200.0), later(days=1))
    assert isinstance(action, Fail)
    assert action.kind is O.MAX_RUNTIME_EXCEEDED
    assert "max_total_run" in action.why
    assert isinstance(act(past, limits(max_total_run=201.0), later(days=1)), Submit)


def test_what_uploads_has_trained_and_is_not_stopped() -> None:
    uploads = replace(attempt(1, None, training_seconds=500), secondary_status="Uploading")
    assert isinstance(act(History(1, (uploads,)), limits(max_total_run=200.0)), Wait)
    stuck = History(1, (uploads,), progress=Progress(barren=9))
    assert isinstance(act(stuck, limits()), Wait)
    assert isinstance(act(replace(stuck, attempts=(attempt(1, None),)), limits()), Stop)


def test_a_job_that_was_stopped_for_max_total_run_is_the_last_though_its_figure_comes_short() -> None:
    stopped = history(O.STOPPED_BY_OPERATOR, training_seconds=3598, stop=StopMark("max-total-run", 1))
    assert isinstance(act(stopped, limits(max_total_run=3600.0), later(days=1)), Fail)
    killed_before = history(O.STOPPED_BY_OPERATOR, training_seconds=3598, stop=StopMark("killed", 1))
    assert isinstance(act(killed_before, limits(max_total_run=3600.0), later(days=1)), Submit)


def test_max_total_run_bounds_a_job_that_trains() -> None:
    trains = (Start(NOW, NOW, NOW),)
    past = History(1, (attempt(1, O.MOVED, training_seconds=100), attempt(2, None, starts=trains)))
    case = limits(max_total_run=200.0)
    wait = act(past, case, later(seconds=40))
    assert isinstance(wait, Wait)
    assert wait.until == later(seconds=100)
    stop = act(past, case, later(seconds=100))
    assert isinstance(stop, Stop)
    assert stop.reason is StopReason.MAX_TOTAL_RUN
    stopped = attempt(2, O.STOPPED_BY_OPERATOR, starts=(Start(NOW, NOW, NOW, ended=later(seconds=100)),))
    assert isinstance(act(History(1, (past.attempts[0], stopped)), case, later(seconds=101)), Fail)


def test_one_that_waits_is_not_looked_at_again_and_again_for_its_last_second() -> None:
    waits = attempt(1, None, training_seconds=199, waiting_since=NOW)
    wait = act(History(1, (waits,)), limits(max_total_run=200.0))
    assert isinstance(wait, Wait)
    assert wait.until == later(seconds=300)
