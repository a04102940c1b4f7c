"""The service's rules, at parse time and at run time alike."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_spot.core import spot_rules
from airflow_spot.core.parameter_errors import InvalidParameterError

DAY = 86_400


def broken(**request: Any) -> list[str]:
    """The fields whose rules a request breaks."""
    return [error.name for error in spot_rules.violations(request)]


SPOT = {"EnableManagedSpotTraining": True}
WAIT, RUN = "StoppingCondition.MaxWaitTimeInSeconds", "StoppingCondition.MaxRuntimeInSeconds"


@pytest.mark.parametrize(
    ("spot", "max_run", "max_wait", "fields"),
    [
        (True, 60, 60, []),
        (True, 60, 59, [WAIT]),
        ("True", "60", "59", [WAIT]),
        (True, "60.0", 59.0, [WAIT]),
        (True, None, 59, []),
        (True, 28 * DAY, None, []),
        (True, 60, 84 * DAY, []),
        (True, 60, 84 * DAY + 1, [WAIT]),
        (True, 28 * DAY + 1, None, [RUN]),
        (False, 28 * DAY + 1, None, [RUN]),
        (False, 60, 90, []),  # left out of the request
        ("false", 60, 90, []),
        (True, 29 * DAY, 60, [RUN, WAIT]),
        ("{{ spot }}", 60, 90, []),
        (True, "{{ run }}", 1, []),
        (True, 60, "{{ wait }}", []),
        (True, "an hour", 1, []),  # for the type check to refuse
    ],
)
def test_times(spot: Any, max_run: Any, max_wait: Any, fields: list[str]) -> None:
    stopping = {"MaxRuntimeInSeconds": max_run, "MaxWaitTimeInSeconds": max_wait}
    assert broken(EnableManagedSpotTraining=spot, StoppingCondition=stopping) == fields


@pytest.mark.parametrize(
    ("spot", "resources", "fields"),
    [
        (True, {"KeepAlivePeriodInSeconds": 60}, ["ResourceConfig.KeepAlivePeriodInSeconds"]),
        ("true", {"KeepAlivePeriodInSeconds": "60"}, ["ResourceConfig.KeepAlivePeriodInSeconds"]),
        (True, {"KeepAlivePeriodInSeconds": 0}, []),
        (False, {"KeepAlivePeriodInSeconds": 60}, []),
        (True, {"InstancePreferences": [{}]}, ["ResourceConfig.InstancePreferences"]),
        (False, {"InstancePreferences": [{}]}, []),
        ("{{ spot }}", {"InstancePreferences": [{}]}, []),
    ],
)
def test_instances(spot: Any, resources: dict[str, Any], fields: list[str]) -> None:
    assert broken(EnableManagedSpotTraining=spot, ResourceConfig=resources) == fields


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        ({"OutputDataConfig": {"S3OutputPath": "s3://bucket/x"}}, []),
        ({"OutputDataConfig": {"S3OutputPath": "b/x"}}, ["OutputDataConfig.S3OutputPath"]),
        ({"OutputDataConfig": {"S3OutputPath": "{{ path }}"}}, []),
        ({"CheckpointConfig": {"S3Uri": "https://s3.amazonaws.com/b/x"}}, ["CheckpointConfig.S3Uri"]),
        ({"CheckpointConfig": {"S3Uri": "{{ path }}"}}, []),
        (
            {
                "InputDataConfig": [
                    {"DataSource": {"S3DataSource": {"S3Uri": "s3://bucket/x"}}},
                    {"DataSource": {"FileSystemDataSource": {}}},
                    "{{ channel }}",
                    {"DataSource": {"S3DataSource": {"S3Uri": "b/x"}}},
                ]
            },
            ["InputDataConfig[3].DataSource.S3DataSource.S3Uri"],
        ),
    ],
)
def test_uris(request_: dict[str, Any], fields: list[str]) -> None:
    assert broken(**request_) == fields


@pytest.mark.parametrize(
    ("field", "most"),
    [("HyperParameters", 100), ("Environment", 90)],
)
def test_counts_of_maps(field: str, most: int) -> None:
    entries = {f"k{i}": "v" for i in range(most)}
    assert broken(**{field: entries}) == []
    assert broken(**{field: {**entries, "more": "v"}}) == [field]


def test_counts_of_tags() -> None:
    assert broken(Tags=[{}] * 41) == []
    assert broken(Tags=[{}] * 42) == ["Tags"]


@pytest.mark.parametrize(("name", "fields"), [("ok", []), ("✓", ["TrainingJobName"]), ("{{ ✓ }}", [])])
def test_names(name: str, fields: list[str]) -> None:
    assert broken(TrainingJobName=name) == fields


def test_the_first_broken_rule_is_raised() -> None:
    with pytest.raises(InvalidParameterError, match="TrainingJobName"):
        spot_rules.check({"TrainingJobName": "-", "OutputDataConfig": {"S3OutputPath": "x"}})
    spot_rules.check({"TrainingJobName": "a"})


FIELDS = ["StoppingCondition", "ResourceConfig", "OutputDataConfig", "CheckpointConfig", "InputDataConfig", "Tags"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*FIELDS, "HyperParameters", "EnableManagedSpotTraining"]), JSON))
def test_nonsense_is_left_to_the_type_check(request_: dict[str, Any]) -> None:
    for error in spot_rules.violations(request_):
        assert isinstance(error, InvalidParameterError)
