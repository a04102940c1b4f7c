from __future__ import annotations

from decimal import Decimal

import pytest

from airflow_spot.render import words
from airflow_spot.render.scale import Scale


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (None, "–"),  # noqa: RUF001
        (0, "0 s"),
        (0.4, "0 s"),
        (59.6, "1 min"),
        (84, "1 min 24 s"),
        (3_600, "1 h"),
        (19_620, "5 h 27 min"),
        (108_000, "30 h"),
        (183_600, "2 d 3 h"),
        (-90, "−1 min 30 s"),  # noqa: RUF001
    ],
)
def test_durations(seconds: float | None, told: str) -> None:
    assert words.duration(seconds) == told


@pytest.mark.parametrize(
    ("seconds", "told"), [(84, "1 min 24 s"), (1_525, "25 min"), (39_720, "11 h"), (9_540, "2 h 39 min")]
)
def test_rough_durations(seconds: float, told: str) -> None:
    assert words.rough(seconds) == told


@pytest.mark.parametrize(
    ("seconds", "told"), [(0, "0 h"), (104, "1 min 44 s"), (360, "0.1 h"), (5_400, "1.5 h"), (3_740_400, "1,039 h")]
)
def test_hours(seconds: float, told: str) -> None:
    assert words.hours(seconds) == told


@pytest.mark.parametrize(
    ("value", "told"),
    [(None, "–"), (62.14, "62.1 %"), (-0.04, "0.0 %"), (-3.0, "−3.0 %")],  # noqa: RUF001
)
def test_percent(value: float | None, told: str) -> None:
    assert words.percent(value) == told


@pytest.mark.parametrize(
    ("amount", "currency", "whole", "told"),
    [
        ("0", "USD", False, "$0.00"),
        ("0.0008", "USD", False, "$0.0008"),
        ("0.889", "USD", False, "$0.889"),
        ("3.14159", "USD", False, "$3.14"),
        ("1234.5", "EUR", False, "1,234.50 EUR"),
        ("8388.49", "USD", True, "$8,388"),
        ("-5.1", "USD", False, "−$5.10"),  # noqa: RUF001
    ],
)
def test_money(amount: str, currency: str, whole: bool, told: str) -> None:
    assert words.money(Decimal(amount), currency, whole=whole) == told


def test_a_text_of_others_is_one_line_and_prints() -> None:
    assert words.clean("a\nb\x1b[31m\u202ec") == "a b\N{REPLACEMENT CHARACTER}[31m\N{REPLACEMENT CHARACTER}c"
    assert words.clean("x" * 30, 10) == "xxxxxxxxxx …"


def test_a_long_name_keeps_its_end() -> None:
    assert words.short("a" * 60) == "a" * 60
    assert words.short("a" * 70 + "b7") == "a" * 30 + "…" + "a" * 28 + "b7"


def test_every_state_of_the_ledger_has_words() -> None:
    from airflow_spot.render.ledger_format import STATES

    assert set(words.STATES) == set(STATES)


@pytest.mark.parametrize("seconds", [1, 10, 90, 600, 3_600, 40_000, 86_400, 10 * 86_400, 400 * 86_400, 1e9])
def test_an_axis_has_a_few_round_times_that_differ(seconds: float) -> None:
    scale = Scale.over(1_795_871_040.0, 1_795_871_040.0 + seconds)
    marks = scale.marks()
    assert 1 <= len(marks) <= 8
    places = [mark.x for mark in marks]
    assert places == sorted(set(places))
    assert len({mark.label for mark in marks}) == len(marks)


def test_times_beyond_a_scale_are_at_its_ends() -> None:
    scale = Scale.over(0.0, 100.0)
    assert (scale.at(-5.0), scale.at(1e9), scale.at(50.6)) == (0.0, 100.0, 50.0)
