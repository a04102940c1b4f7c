"""The JSONPath of batch transform's filters, by the examples of AWS's guide."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_spot.local.transform.jsonpath import JsonPath

ROW = ["a", "b", "c", "d"]
RECORD = {"id": 7, "features": [1, 2], "SageMakerOutput": {"label": 1}, "odd name": {"x": "y"}}


@pytest.mark.parametrize(
    ("path", "value", "found"),
    [
        ("$", RECORD, RECORD),
        ("$.id", RECORD, 7),
        ("$['id']", RECORD, 7),
        ("$['id','SageMakerOutput']", RECORD, {"id": 7, "SageMakerOutput": {"label": 1}}),
        ("$.SageMakerOutput.label", RECORD, 1),
        ("$.SageMakerOutput.['label']", RECORD, 1),
        ("$['odd name'].x", RECORD, "y"),
        ("$.SageMakerOutput.*", RECORD, [1]),
        ("$.features[*]", RECORD, [1, 2]),
        ("$.features[1]", RECORD, 2),
        ("$[0]", ROW, "a"),
        ("$[-1]", ROW, "d"),
        ("$[1,3]", ROW, ["b", "d"]),
        ("$[1:]", ROW, ["b", "c", "d"]),
        ("$[-2:]", ROW, ["c", "d"]),
        ("$[:]", ROW, ROW),
        ("$[0,2:]", ROW, ["a", "c", "d"]),
    ],
)
def test_what_a_path_finds(path: str, value: Any, found: Any) -> None:
    assert JsonPath.parse(path).select(value) == found


@pytest.mark.parametrize(
    ("path", "value"),
    [("$.none", RECORD), ("$['id','none']", RECORD), ("$[4]", ROW), ("$[4:]", ROW), ("$[0]", RECORD), ("$.id", ROW)],
)
def test_what_is_not_there_is_an_error(path: str, value: Any) -> None:
    with pytest.raises(LookupError):
        JsonPath.parse(path).select(value)


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("id", "must begin"),
        ("$..id", "not a JSONPath"),
        ("$[?(@.id)]", "not a JSONPath"),
        ("$[]", "not a JSONPath"),
        ("$.*.id", "at the end"),
        ("$['a','b'].id", "at the end"),
        ("$[1:4]", "list the indexes"),
        ("$[:5]", "list the indexes"),
    ],
)
def test_other_paths_are_refused(path: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        JsonPath.parse(path)
