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
from airflow_spot.core.outcomes import Outcome
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
        (history(*[O.SERVICE_ERROR] * 6), O.SERVICE_ERROR, "6 internal errors"),
        (history(O.SERVICE_ERROR, *[O.SERVICE_ERROR] * 6, first_of_try=2), O.SERVICE_ERROR, "6 internal errors"),
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
        assert (again.number, again.why) == (errors + 1, f"attempt {errors}: SageMaker internal error {errors}")


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
        "; it starts from nothing as far as Airflow knows: the script manages its own checkpoints "
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
    assert "resume from the checkpoint" in kept.why
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
