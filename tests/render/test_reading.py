"""A JSON value to a ledger or to a sentence, and never an exception."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_spot.render.reading import read_summary, read_timeline
from tests.render import examples, strategies


@pytest.mark.parametrize("make", [examples.running, examples.interrupted, examples.cleared, examples.live])
def test_what_the_package_wrote_is_read_as_it_was(make: Any) -> None:
    made = make()
    assert read_timeline(json.loads(json.dumps(made))) == made
    assert read_timeline(json.dumps(made)) == made


def test_a_summary_is_read_as_it_was() -> None:
    made = examples.fleet_rows(1, examples.T0)[0].summary
    assert read_summary(json.loads(json.dumps(made))) == made


def test_another_version_is_named() -> None:
    newer = {**examples.running(), "v": 2}
    told = read_timeline(newer)
    assert isinstance(told, str)
    assert "version 2" in told
    assert "Update airflow_spot" in told


@pytest.mark.parametrize(
    ("path", "value", "where"),
    [
        (("state",), 3, "state is no text"),
        (("attempts", 0, "starts"), [[1, 2]], "attempts[0].starts[0] is no list of 5"),
        (("attempts", 0, "created"), float("nan"), "attempts[0].created is no number"),
        (("attempts", 0, "cost"), {"amount": "much", "currency": "USD"}, "attempts[0].cost is no amount of money"),
        (("updated",), True, "updated is no number"),
        (("deadline",), 1e300, "deadline is no number"),
        (("attempts",), "none", "attempts is no list, or too long"),
    ],
)
def test_what_is_odd_is_named_by_its_place(path: tuple[Any, ...], value: Any, where: str) -> None:
    made: Any = copy.deepcopy(examples.running())
    inner = made
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    assert read_timeline(made) == f"This timeline cannot be read: {where}."


def test_a_missing_key_is_named() -> None:
    made: Any = copy.deepcopy(examples.running())
    del made["attempts"][0]["ticks"]
    assert read_timeline(made) == "This timeline cannot be read: attempts[0].ticks is missing."


def test_what_the_format_does_not_know_is_left_out() -> None:
    made: Any = {**examples.running(), "hyperparameters": {"password": "x"}}
    read = read_timeline(made)
    assert not isinstance(read, str)
    assert "hyperparameters" not in read


@given(strategies.anything)
def test_any_json_is_read_or_told(value: Any) -> None:
    assert isinstance(read_timeline(value), str)
    assert isinstance(read_summary(value), str)


@given(strategies.timelines, st.data())
def test_any_timeline_with_anything_in_it_is_read_or_told(made: dict[str, Any], data: st.DataObject) -> None:
    assert not isinstance(read_timeline(made), str)
    made[data.draw(st.sampled_from(sorted(made)))] = data.draw(strategies.anything)
    read_timeline(made)
    read_summary(made)


@given(strategies.summaries)
def test_any_summary_is_read(made: dict[str, Any]) -> None:
    assert not isinstance(read_summary(made), str)
