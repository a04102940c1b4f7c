"""Where a training goes that used up its instance's memory: to rungs with more, from which it does not come back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from airflow_spot.core.decide import Fail, Pause, Submit, decide
from airflow_spot.core.history import History, Refusal
from airflow_spot.core.ladder import Rung, read_ladder
from airflow_spot.core.outcomes import Outcome
from airflow_spot.core.parameter_errors import InvalidParameterError
from airflow_spot.core.policy import Stay
from airflow_spot.policies.ladder import LadderPolicy
from tests.core.cases import NOW, attempt, limits

SMALL, OTHER = Rung("ml.m5.xlarge"), Rung("ml.m4.xlarge")
LARGE, LARGEST = Rung("ml.m5.4xlarge", on="out_of_memory"), Rung("ml.r5.4xlarge", on="out_of_memory")
LADDER = (SMALL, LARGE, OTHER, LARGEST)  # the two kinds may be mixed
OOM, MISS, FAULT = Outcome.OUT_OF_MEMORY, Outcome.CAPACITY_TIMEOUT, Outcome.SERVICE_ERROR


def rung_after(*past: tuple[Rung, Outcome]) -> Rung | None:
    events = [attempt(number, outcome, rung=rung) for number, (rung, outcome) in enumerate(past, 1)]
    chosen = LadderPolicy(LADDER).next_rung(events)
    return chosen.rung if chosen else None


@pytest.mark.parametrize(
    ("past", "rung"),
    [
        ([], SMALL),
        ([(SMALL, MISS)], OTHER),
        ([(SMALL, MISS), (OTHER, MISS)], SMALL),
        ([(SMALL, OOM)], LARGE),
        ([(SMALL, MISS), (OTHER, OOM)], LARGE),
        ([(SMALL, OOM), (LARGE, FAULT)], LARGE),
        ([(SMALL, OOM), (LARGE, MISS)], LARGEST),
        ([(SMALL, OOM), (LARGE, MISS), (LARGEST, MISS)], LARGE),
        ([(SMALL, OOM), (LARGE, OOM)], LARGEST),
        ([(SMALL, OOM), (LARGE, OOM), (LARGEST, MISS)], LARGEST),
        ([(SMALL, OOM), (LARGE, OOM), (LARGEST, OOM)], LARGEST),
        ([(Rung("ml.c5.xlarge"), OOM)], SMALL),  # a rung that the ladder has no more
    ],
)
def test_the_rung_after(past: list[tuple[Rung, Outcome]], rung: Rung) -> None:
    assert rung_after(*past) == rung


def action_after(*past: Outcome, ladder: tuple[Rung, ...], first_of_try: int = 1, **more: Any) -> object:
    case = limits(*ladder, **more)
    attempts = tuple(attempt(n, outcome, rung=ladder[min(n, len(ladder)) - 1]) for n, outcome in enumerate(past, 1))
    return decide(case.limits, History(1, attempts, first_of_try), NOW, case.policy)


def test_a_training_goes_on_with_more_memory_and_counts_against_no_budget() -> None:
    action = action_after(OOM, ladder=(SMALL, LARGE))
    assert action == Submit(2, LARGE, "attempt 1: it used up the memory of ml.m5.xlarge spot; same checkpoint")


def test_where_no_rung_has_more_the_script_has_failed() -> None:
    for ladder, past in (((SMALL,), [OOM]), ((SMALL, LARGE), [OOM, OOM])):
        action = action_after(*past, ladder=ladder)
        assert isinstance(action, Fail)
        assert action.kind is OOM
        assert f"it used up the memory of {ladder[-1]}" in action.why
        assert 'on="out_of_memory"' in action.why


def test_there_it_has_the_scripts_budget() -> None:
    action = action_after(OOM, OOM, ladder=(SMALL, LARGE), script_errors=1)
    assert isinstance(action, Pause)
    assert "script error 1 of 1" in action.why


def test_a_retry_begins_where_there_is_enough_memory() -> None:
    action = action_after(OOM, OOM, ladder=(SMALL, LARGE), first_of_try=3)
    assert isinstance(action, Submit) and action.rung == LARGE
    case = limits(SMALL, LARGE)
    refused = (Refusal(2, str(LARGE), Outcome.QUOTA_TOO_SMALL, NOW, "no quota"),)
    history = History(1, (attempt(1, OOM, rung=SMALL),), 2, refused)
    closed = decide(case.limits, history, NOW, case.policy)
    assert isinstance(closed, Fail) and closed.kind is Outcome.QUOTA_TOO_SMALL
    assert closed.why.startswith("no rung with more memory than ml.m5.xlarge spot has a quota")


def test_a_retry_forgets_it_neither_after_many_attempts_nor_where_they_are_not_read() -> None:
    unread = tuple(replace(attempt(number, Outcome.UNKNOWN), rung="") for number in range(1, 5))
    newest = (attempt(5, MISS, rung=LARGE), attempt(6, Outcome.SCRIPT_ERROR, rung=LARGE))
    case = limits(SMALL, LARGE)
    action = decide(case.limits, History(1, (*unread, *newest), 7), NOW, case.policy)
    assert isinstance(action, Submit) and action.rung == LARGE


def test_another_training_begins_on_the_usual_rungs() -> None:
    policy = LadderPolicy((SMALL, LARGE), fingerprint="a smaller batch")
    earlier = [attempt(1, OOM, rung=SMALL, fingerprint="a large batch")]
    chosen = policy.next_rung((), earlier=earlier)
    assert chosen is not None and chosen.rung == SMALL


def test_a_quota_of_nothing_for_the_larger_type_leaves_the_next_larger() -> None:
    policy = LadderPolicy(LADDER)
    past = [attempt(1, OOM, rung=SMALL), Refusal(2, str(LARGE), Outcome.QUOTA_TOO_SMALL, NOW, "no quota")]
    chosen = policy.next_rung(past)
    assert chosen is not None and chosen.rung == LARGEST
    assert policy.next_rung([*past, Refusal(2, str(LARGEST), Outcome.QUOTA_TOO_SMALL, NOW, "no quota")]) is None


def test_a_rung_without_another_of_its_kind_is_not_left_for_a_wait() -> None:
    patient = Rung("ml.m5.xlarge", wait=600.0)
    live = attempt(1, None, rung=patient)
    assert LadderPolicy((patient, LARGE)).review(live, (live,), NOW) == Stay(None)
    assert LadderPolicy((patient, OTHER)).review(live, (live,), NOW) == Stay(600.0)


@pytest.mark.parametrize("ladder", [[LARGE], [{"instance_type": "ml.m5.xlarge", "on": "out_of_memory"}]])
def test_a_ladder_needs_a_rung_to_begin_on(ladder: list[Any]) -> None:
    with pytest.raises(InvalidParameterError, match="where to begin"):
        read_ladder(ladder)


def test_what_a_rung_is_for_is_checked() -> None:
    with pytest.raises(InvalidParameterError, match=r'ladder\[1\]\.on .*is "out_of_memory"'):
        read_ladder(["ml.m5.xlarge", {"instance_type": "ml.m5.4xlarge", "on": "error"}])
    assert read_ladder(["ml.m5.xlarge", {"instance_type": "ml.m5.4xlarge", "on": "out_of_memory"}])[1].on
