"""Ranges of hyperparameters, and what is drawn from them."""

from __future__ import annotations

import itertools
import math
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_spot.local.tuning.ranges import Continuous, Integers, combinations_of, draws, grid, parse_ranges

NUMBERS = st.floats(-1e9, 1e9)
SEEDS = st.integers(0, 2**32)


@st.composite
def integers(draw: Any, name: str) -> dict[str, Any]:
    scale = draw(st.sampled_from(["Auto", "Linear", "Logarithmic"]))
    low = draw(st.integers(1 if scale == "Logarithmic" else -1000, 1000))
    high = low + draw(st.integers(0, 10**6))
    return {"Name": name, "MinValue": str(low), "MaxValue": str(high), "ScalingType": scale}


def is_wide(one: float, other: float) -> bool:
    """Whether there are more than a few floats between two numbers, and far more than are drawn."""
    return abs(one - other) > 1e-9 + 1e-3 * max(abs(one), abs(other))


@st.composite
def continuous(draw: Any, name: str) -> dict[str, Any]:
    scale = draw(st.sampled_from(["Auto", "Linear", "Logarithmic", "ReverseLogarithmic"]))
    within = {"Logarithmic": st.floats(1e-12, 1e12), "ReverseLogarithmic": st.floats(0, 1, exclude_max=True)}
    ends = within.get(scale, NUMBERS)
    low, high = sorted(draw(st.tuples(ends, ends).filter(lambda pair: is_wide(*pair) or pair[0] == pair[1])))
    return {"Name": name, "MinValue": repr(low), "MaxValue": repr(high), "ScalingType": scale}


@st.composite
def categorical(draw: Any, name: str) -> dict[str, Any]:
    return {"Name": name, "Values": draw(st.lists(st.text("abc-1", max_size=5), min_size=1, max_size=5))}


@st.composite
def parameter_ranges(draw: Any) -> dict[str, Any]:
    counts = draw(st.tuples(*[st.integers(0, 2)] * 3).filter(any))
    kinds = (("Integer", integers), ("Continuous", continuous), ("Categorical", categorical))
    return {
        f"{kind}ParameterRanges": [draw(make(f"{kind}{number}")) for number in range(count)]
        for (kind, make), count in zip(kinds, counts, strict=True)
    }


@given(parameter_ranges(), SEEDS)
def test_what_is_drawn_is_within_the_ranges_new_each_time_and_the_same_for_the_same_seed(
    given_ranges: dict[str, Any], seed: int
) -> None:
    ranges = parse_ranges(given_ranges)
    drawn = list(itertools.islice(draws(ranges, Random(seed)), 20))
    assert drawn == list(itertools.islice(draws(ranges, Random(seed)), 20))
    assert len({tuple(one.items()) for one in drawn}) == len(drawn) == min(20, combinations_of(ranges))
    for one in drawn:
        for item in given_ranges["IntegerParameterRanges"]:
            assert int(item["MinValue"]) <= int(one[item["Name"]]) <= int(item["MaxValue"])
        for item in given_ranges["ContinuousParameterRanges"]:
            assert float(item["MinValue"]) <= float(one[item["Name"]]) <= float(item["MaxValue"])
        for item in given_ranges["CategoricalParameterRanges"]:
            assert one[item["Name"]] in item["Values"]
        assert len(one) == len(ranges)


@given(st.integers(1, 5), st.integers(0, 5), st.lists(st.sampled_from("abc"), min_size=1), SEEDS)
def test_a_finite_range_is_drawn_to_its_end(low: int, more: int, values: list[str], seed: int) -> None:
    ranges = parse_ranges(
        {
            "IntegerParameterRanges": [
                {"Name": "n", "MinValue": str(low), "MaxValue": str(low + more), "ScalingType": "Logarithmic"}
            ],
            "CategoricalParameterRanges": [{"Name": "c", "Values": values}],
        }
    )
    drawn = [(one["n"], one["c"]) for one in draws(ranges, Random(seed))]
    everything = [(str(n), c) for n in range(low, low + more + 1) for c in dict.fromkeys(values)]
    assert sorted(drawn) == sorted(everything)
    assert [(one["n"], one["c"]) for one in grid(ranges)] == everything


