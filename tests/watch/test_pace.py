"""Slower where calls are throttled, back again where they are not, and never all at once."""

from __future__ import annotations

import random

import pytest

from airflow_spot.watch.pace import Pace, retry_delay, safety_delay


def test_pauses_grow_to_a_limit_and_begin_anew_after_an_answer() -> None:
    pace = Pace()
    assert [pace.failed(0) for _ in range(9)] == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    pace.answered()
    assert pace.failed(0) == 1
    assert 0.5 <= Pace().failed(0.999) < 0.51


@pytest.mark.parametrize(("share", "slow"), [(0.1, False), (0.6, True)])
def test_it_adapts_to_the_share_of_calls_that_are_throttled(share: float, slow: bool) -> None:
    pace, jitter, factors = Pace(), random.Random(1), []
    for _ in range(2_000):
        if jitter.random() < share:
            pace.throttled(jitter.random())
        else:
            pace.answered()
        factors.append(pace.factor)
    mean = sum(factors[200:]) / len(factors[200:])
    assert mean > 8 if slow else mean < 1.2
    for _ in range(50):
        pace.answered()
    assert pace.factor == 1.0


def test_the_interval_is_stretched() -> None:
    pace = Pace()
    assert pace.interval(15, 1, 0) == 15
    assert pace.interval(15, 50, 0) == 50  # a list a second
    assert pace.interval(0.1, 0, 1) == 0.1
    assert pace.interval(15, 0, 101) == 50  # two describes a second
    pace.throttled(0)
    assert pace.interval(16, 1, 0) == 20


def test_safety_describes_part() -> None:
    assert (safety_delay(0), safety_delay(0.5)) == (1860, 2130)
    assert retry_delay(1, 0) == 5
    assert retry_delay(40, 0) == 300
    assert retry_delay(1, 0.999) > 3.7
