"""The decision table, and what holds for any history."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_spot.core.attempt import Attempt
from airflow_spot.core.backoff import Backoff
from airflow_spot.core.decide import Action, Fail, Pause, Stop, Submit, Succeed, Wait, decide
from airflow_spot.core.history import History
from airflow_spot.core.ladder import Rung
from airflow_spot.core.marks import StopMark
from airflow_spot.core.outcomes import Outcome
from airflow_spot.core.progress import Progress, ProgressRules
from airflow_spot.core.starts import Start
from airflow_spot.core.stop_reasons import StopReason
from tests.core.cases import FOLDER, NOW, SPOT, Case, attempt, history, later, limits, refusal

O = Outcome  # noqa: E741 (a table of many)
DEMAND = Rung("ml.g5.xlarge", 1, False)
OTHER = Rung("ml.g4dn.xlarge")
DAY = {"now": later(days=1)}


def act(past: History, on: Case | None = None, now: datetime = NOW) -> Action:
    """Decide."""
    case = on or limits()
    return decide(case.limits, past, now, case.policy)


@pytest.mark.parametrize(
    ("past", "now", "number"),
    [
        (history(), NOW, 1),
        (history(O.STOPPED_BY_OPERATOR), NOW, 2),
        (history(O.CAPACITY_TIMEOUT), NOW, 2),
        (history(O.CAPACITY_TIMEOUT, O.STOPPED_BY_OPERATOR, O.CAPACITY_TIMEOUT), NOW, 4),
        (history(O.NO_CAPACITY), later(days=1), 2),
        (history(O.NO_CAPACITY, ended=None), NOW, 2),
        (history(O.SERVICE_ERROR), later(minutes=1), 2),
        (history(*[O.SERVICE_ERROR] * 5), later(minutes=15), 6),
        (history(*[O.SERVICE_ERROR] * 5, O.STOPPED_BY_OPERATOR), NOW, 7),
        # What ended before this try is closed, whatever it was.
        *((history(outcome, first_of_try=2), NOW, 2) for outcome in Outcome if outcome is not O.COMPLETED),
        (history(*[O.SERVICE_ERROR] * 9, first_of_try=5), later(minutes=15), 10),
        (history(O.SCRIPT_ERROR, O.STOPPED_BY_OPERATOR, first_of_try=2), NOW, 3),
    ],
)
def test_a_next_attempt(past: History, now: datetime, number: int) -> None:
    action = act(past, now=now)
    assert isinstance(action, Submit)
    assert (action.number, action.rung) == (number, SPOT)
    assert action.why


@pytest.mark.parametrize(
    ("past", "kind", "says"),
    [
        (history(O.MAX_RUNTIME_EXCEEDED), O.MAX_RUNTIME_EXCEEDED, "Raise max_run"),
        (history(O.SCRIPT_ERROR), O.SCRIPT_ERROR, "script failed"),
        (history(O.INVALID_REQUEST), O.INVALID_REQUEST, "would not help"),
        (history(O.STOPPED_EXTERNALLY), O.STOPPED_EXTERNALLY, "Clear the task"),
        (history(O.UNKNOWN), O.UNKNOWN, "does not know"),
        (history(*[O.SERVICE_ERROR] * 6), O.SERVICE_ERROR, "6 times"),
        (history(O.SERVICE_ERROR, *[O.SERVICE_ERROR] * 6, first_of_try=2), O.SERVICE_ERROR, "6 times"),
        (history(O.NO_CAPACITY, O.SCRIPT_ERROR), O.SCRIPT_ERROR, "script failed"),
    ],
)
def test_an_end_in_failure(past: History, kind: Outcome, says: str) -> None:
    action = act(past)
    assert isinstance(action, Fail)
    assert (action.attempt, action.kind) == (past.last, kind)
    assert says in action.why


@pytest.mark.parametrize("first_of_try", [1, 2])
@pytest.mark.parametrize("give_up_at", [None, later(seconds=-1), later(days=1)])
def test_a_completed_job_is_a_success_even_when_late_or_of_an_earlier_try(
    first_of_try: int, give_up_at: datetime | None
) -> None:
    past = history(O.COMPLETED, first_of_try=first_of_try)
    assert act(past, limits(give_up_at=give_up_at)) == Succeed(past.attempts[0])


@pytest.mark.parametrize(
    ("status", "give_up_at", "action"),
    [
        ("InProgress", None, Wait),
        ("InProgress", later(hours=1), Wait),
        ("InProgress", NOW, Stop),
        ("InProgress", later(hours=-1), Stop),
        ("Stopping", later(hours=-1), Wait),
    ],
)
def test_a_live_job_is_waited_for_until_the_time_is_up(
    status: str, give_up_at: datetime | None, action: type[Action]
) -> None:
    past = history(None, status=status)
    chosen = act(past, limits(give_up_at=give_up_at))
    assert isinstance(chosen, action)
    if isinstance(chosen, Stop):
        assert (chosen.attempt, chosen.reason) == (past.last, "timeout")
    if isinstance(chosen, Wait):
        assert chosen.until == (None if status == "Stopping" else give_up_at)


@pytest.mark.parametrize(("status", "action"), [("InProgress", Stop), ("Stopping", Wait)])
def test_a_job_of_a_run_that_was_started_over_is_stopped(status: str, action: type[Action]) -> None:
    chosen = act(replace(history(None, status=status), restart_requested=True))
    assert isinstance(chosen, action)
    assert not isinstance(chosen, Stop) or chosen.reason is StopReason.RESTART


@pytest.mark.parametrize(
    "past", [history(), history(O.STOPPED_BY_OPERATOR), history(O.NO_CAPACITY), history(O.SCRIPT_ERROR, first_of_try=2)]
)
def test_nothing_is_created_when_the_time_is_up(past: History) -> None:
    action = act(past, limits(give_up_at=NOW))
    assert action == Fail(past.last, None, "the task's time is up, and no job is live")


def test_a_refusal_is_followed_by_a_pause_that_ends() -> None:
    past = history(O.NO_CAPACITY)
    pause = act(past)
    assert isinstance(pause, Pause)
    assert NOW < pause.until <= later(seconds=15)
    assert "ml.g5.xlarge spot" in pause.why
    assert act(past, now=pause.until - timedelta(microseconds=1)) == Pause(
        pause.until, "attempt 1: no capacity for ml.g5.xlarge spot; same checkpoint; again in 0 s"
    )
    assert isinstance(act(past, now=pause.until), Submit)


def test_pauses_double_to_a_cap_and_differ_between_runs() -> None:
    lengths = []
    for misses in range(1, 12):
        pause = act(history(*[O.NO_CAPACITY] * misses))
        assert isinstance(pause, Pause)
        lengths.append((pause.until - NOW).total_seconds())
    for misses, length in enumerate(lengths):
        whole = min(900.0, 15.0 * 2**misses)
        assert whole / 2 <= length <= whole
    ends = {act(history(O.NO_CAPACITY), limits(backoff=Backoff(str(run)))) for run in range(100)}
    assert len(ends) > 30


def test_sagemakers_own_errors_are_paused_after_longer_each_time() -> None:
    """A launch each is billed, and a checkpoint that cannot be restored fails each of them."""
    for errors in range(1, 6):
        past = history(*[O.SERVICE_ERROR] * errors)
        pause = act(past)
        assert isinstance(pause, Pause)
        assert pause.service_errors == errors
        length, whole = (pause.until - NOW).total_seconds(), min(900.0, 60.0 * 2 ** (errors - 1))
        assert whole / 2 <= length <= whole
        again = act(past, now=pause.until)
        assert isinstance(again, Submit)
        assert (again.number, again.why) == (errors + 1, f"attempt {errors}: SageMaker's own error {errors}")


@pytest.mark.parametrize(
    ("past", "alike"),
    [
        (history(O.SERVICE_ERROR, O.NO_CAPACITY, O.SERVICE_ERROR), 1),
        (history(O.SERVICE_ERROR, O.SERVICE_ERROR), 2),
        # What ended before this try is another row.
        (history(*[O.SERVICE_ERROR] * 3, first_of_try=3), 1),
        # A create that was refused in between ended no attempt.
        (replace(history(O.SERVICE_ERROR, O.SERVICE_ERROR), refusals=(refusal(2, O.NO_CAPACITY),)), 2),
        (history(O.SERVICE_ERROR, O.STOPPED_BY_OPERATOR, O.SERVICE_ERROR, O.SERVICE_ERROR), 2),
    ],
)
def test_how_many_of_sagemakers_own_errors_are_in_a_row(past: History, alike: int) -> None:
    pause = act(past)
    assert isinstance(pause, Pause)
    assert pause.service_errors == alike
    assert pause.until <= later(seconds=60.0 * 2 ** (alike - 1))


def test_a_pause_for_another_reason_counts_none_of_sagemakers_errors() -> None:
    pause = act(history(O.SERVICE_ERROR, O.NO_CAPACITY))
    assert isinstance(pause, Pause)
    assert pause.service_errors == 0


# ---- a script that keeps its own checkpoints


OWN = limits(use_checkpoints=False)


@pytest.mark.parametrize("first_of_try", [1, 2])
@pytest.mark.parametrize(
    "outcome", [O.NO_CAPACITY, O.SERVICE_ERROR, O.MAX_WAIT_EXCEEDED, O.MOVED, O.INTERRUPTED, O.STOPPED_BY_OPERATOR]
)
def test_without_checkpoints_a_further_attempt_starts_from_nothing_and_says_so(
    outcome: Outcome, first_of_try: int
) -> None:
    past = history(outcome, checkpoint_s3_uri="", first_of_try=first_of_try)
    again = act(past, OWN, later(days=1))
    assert isinstance(again, Submit)
    assert again.number == 2
    assert "same checkpoint" not in again.why
    assert again.why.endswith(
        "; it starts from nothing as far as Airflow knows: its own checkpoints are the script's matter "
        "(use_checkpoints=False)"
    )
    assert act(past, OWN, later(days=1)) == again


def test_a_first_attempt_without_checkpoints_says_nothing_of_them_refused_or_not() -> None:
    assert act(History(1), OWN) == Submit(1, SPOT, "first attempt")
    again = act(History(1, (), 1, (refusal(1, O.NO_CAPACITY),)), OWN, later(days=1))
    assert again == Submit(1, SPOT, "attempt 1: no capacity for ml.g5.xlarge spot")


def test_the_pause_before_it_does_not_promise_the_same_checkpoint() -> None:
    pause = act(history(O.NO_CAPACITY, checkpoint_s3_uri=""), OWN)
    assert isinstance(pause, Pause)
    assert pause.why.startswith("attempt 1: no capacity for ml.g5.xlarge spot; again in")


@pytest.mark.parametrize("outcome", [O.STOPPED_EXTERNALLY, O.MAX_RUNTIME_EXCEEDED])
def test_an_end_without_checkpoints_names_none(outcome: Outcome) -> None:
    kept, own = act(history(outcome)), act(history(outcome, checkpoint_s3_uri=""), OWN)
    assert isinstance(kept, Fail) and isinstance(own, Fail)
    assert "go on from the checkpoint" in kept.why
    assert own.why == kept.why.replace(" from the checkpoint", "")


@pytest.mark.parametrize(
    ("kept", "use_checkpoints", "says"),
    [
        ([True, True], True, "; same checkpoint"),
        ([True, False], True, "; same checkpoint"),  # back again: what the first one kept is there
        ([False, False], True, "SageMaker kept no checkpoints of the run so far"),
        ([True, True], False, "as far as Airflow knows"),
    ],
)
def test_what_an_attempt_goes_on_from_after_use_checkpoints_changed(
    kept: list[bool], use_checkpoints: bool, says: str
) -> None:
    attempts = tuple(
        attempt(number, O.NO_CAPACITY, checkpoint_s3_uri=FOLDER if has else "") for number, has in enumerate(kept, 1)
    )
    again = act(History(1, attempts), limits(use_checkpoints=use_checkpoints), later(days=1))
    assert isinstance(again, Submit)
    assert says in again.why
    assert ("same checkpoint" in again.why) == (says == "; same checkpoint")


def test_of_an_attempt_of_which_little_is_known_it_is_not_said_that_it_kept_none() -> None:
    """A deferral carries how attempts ended, and not where they kept their checkpoints."""
    attempts = (
        attempt(1, O.NO_CAPACITY, checkpoint_s3_uri="", whole=False),
        attempt(2, O.NO_CAPACITY, checkpoint_s3_uri=""),
    )
    again = act(History(1, attempts), limits(), later(days=1))
    assert isinstance(again, Submit)
    assert "nothing" not in again.why


def test_many_misses_do_not_overflow() -> None:
    pause = act(history(*[O.NO_CAPACITY] * 2_000))
    assert isinstance(pause, Pause)
    assert pause.until <= later(seconds=900)


def test_a_pause_ends_with_the_tasks_time() -> None:
    past, on = history(*[O.NO_CAPACITY] * 9), limits(give_up_at=later(seconds=20))
    pause = act(past, on)
    assert isinstance(pause, Pause)
    assert pause.until == later(seconds=20)
    assert isinstance(act(past, on, pause.until), Fail)


def test_the_ladder_is_gone_round_without_a_pause_inside_a_round() -> None:
    on = limits(SPOT, OTHER, DEMAND)
    past: tuple[Attempt, ...] = ()
    actions: list[Action] = []
    for number in range(1, 8):
        actions.append(act(History(1, past), on))
        action = act(History(1, past), on, later(days=1))
        assert isinstance(action, Submit)
        past = (*past, attempt(number, O.NO_CAPACITY, rung=action.rung))
    assert [str(a.rung) for a in past] == [str(rung) for rung in (SPOT, OTHER, DEMAND) * 2 + (SPOT,)]
    assert [type(each) for each in actions] == [Submit, Submit, Submit, Pause, Submit, Submit, Pause]


@pytest.mark.parametrize("outcome", [O.SERVICE_ERROR, O.STOPPED_BY_OPERATOR])
def test_the_same_rung_where_the_rung_was_not_the_reason(outcome: Outcome) -> None:
    on = limits(SPOT, OTHER)
    again = act(history(outcome, rung=OTHER), on, later(minutes=1))
    gone = act(history(outcome, rung=DEMAND), on, later(minutes=1))
    assert isinstance(again, Submit) and again.rung == OTHER
    assert isinstance(gone, Submit) and gone.rung == SPOT  # the rung is no longer on the ladder


# ---- for any history

moments = st.integers(-(10**6), 10**6).map(lambda s: NOW + timedelta(seconds=s))
rungs_ = st.sampled_from([SPOT, OTHER, DEMAND])
attempts_ = st.builds(
    lambda number, outcome, rung, ended, prefix: attempt(number, outcome, rung=rung, ended=ended, prefix=prefix),
    st.integers(1, 6),
    st.none() | st.sampled_from(Outcome),
    rungs_,
    st.none() | moments,
    st.sampled_from(["train", "renamed"]),
)
histories = st.builds(
    lambda attempts, first: History(1, tuple(sorted(attempts, key=lambda a: a.number)), first),
    st.lists(attempts_, max_size=6, unique_by=lambda a: a.job_name),
    st.integers(1, 8),
)
limits_ = st.builds(
    lambda ladder, give_up_at, faults: limits(*ladder, give_up_at=give_up_at, service_faults=faults),
    st.lists(rungs_, min_size=1, max_size=3, unique=True),
    st.none() | moments,
    st.integers(0, 3),
)


@given(limits_, histories, moments)
def test_what_always_holds(on: Case, past: History, now: datetime) -> None:
    action = decide(on.limits, past, now, on.policy)
    live = [a for a in past.attempts if a.live]
    if live:
        assert isinstance(action, (Wait, Stop))
        assert action.attempt in live
    else:
        assert not isinstance(action, (Wait, Stop))
    if isinstance(action, Submit):
        assert action.number == max((a.number for a in past.attempts), default=0) + 1
        assert action.rung in on.ladder
        assert on.give_up_at is None or now < on.give_up_at
    if isinstance(action, Succeed):
        assert action.attempt.outcome is O.COMPLETED
        assert action.attempt in past.attempts
    if isinstance(action, Pause):
        assert action.until > now
        assert on.give_up_at is None or action.until <= on.give_up_at
    if isinstance(action, Fail):
        assert action.attempt is past.last
        assert action.kind is not O.COMPLETED
    assert decide(on.limits, past, now, on.policy) == action


@given(limits_, st.lists(st.sampled_from(Outcome), min_size=60, max_size=60))
def test_without_time_passing_the_loop_ends_or_pauses(on: Case, ends: list[Outcome]) -> None:
    """Only MaxWait spent (which takes hours) and our own stops may follow each other without a pause."""
    past, now, refusals = History(1), NOW, 0
    for outcome in ends:
        action = decide(on.limits, past, now, on.policy)
        if isinstance(action, (Succeed, Fail)):
            return
        if isinstance(action, Pause):
            now = action.until
            continue
        assert isinstance(action, Submit)
        refusals = refusals + 1 if now == NOW and outcome in (O.NO_CAPACITY, O.SERVICE_ERROR) else refusals
        assert refusals <= len(on.ladder) + on.service_faults + 1
        past = History(1, (*past.attempts, attempt(action.number, outcome, rung=action.rung, ended=now)))


@given(limits_, st.sampled_from([O.NO_CAPACITY, O.SERVICE_ERROR, O.SCRIPT_ERROR, O.UNKNOWN]))
def test_the_same_refusal_for_ever_is_bounded_or_paused(on: Case, outcome: Outcome) -> None:
    past = History(1)
    for _ in range(len(on.ladder) + on.service_faults + 1):
        action = decide(on.limits, past, NOW, on.policy)
        if not isinstance(action, Submit):
            break
        past = History(1, (*past.attempts, attempt(action.number, outcome, rung=action.rung)))
    assert isinstance(decide(on.limits, past, NOW, on.policy), (Pause, Fail))


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
