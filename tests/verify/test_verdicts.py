"""What is assumed of facts, and the verdict."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_spot.verify.verdicts import Expectation, Kind, between, equals, in_order, judge, matches, one_of

VALUES = st.one_of(st.none(), st.booleans(), st.integers(-5, 5), st.floats(-5, 5), st.text(max_size=5))
NAMES = st.sampled_from(["a", "b", "c"])


@pytest.mark.parametrize(
    ("expectation", "agrees", "differs"),
    [
        (equals("x", "ResourceInUse"), ["ResourceInUse"], ["resourceinuse", None, ""]),
        (equals("x", True), [True], [False, 1, "True", None]),
        (equals("x", None), [None], [0, "", False]),
        (one_of("x", None, 0), [None, 0], [False, 1, ""]),
        (matches("x", "not found"), ["Requested resource not found."], ["Not Found", None, 1, ""]),
        (
            matches("x", r"^A: .*[Ee]xit [Cc]ode: 42$"),
            ["A: Exit Code: 42", "A: a\nb, exit code: 42"],
            ["A: Exit Code: 1"],
        ),
        (between("x", 0, 10), [0, 10, 3.5], [-0.1, 10.1, None, True, "3"]),
        (between("x", 0, 0), [0, 0.0], [1]),
        (in_order("x", "A", "C"), [["A", "B", "C"], ("A", "C")], [["C", "A"], ["A"], [], "AC", None]),
        (in_order("x", "T", "I", "T"), [["T", "I", "S", "T"]], [["T", "I"], ["I", "T", "T"]]),
    ],
)
def test_what_agrees(expectation: Expectation, agrees: list[Any], differs: list[Any]) -> None:
    assert expectation.fact == "x"
    for value in agrees:
        assert judge([expectation], {"x": value}, "").kind is Kind.AS_ASSUMED, value
    for value in differs:
        verdict = judge([expectation], {"x": value}, "")
        assert verdict.kind is Kind.DIFFERS, value
        assert repr(value) in verdict.detail and expectation.words in verdict.detail


@given(st.dictionaries(NAMES, VALUES), st.lists(st.tuples(NAMES, VALUES)), st.text(max_size=3))
def test_the_verdict_follows_from_the_facts(facts: dict[str, Any], assumed: list[tuple[str, Any]], reason: str) -> None:
    expectations = [equals(name, value) for name, value in assumed]
    kind = judge(expectations, facts, reason).kind
    wrong = [
        name for name, value in assumed if name in facts and (type(facts[name]), facts[name]) != (type(value), value)
    ]
    missing = [name for name, _ in assumed if name not in facts]
    expected = Kind.DIFFERS if wrong else Kind.NOT_REACHED if missing or not assumed else Kind.AS_ASSUMED
    assert kind is expected


@given(st.dictionaries(NAMES, VALUES), st.lists(st.tuples(NAMES, VALUES), min_size=1), VALUES)
def test_more_facts_never_turn_what_differs_into_what_is_assumed(
    facts: dict[str, Any], assumed: list[tuple[str, Any]], more: Any
) -> None:
    expectations = [equals(name, value) for name, value in assumed]
    if judge(expectations, facts, "").kind is Kind.DIFFERS:
        assert judge(expectations, {"c": more, **facts}, "").kind is Kind.DIFFERS


def test_why_it_was_not_reached_is_told() -> None:
    assert str(judge([equals("a", 1)], {}, "no spot quota")) == "not reached: no spot quota"
    assert str(judge([equals("a", 1)], {}, "")) == "not reached: a was not seen"
    expectations = [equals("a", 1), equals("b", 1)]
    assert str(judge(expectations, {}, "denied", {"b": "no older job"})) == "not reached: denied; no older job"
    assert str(judge(expectations, {"b": 1}, "denied", {"b": "no older job"})) == "not reached: denied"
    assert str(judge(expectations, {"a": 1}, "", {"b": "no older job"})) == "not reached: no older job"
    assert str(judge([equals("a", 1), equals("b", 1)], {"a": 2}, "no spot quota")) == "differs: a is 2, assumed: is 1"
