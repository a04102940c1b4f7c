"""A wait is told once per change of its words, and once an hour."""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow_spot.core.waits import WaitStory
from tests.core.cases import NOW
from tests.recorded.test_cases import by_id

FIRST, SECOND = by_id("L01")["input"].values()


def told(*looks: tuple[float, str | None]) -> list[bool]:
    """Which looks are told: each so many minutes after the wait began, with SageMaker's words; None: no wait."""
    story = WaitStory()
    return [
        story.is_news(NOW if message is not None else None, message or "", NOW + timedelta(minutes=minutes))
        for minutes, message in looks
    ]


def test_the_transition_tells_the_first_words_and_a_change_is_told_once() -> None:
    assert told((0, FIRST), (1, FIRST), (2, SECOND), (3, SECOND), (4, SECOND)) == [False, False, True, False, False]


def test_l01_a_wait_whose_words_change_is_told_so_often() -> None:
    assert sum(told((0, FIRST), (10, SECOND))) == by_id("L01")["expected"]


def test_words_that_come_back_are_no_news_before_the_hour() -> None:
    to_and_fro = [(5 * look, (FIRST, SECOND)[look % 2]) for look in range(25)]
    assert sum(told(*to_and_fro)) == 1 + 1  # the second words, and the hour after them


def test_a_long_wait_is_told_every_hour() -> None:
    every_ten_minutes = [(minutes, FIRST) for minutes in range(0, 190, 10)]
    assert sum(told(*every_ten_minutes)) == 3


def test_a_wait_that_begins_again_begins_anew() -> None:
    assert told((0, FIRST), (50, None), (90, FIRST), (100, SECOND)) == [False, False, False, True]


def test_a_reminder_is_due_after_an_hour() -> None:
    story = WaitStory()
    assert story.seconds_left(NOW) is None
    story.is_news(NOW, FIRST, NOW)
    assert story.seconds_left(NOW + timedelta(minutes=45)) == 900.0
    later: datetime = NOW + timedelta(hours=2)
    assert story.seconds_left(later) == 0.0
