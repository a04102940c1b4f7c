"""AWS's own measure of what spot saved."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_spot.core.savings import savings_percent


@pytest.mark.parametrize(
    ("training", "billable", "percent"),
    [(100, 30, 70.0), (100, 100, 0.0), (3, 1, 66.7), (100, 0, 100.0), (60, 90, -50.0), (0, 0, None), (-1, 5, None)],
)
def test_savings(training: float, billable: float, percent: float | None) -> None:
    assert savings_percent(training, billable) == percent


@given(st.integers(1, 10**7), st.integers(0, 10**7))
def test_savings_never_exceed_what_was_trained(training: int, billable: int) -> None:
    percent = savings_percent(training, billable)
    assert percent is not None
    assert percent <= 100
    assert (percent < 0) <= (billable > training)
