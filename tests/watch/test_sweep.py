"""When a sweep stops, what it finds, and how a filter that is not kept is found out."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from airflow_spot.watch.sweep import PAGE_SIZE, Sweep, contradicts_filter, is_news, most_pages, status_of

NOON = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)
TRAINING, COMPLETED = ("InProgress", "Training"), ("Completed", "Completed")


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def line(number: int, *, created: float | None = None, modified: float = 0.0) -> dict[str, Any]:
    return {
        "TrainingJobName": f"j{number}",
        "TrainingJobStatus": "InProgress",
        "SecondaryStatus": "Training",
        "CreationTime": at(-number if created is None else created),
        "LastModifiedTime": at(modified),
    }


def page(first: int, count: int = PAGE_SIZE, *, more: bool = True, modified: float = 0.0) -> dict[str, Any]:
    lines = [line(number, modified=modified) for number in range(first, first + count)]
    return {"TrainingJobSummaries": lines, **({"NextToken": f"from {first + count}"} if more else {})}


def whole(*names: str, created: datetime | None = None, most: int = 50) -> Sweep:
    return Sweep(dict.fromkeys(names, created), after=None, most_pages=most)


def test_it_stops_once_all_are_found() -> None:
    sweep = whole("j3", "j150")
    assert sweep.read(page(0))
    assert list(sweep.found) == ["j3"]
    assert sweep.token == "from 100"
    assert not sweep.read(page(100))
    assert list(sweep.found) == ["j150"]
    assert (list(sweep.missing), sweep.pages, sweep.newest) == ([], 2, at(0))


def test_it_stops_below_the_oldest_watched_job() -> None:
    sweep = whole("gone-1", "gone-2", "gone-3", created=at(-50))
    assert not sweep.read(page(0))
    assert set(sweep.missing) == {"gone-1", "gone-2", "gone-3"}


def test_no_more_pages_are_read_in_vain_than_describes_cost() -> None:
    sweep = whole("deep-1", "deep-2", "j0")
    reads = [sweep.read(page(100 * number)) for number in range(3)]
    assert reads == [True, True, False]


def test_it_stops_at_its_limit_and_at_the_lists_end() -> None:
    assert not whole("a", "b", "c", most=1).read(page(0))
    assert not whole("a", "b", "c").read(page(0, more=False))
    assert most_pages(1) == 10
    assert most_pages(5_000) == 108


def test_a_line_that_cannot_be_read_hides_no_other() -> None:
    sweep = whole("j1", "j2")
    broken: list[dict[str, Any]] = [{}, {"TrainingJobName": "j1"}, {**line(1), "CreationTime": "yesterday"}]
    assert not sweep.read({"TrainingJobSummaries": [*broken, line(2)]})
    assert (list(sweep.found), list(sweep.missing)) == (["j2"], ["j1"])
    assert not whole("j1").read({})


def filtered(most: int = 10) -> Sweep:
    return Sweep({"j1": None, "j999": None}, after=at(100), most_pages=most)


def test_a_filter_that_is_kept() -> None:
    sweep = filtered()
    assert not sweep.read(page(0, 5, more=False, modified=130))
    assert not sweep.filter_failed
    assert list(sweep.found) == ["j1"]
    full = filtered()
    assert full.read(page(0, modified=130)), "many changes are more than a page"
    assert not full.read(page(100, 0, more=False))
    assert not full.filter_failed


@pytest.mark.parametrize(
    "answer",
    [
        page(0, more=False, modified=50),  # ignored
        page(0, 3, modified=130),  # applied after the page was cut
        page(0, 0),
    ],
)
def test_a_filter_that_is_not_kept(answer: dict[str, Any]) -> None:
    sweep = filtered()
    assert not sweep.read(answer)
    assert sweep.filter_failed


def test_pages_without_end() -> None:
    sweep = filtered(most=4)
    reads = [sweep.read(page(100 * number, modified=130)) for number in range(4)]
    assert (reads, sweep.filter_failed) == ([True, True, True, False], True)


@pytest.mark.parametrize(
    ("listed", "described", "expected"),
    [
        (None, None, False),  # its first look comes anyway
        (TRAINING, None, True),
        (TRAINING, TRAINING, True),
        (COMPLETED, None, False),
        (TRAINING, COMPLETED, False),  # a describe was ahead of the list
        (COMPLETED, TRAINING, False),
    ],
)
def test_what_is_worth_a_describe(listed: Any, described: Any, expected: bool) -> None:
    assert is_news(COMPLETED, listed, described) is expected


@pytest.mark.parametrize(
    ("modified", "expected"), [(at(0), True), (at(56), True), (at(58), False), (at(60), False), (None, False)]
)
def test_a_last_modified_time_that_stands_still(modified: datetime | None, expected: bool) -> None:
    transitions = [{"Status": "Starting", "StartTime": at(0)}, {"Status": "Training", "StartTime": at(60)}]
    found = {"LastModifiedTime": modified, "SecondaryStatusTransitions": transitions}
    assert contradicts_filter(found) is expected
    assert not contradicts_filter({"LastModifiedTime": modified})


def test_a_status_without_a_second() -> None:
    assert status_of({"TrainingJobStatus": "InProgress"}) == ("InProgress", "")
