"""Durations as people write them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_spot.core.durations import human, interval, seconds
from airflow_spot.core.parameter_errors import InvalidParameterError


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (90, 90),
        (90.7, 90),
        ("90", 90),
        (" 90s ", 90),
        ("30m", 1_800),
        ("2h", 7_200),
        ("1.5H", 5_400),
        ("1d", 86_400),
        (timedelta(hours=6), 21_600),
    ],
)
def test_a_duration_is_read(value: object, expected: int) -> None:
    assert seconds("max_run", value) == expected


@pytest.mark.parametrize(
    "value",
    [0, -5, 0.5, "", "soon", "1w", "-1h", "1h30m", True, None, [], float("nan"), float("inf"), timedelta(0)],
)
def test_what_is_no_duration_is_refused_by_name(value: object) -> None:
    with pytest.raises(InvalidParameterError) as refused:
        seconds("max_run", value)
    assert refused.value.name == "max_run"
    assert repr(value)[:20] in str(refused.value)
    assert "second" in str(refused.value)


@pytest.mark.parametrize(("value", "expected"), [(30, 30.0), (0.5, 0.5), ("30", 30.0), (" 1.5 ", 1.5)])
def test_an_interval_is_read(value: object, expected: float) -> None:
    assert interval("check_interval", value) == expected


@pytest.mark.parametrize("value", [0, -5, "", "abc", "30s", True, None, [], float("nan"), float("inf")])
def test_what_is_no_interval_is_refused_by_name(value: object) -> None:
    with pytest.raises(InvalidParameterError, match="must be seconds, above 0") as refused:
        interval("check_interval", value)
    assert (refused.value.name, refused.value.value) == ("check_interval", value)


@given(st.integers(1, 10**9))
def test_the_same_in_every_form(amount: int) -> None:
    forms = [amount, float(amount), str(amount), f"{amount}s", timedelta(seconds=amount)]
    assert {seconds("max_run", form) for form in forms} == {amount}


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0, "0 s"),
        (42, "42 s"),
        (119.4, "119 s"),
        (120, "2 min 00 s"),
        (3_725, "62 min 05 s"),
        (7_199.6, "2 h 00 min"),
        (7_200, "2 h 00 min"),
        (90_061, "25 h 01 min"),
    ],
)
def test_a_duration_is_written(amount: float, text: str) -> None:
    assert human(amount) == text
