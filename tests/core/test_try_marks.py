"""A person's restart is told from a retry, from a zombie, from an older database and from another task's clear."""

from __future__ import annotations

from datetime import datetime

import pytest

from airflow_spot.core.try_marks import TryMark
from tests.core.cases import NOW, later

BEFORE, AFTER = later(hours=-1), later(hours=1)


def mark(number: int, max_tries: int, retries: int | None, clears: int | None, run: datetime = BEFORE) -> TryMark:
    return TryMark(number, max_tries, retries, clears, run_started=run)


@pytest.mark.parametrize(
    ("case", "earlier", "now", "restart"),
    [
        ("an automatic retry", mark(1, 2, 2, 0), mark(2, 2, 2, 0), False),
        ("a clear", mark(1, 2, 2, 0), mark(2, 3, 2, 1, AFTER), True),
        ("a clear that leaves the DAG run as it is", mark(1, 2, 2, 0), mark(2, 3, 2, 0), True),
        ("a clear with retries lowered to what max_tries was", mark(1, 2, 2, 0), mark(2, 2, 1, 1, AFTER), True),
        ("a clear with retries lowered below it", mark(1, 3, 3, 0), mark(2, 2, 1, 1, AFTER), True),
        ("another task of the run was cleared", mark(1, 2, 2, 0), mark(2, 2, 2, 1, AFTER), False),
        ("a retry after the DAG's retries were edited", mark(1, 2, 2, 0), mark(2, 2, 1, 0), False),
        ("an older database, with the try's numbers continuing", mark(1, 9, 2, 3), mark(2, 4, 2, 1), False),
        ("a zombie of a try before the clear", mark(4, 6, 2, 1), mark(2, 2, 2, 0), False),
        ("a zombie of the same number", mark(2, 3, 2, 1), mark(2, 2, 2, 0), False),
        ("a DAG run that was deleted and made again", mark(3, 3, 2, 1), mark(1, 2, 2, 0, AFTER), True),
        ("the same, in which a mark has no clear_number", mark(3, 3, None, None), mark(1, 2, 2, 0, AFTER), True),
        ("a clear, of which the mark knows no clear_number", mark(1, 2, None, None), mark(2, 3, 2, 1), True),
    ],
)
def test_what_is_a_restart(case: str, earlier: TryMark, now: TryMark, restart: bool) -> None:
    assert now.is_restart_since(earlier, NOW) is restart, case


@pytest.mark.parametrize(
    ("case", "now", "other", "older"),
    [
        ("a job of a later try", mark(1, 2, 2, 0), mark(2, 2, 2, 0), True),
        ("a job of a try after a clear with the same number", mark(2, 2, 2, 0), mark(2, 3, 2, 1), True),
        ("a job of an earlier try", mark(2, 2, 2, 0), mark(1, 2, 2, 0), False),
        ("a job of the DAG run that was deleted", mark(1, 2, 2, 0, AFTER), mark(4, 6, 2, 3), False),
        ("a job that says nothing", mark(1, 2, 2, 0), None, False),
    ],
)
def test_who_is_older(case: str, now: TryMark, other: TryMark | None, older: bool) -> None:
    assert now.is_older_than(other, NOW) is older, case


def test_a_clear_of_another_task_makes_no_other_try() -> None:
    """A deferred try that continues after it must know the job that it made before."""
    assert mark(1, 2, 2, 1).is_same_try(mark(1, 2, 2, 0))
    assert not mark(2, 2, 2, 0).is_same_try(mark(1, 2, 2, 0))
    assert not mark(1, 2, 2, 0).is_same_try(None)
