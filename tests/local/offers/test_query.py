"""EC2's protocol: forms and XML."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_spot.local.errors import ServiceError
from airflow_spot.local.offers.query import answer_xml, filters, instant, iso, parse_form, texts, whole

NAMES = st.text(alphabet="abcXYZ.0123456789", max_size=12)


def test_numbered_names_are_lists_in_their_order() -> None:
    pairs = [("Action", "A"), ("B.10", "k"), ("B.2", "j"), ("Filter.1.Name", "n"), ("Filter.1.Value.1", "v"), ("C", "")]
    assert parse_form(pairs) == {"B": ["j", "k"], "Filter": [{"Name": "n", "Value": ["v"]}], "C": ""}


@given(st.lists(st.tuples(NAMES, NAMES), max_size=8))
def test_any_form_is_read_or_refused(pairs: list[tuple[str, str]]) -> None:
    try:
        parse_form(pairs)
    except ServiceError as error:
        assert error.code == "MalformedQueryString"


@given(st.floats(0, 4e9))
def test_a_time_comes_back(seconds: float) -> None:
    assert instant({"StartTime": iso(seconds)}, "StartTime", 0.0) == pytest.approx(seconds, abs=0.001)


@pytest.mark.parametrize("value", ["", "soon", "[]", [], {"a": "b"}])
def test_what_cannot_be_read_is_named(value: object) -> None:
    for read in (
        lambda: instant({"A": value}, "A", 0.0),
        lambda: whole({"A": value}, "A", 0, least=0, most=1),
        lambda: filters({"Filter": "x"}, ()),
        lambda: texts({"A": "x"}, "A"),
    ):
        with pytest.raises(ServiceError) as raised:
            read()
        assert raised.value.code == "InvalidParameterValue"


def test_texts_are_escaped() -> None:
    assert "<a><item>&lt;&amp;</item><item><b>1</b></item></a>" in answer_xml("X", {"a": ["<&", {"b": 1}]}, "id")
