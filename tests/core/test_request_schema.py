"""Requests get the types that the API wants, and errors say what to fix without telling a secret."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_spot.core.parameter_errors import InvalidParameterError
from airflow_spot.core.request_schema import Shape, coerce
from airflow_spot.core.templates import is_template, plain_copy
from tests.core.cases import of, structure

TEXT = Shape("string")
NUMBER = Shape("integer", min=1, max=10)
REQUEST = structure(
    ("Name",),
    Name=Shape("string", max=5, pattern="[a-z]+"),
    Count=NUMBER,
    Ratio=Shape("double"),
    Spot=Shape("boolean"),
    Mode=Shape("string", enum=("File", "Pipe")),
    Hosts=of("list", structure(Count=NUMBER), max=2),
    HyperParameters=of("map", Shape("string", max=6), max=2),
    Environment=of("map", Shape("string", pattern="[a-z0-9]*")),
)


@pytest.mark.parametrize(
    ("given_", "wanted"),
    [
        ({"Count": "7"}, {"Count": 7}),
        ({"Count": " 7.0 "}, {"Count": 7}),
        ({"Count": 7.0}, {"Count": 7}),
        ({"Ratio": "0.5"}, {"Ratio": 0.5}),
        ({"Ratio": 1}, {"Ratio": 1.0}),
        ({"Spot": "True"}, {"Spot": True}),
        ({"Spot": " false "}, {"Spot": False}),
        ({"Mode": "Pipe"}, {"Mode": "Pipe"}),
        ({"Mode": "NewerThanBotocore"}, {"Mode": "NewerThanBotocore"}),
        ({"Hosts": ({"Count": "1"},)}, {"Hosts": [{"Count": 1}]}),
        ({"HyperParameters": {"depth": 6, "on": True, 3: 0.1}}, {"HyperParameters": None}),
        ({"HyperParameters": {"depth": 6, "on": True}}, {"HyperParameters": {"depth": "6", "on": "True"}}),
        ({"Count": None}, {}),
    ],
)
def test_values_get_their_types_and_the_input_stays(given_: dict[str, Any], wanted: dict[str, Any]) -> None:
    request = {"Name": "a", **given_}
    before = deepcopy(request)
    if wanted == {"HyperParameters": None}:
        with pytest.raises(InvalidParameterError, match="at most 2 entries"):
            coerce(request, REQUEST)
    else:
        assert coerce(request, REQUEST) == {"Name": "a", **wanted}
    assert request == before


@pytest.mark.parametrize(
    ("given_", "field", "value", "fix"),
    [
        ({"Count": "seven"}, "Count", "'seven'", "whole number"),
        ({"Count": 1.5}, "Count", "1.5", "whole number"),
        ({"Count": True}, "Count", "True", "whole number"),
        ({"Count": 0}, "Count", "0", "at least 1"),
        ({"Count": "11"}, "Count", "'11'", "at most 10"),
        ({"Ratio": "much"}, "Ratio", "'much'", "a number"),
        ({"Ratio": True}, "Ratio", "True", "a number"),
        ({"Spot": "yes"}, "Spot", "'yes'", "true or false"),
        ({"Spot": 1}, "Spot", "1", "true or false"),
        ({"Mode": "pipe"}, "Mode", "'pipe'", "did you mean 'Pipe'"),
        ({"Name": "abcdef"}, "Name", "'abcdef'", "at most 5 characters"),
        ({"Name": "A"}, "Name", "'A'", "must match [a-z]+"),
        ({"Name": ["a"]}, "Name", "['a']", "must be text"),
        ({"Name": None}, "Name", "missing", "requires it"),
        ({"Hosts": "a"}, "Hosts", "'a'", "must be a list"),
        ({"Hosts": [{}, {}, {}]}, "Hosts", "[{}, {}, {}]", "at most 2 items"),
        ({"Hosts": [{}, {"Count": "x"}]}, "Hosts[1].Count", "'x'", "whole number"),
        ({"Hosts": [3]}, "Hosts[0]", "3", "must be a mapping"),
        ({"Cuont": 3}, "Cuont", "unknown", "did you mean Count?"),
        ({"Zzzzzz": 3}, "Zzzzzz", "unknown", "botocore"),
    ],
)
def test_an_error_names_field_value_and_fix(given_: dict[str, Any], field: str, value: str, fix: str) -> None:
    with pytest.raises(InvalidParameterError) as refused:
        coerce({"Name": "a", **given_}, REQUEST)
    assert refused.value.name == field
    assert str(refused.value).startswith(field)
    assert value in str(refused.value)
    assert fix in str(refused.value)


@pytest.mark.parametrize(
    "given_",
    [
        {"HyperParameters": {"password": "hunter2-hunter2"}},
        {"HyperParameters": {"password": ["hunter2"]}},
        {"HyperParameters": "hunter2"},
        {"HyperParameters": {"a": "hunter2", "b": "hunter2", "c": "hunter2"}},
        {"Environment": {"TOKEN": "HUNTER2 hunter2"}},
        {"Environment": {"TOKEN.a[0]": "HUNTER2 hunter2"}},
        {"Environment": ["hunter2"]},
    ],
)
def test_an_error_tells_no_secret(given_: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameterError) as refused:
        coerce({"Name": "a", **given_}, REQUEST)
    assert "hunter2" not in str(refused.value).lower()
    assert refused.value.__cause__ is None
    assert next(iter(given_)) in str(refused.value)


@pytest.mark.parametrize(
    "name",
    [
        "ladder[0]: HyperParameters.password",
        "ladder[1]: Environment[TOKEN]",
        "AlgorithmSpecification.ContainerArguments[1]",
        "AlgorithmSpecification.ContainerEntrypoint",
        "AlgorithmSpecification",
    ],
)
def test_where_the_field_stands_makes_no_difference(name: str) -> None:
    assert str(InvalidParameterError(name, "hunter2", "the fix")) == f"{name}: the fix"


def test_what_holds_no_secret_is_shown() -> None:
    error = InvalidParameterError("AlgorithmSpecification.TrainingImage", "x", "the fix")
    assert str(error) == "AlgorithmSpecification.TrainingImage is 'x': the fix"


def test_a_long_value_is_shortened() -> None:
    with pytest.raises(InvalidParameterError) as refused:
        coerce({"Name": "a" * 5_000}, REQUEST)
    assert len(str(refused.value)) < 200


def test_a_pattern_in_another_dialect_is_left_to_sagemaker() -> None:
    assert coerce("Ünïcode", Shape("string", pattern=r"[\p{L}]+")) == "Ünïcode"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from([*REQUEST.members, "Other"]), JSON))
def test_whatever_comes_in_is_coerced_or_refused(request_: dict[str, Any]) -> None:
    before = deepcopy(request_)
    try:
        once = coerce(request_, REQUEST)
    except InvalidParameterError:
        pass
    else:
        assert coerce(once, REQUEST) == once
    assert request_ == before


class Later:
    """An Airflow object that has a value only at run time."""

    def __deepcopy__(self, memo: object) -> Later:
        raise AssertionError("copying it would copy its DAG")


@pytest.mark.parametrize("value", ["{{ ds }}", "a {% if x %}b{% endif %}", Later()])
def test_a_template_is_known(value: object) -> None:
    assert is_template(value)


@pytest.mark.parametrize("value", [None, True, 1, 1.5, "text", "{ }", {"a": "{{ ds }}"}, ["{{ ds }}"]])
def test_a_value_is_no_template(value: object) -> None:
    assert not is_template(value)


def test_a_plain_copy_shares_no_container_and_copies_no_template() -> None:
    late = Later()
    original = {"a": [1, {"b": late}], "t": (1, 2)}
    copied = plain_copy(original)
    assert copied == {"a": [1, {"b": late}], "t": [1, 2]}
    copied["a"][1]["b"] = None
    assert original["a"][1]["b"] is late  # type: ignore[index]
