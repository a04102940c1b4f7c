"""Jobs that max_wait cuts off while they train: they continue, and not for ever."""

from __future__ import annotations

import pytest

from airflow_spot.core.decide import Fail, Submit, decide
from airflow_spot.core.history import History
from airflow_spot.core.outcomes import Outcome
from tests.core.cases import NOW, attempt, limits

CUT = Outcome.MAX_WAIT_EXCEEDED


def after(*trained: float, folder: str | None = None, **more: float) -> object:
    case = limits(**more)
    where = {} if folder is None else {"checkpoint_s3_uri": folder}
    jobs = tuple(attempt(n, CUT, training_seconds=seconds, **where) for n, seconds in enumerate(trained, 1))
    return decide(case.limits, History(1, jobs), NOW, case.policy)


def test_one_that_trained_less_than_max_run_goes_on() -> None:
    action = after(2_000, max_run=3_600)
    assert isinstance(action, Submit)
    assert action.why == "attempt 1: it trained until max_wait was over; same checkpoint"


@pytest.mark.parametrize("trained", [[3_600], [3_400, 3_400], [1_000] * 4])
def test_together_they_may_train_for_max_run(trained: list[float]) -> None:
    action = after(*trained, max_run=3_600)
    assert isinstance(action, Fail)
    assert action.kind is CUT
    assert "set max_total_run" in action.why


def test_or_for_max_total_run() -> None:
    assert isinstance(after(3_400, 3_400, max_run=3_600, max_total_run=10_000), Submit)
    assert isinstance(after(3_400, 3_400, 3_400, max_run=3_600, max_total_run=10_000), Fail)


def test_where_nothing_is_kept_the_second_is_the_end() -> None:
    assert isinstance(after(10, folder="", max_run=3_600, use_checkpoints=False), Submit)
    assert isinstance(after(10, 10, folder="", max_run=3_600, use_checkpoints=False), Fail)