def test_a_huge_range_is_not_made_a_list_of() -> None:
    ranges = parse_ranges(
        {"IntegerParameterRanges": [{"Name": "n", "MinValue": "0", "MaxValue": str(10**200)} for _ in range(1)]}
    )
    assert combinations_of(ranges) == pytest.approx(1e200)
    assert len(list(itertools.islice(draws(ranges, Random(0)), 3))) == 3
    assert next(grid(ranges)) == {"n": "0"}


@pytest.mark.parametrize(
    ("low", "high", "scale", "half"),
    [
        ("0.0001", "1", "Logarithmic", 0.01),
        ("0.0001", "1", "Auto", 0.01),
        ("0.0001", "1", "Linear", 0.5),
        ("0", "1", "Auto", 0.5),
        ("1", "100", "Auto", 50),
        ("0.9", "0.9999", "ReverseLogarithmic", 1 - math.sqrt(0.1 * 0.0001)),
    ],
)
def test_scales_are_searched_evenly(low: str, high: str, scale: str, half: float) -> None:
    """Half of what is drawn is below the middle of the scale."""
    item = {"Name": "x", "MinValue": low, "MaxValue": high, "ScalingType": scale}
    (found,) = parse_ranges({"ContinuousParameterRanges": [item]})
    random = Random(1)
    below = sum(float(found.draw(random)) < half for _ in range(2000))
    assert 900 < below < 1100


def test_integers_on_a_logarithmic_scale() -> None:
    random, found = Random(1), Integers("n", 1, 1000, logarithmic=True)
    drawn = [int(found.draw(random)) for _ in range(4000)]
    assert 1800 < sum(number <= 31 for number in drawn) < 2250
    assert {1, 2, 3} < set(drawn)


def test_both_ends_of_a_linear_range_of_integers_are_drawn() -> None:
    random, found = Random(1), Integers("n", 3, 5, logarithmic=False)
    assert {found.draw(random) for _ in range(100)} == {"3", "4", "5"}


def test_a_continuous_range_of_one_value_ends() -> None:
    assert list(draws([Continuous("x", 0.5, 0.5, "Linear")], Random(0))) == [{"x": "0.5"}]


@pytest.mark.parametrize(
    ("kind", "item", "what"),
    [
        ("Integer", {"MinValue": "1.5", "MaxValue": "2"}, "must be integers"),
        ("Integer", {"MinValue": "3", "MaxValue": "2"}, "above its MaxValue"),
        ("Integer", {"MinValue": "1", "MaxValue": "2", "ScalingType": "ReverseLogarithmic"}, "continuous ranges only"),
        ("Integer", {"MinValue": "0", "MaxValue": "2", "ScalingType": "Logarithmic"}, "above 0"),
        ("Continuous", {"MinValue": "a", "MaxValue": "2"}, "must be numbers"),
        ("Continuous", {"MinValue": "nan", "MaxValue": "2"}, "must be finite"),
        ("Continuous", {"MinValue": "0", "MaxValue": "inf"}, "must be finite"),
        ("Continuous", {"MinValue": "0", "MaxValue": "1", "ScalingType": "Logarithmic"}, "above 0"),
        ("Continuous", {"MinValue": "0", "MaxValue": "1", "ScalingType": "ReverseLogarithmic"}, "within 0 <= x < 1"),
    ],
)
def test_ranges_that_are_wrong_are_named(kind: str, item: dict[str, str], what: str) -> None:
    with pytest.raises(ValueError, match=what) as caught:
        parse_ranges({f"{kind}ParameterRanges": [{"Name": "depth", **item}]})
    assert "'depth'" in str(caught.value)


@pytest.mark.parametrize(
    ("ranges", "what"),
    [
        ({}, "between 1 and 30"),
        ({"AutoParameters": [{"Name": "x", "ValueHint": "1"}]}, "AutoParameters"),
        ({"CategoricalParameterRanges": [{"Name": "x", "Values": ["1"]}] * 2}, "more than one range is for x"),
        ({"CategoricalParameterRanges": [{"Name": f"x{n}", "Values": ["1"]} for n in range(31)]}, "31 hyperparameters"),
    ],
)
def test_sets_of_ranges_that_are_wrong(ranges: dict[str, Any], what: str) -> None:
    with pytest.raises(ValueError, match=what):
        parse_ranges(ranges)
