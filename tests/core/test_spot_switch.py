"""Spot or on-demand: the parameter says, else the config, else it is spot; and what the log says of it."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_spot.core.spot_switch import explain, spot_of
from tests.core.cases import spot_settings, tried
from tests.core.test_plan import plan


@pytest.mark.parametrize(
    ("config", "parameter", "spot"),
    [
        ({}, None, True),
        ({"EnableManagedSpotTraining": False}, None, False),
        ({"EnableManagedSpotTraining": "False"}, None, False),
        ({"EnableManagedSpotTraining": True}, None, True),
        ({"EnableManagedSpotTraining": "None"}, None, True),
        ({"EnableManagedSpotTraining": ""}, None, True),
        ({"EnableManagedSpotTraining": False}, True, True),
        ({"EnableManagedSpotTraining": True}, False, False),
        ({"EnableManagedSpotTraining": "{{ params.spot }}"}, None, "{{ params.spot }}"),
        ({"EnableManagedSpotTraining": "maybe"}, None, "maybe"),
    ],
)
def test_who_says_whether_it_is_spot(config: dict[str, Any], parameter: Any, spot: Any) -> None:
    assert spot_of(config, parameter) == spot


@pytest.mark.parametrize(
    ("config", "parameter", "max_wait", "ladder", "says"),
    [
        ({}, None, 7200, None, []),
        ({}, False, None, None, []),
        ({"EnableManagedSpotTraining": "True"}, True, None, None, []),
        (
            {"EnableManagedSpotTraining": False},
            True,
            None,
            None,
            ["use_spot_instances=True overrides EnableManagedSpotTraining=False of the config"],
        ),
        (
            {"EnableManagedSpotTraining": False},
            None,
            None,
            None,
            ["EnableManagedSpotTraining=False in the config: trains on-demand. use_spot_instances=True is for spot"],
        ),
        ({}, False, 7200, None, ["max_wait is left out: it is for spot only, and this training is on-demand"]),
        (
            {"StoppingCondition": {"MaxWaitTimeInSeconds": 5}},
            False,
            None,
            None,
            ["MaxWaitTimeInSeconds is left out: it is for spot only, and this training is on-demand"],
        ),
        (
            {"EnableManagedSpotTraining": False},
            None,
            None,
            ["ml.m5.large"],
            ["EnableManagedSpotTraining=False in the config: rungs of the ladder that do not say are on-demand"],
        ),
        ({}, False, 7200, ["ml.m5.large"], []),  # a rung may be on spot, and takes it
    ],
)
def test_what_differs_or_does_not_apply_is_said(
    config: dict[str, Any], parameter: Any, max_wait: Any, ladder: Any, says: list[str]
) -> None:
    assert list(explain(config, parameter, max_wait, ladder)) == says


@pytest.mark.parametrize("field", [False, "False"])
def test_the_configs_word_reaches_sagemaker(field: Any) -> None:
    made = plan(EnableManagedSpotTraining=field, StoppingCondition={"MaxWaitTimeInSeconds": 90}).request
    assert made["EnableManagedSpotTraining"] is False
    assert "MaxWaitTimeInSeconds" not in made["StoppingCondition"]
    assert plan(spot_settings(use_spot_instances=True), EnableManagedSpotTraining=field).ladder[0].on_spot


def test_on_demand_a_wait_is_left_out() -> None:
    built = plan(spot_settings(use_spot_instances=False, max_wait=9, max_run=60))
    assert built.request["StoppingCondition"] == {"MaxRuntimeInSeconds": 60}


def test_a_rung_on_spot_takes_the_wait_though_the_others_are_on_demand() -> None:
    ladder = [{"instance_type": "ml.m5.large"}, {"instance_type": "ml.m5.large", "spot": True}]
    built = plan(spot_settings(use_spot_instances=False, max_wait="2h", max_run="1h", ladder=ladder))
    on_demand, spot = (built.request_for(1, 1, rung, tried(1, 0))["StoppingCondition"] for rung in built.ladder)
    assert on_demand == {"MaxRuntimeInSeconds": 3600}
    assert spot == {"MaxRuntimeInSeconds": 3600, "MaxWaitTimeInSeconds": 7200}
