"""Ladders as people and templates write them, and what a rung changes in the request."""

from __future__ import annotations

import json
import traceback
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_spot.core.ladder import Rung, apply_rung, counts_differ, has_templates, read_ladder
from airflow_spot.core.parameter_errors import InvalidParameterError
from airflow_spot.core.plan import Plan, SpotSettings, build_plan
from tests.core.cases import RUN, tried
from tests.core.test_plan import config, shape

REQUEST = {
    "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 20},
    "StoppingCondition": {"MaxRuntimeInSeconds": 100, "MaxWaitTimeInSeconds": 200},
    "EnableManagedSpotTraining": True,
    "HyperParameters": {"batch": "64", "depth": "6"},
    "AlgorithmSpecification": {"TrainingImage": "x86", "TrainingInputMode": "File"},
}


def on(rung: Rung, request: dict[str, Any] | None = None, *, preferences: bool = True) -> dict[str, Any]:
    """The request of a rung."""
    (read,) = read_ladder([rung], instance_count=2)
    return apply_rung(request or REQUEST, read, preferences=preferences, max_wait=999)


def test_every_way_to_write_one() -> None:
    written = [
        Rung("ml.g5.2xlarge"),
        "ml.g5.4xlarge",
        {"instance_type": "ml.p3.2xlarge", "attempts": "2", "wait": "30m", "subnets": ["subnet-1"]},
        {"on_demand": ["ml.g5.2xlarge", "ml.g5.4xlarge"], "volume_size": "50"},
        {"instance_type": "ml.m5.large", "spot": "False"},
    ]
    ladder = read_ladder(written)
    assert ladder == read_ladder(
        [
            "ml.g5.2xlarge",
            Rung("ml.g5.4xlarge"),
            Rung("ml.p3.2xlarge", attempts=2, wait=timedelta(minutes=30), subnets=["subnet-1"]),
            Rung.on_demand(["ml.g5.2xlarge", "ml.g5.4xlarge"], volume_size=50),
            Rung("ml.m5.large", spot=False),
        ]
    )
    assert [rung.wait for rung in ladder] == [None, None, 1800.0, None, None]
    assert read_ladder(json.dumps(written[1:])) == ladder[1:]
    assert read_ladder(ladder) == ladder


@pytest.mark.parametrize(
    ("written", "field", "says"),
    [
        ("nonsense", "ladder", "JSON"),
        ([], "ladder", "at least one"),
        ({"instance_type": "ml.m5.large"}, "ladder", "must be a list"),
        (["ml.m5.large", 5], "ladder[1]", "instance type"),
        (["m5.large"], "ladder[0].instance_type", "begin with ml."),
        ([{"attempts": 2}], "ladder[0].instance_type", "name an instance type"),
        ([{"instance_type": "ml.m5.large", "atempts": 2}], "ladder[0].atempts", "attempts"),
        (["ml.m5.large", Rung("ml.m5.large", attempts=0)], "ladder[1].attempts", "at least 1"),
        ([Rung("ml.m5.large", wait="soon")], "ladder[0].wait", "30m"),
        ([Rung("ml.m5.large", instance_count="two")], "ladder[0].instance_count", "whole number"),
        ([Rung("ml.m5.large", spot="perhaps")], "ladder[0].spot", "true or false"),
        ([Rung("ml.m5.large", subnets="subnet-1")], "ladder[0].subnets", "list"),
        ([Rung("ml.m5.large", hyperparameters="a=1")], "ladder[0].hyperparameters", "mapping"),  # type: ignore[arg-type]
        ([Rung("ml.m5.large", instance_types=["ml.a", "ml.b"])], "ladder[0].instance_types", "each spot type a rung"),
        ([{"on_demand": "ml.a", "spot": True}], "ladder[0].spot", "remove one"),
        ([{"on_demand": 0}], "Rung.on_demand", "one to 5"),
        ([{"on_demand": []}], "Rung.on_demand", "one to 5"),
        ([{"on_demand": ["ml.m5.large"] * 6}], "Rung.on_demand", "one to 5"),
    ],
)
def test_what_cannot_be_right_is_named(written: Any, field: str, says: str) -> None:
    with pytest.raises(InvalidParameterError, match=says) as refused:
        read_ladder(written)
    assert refused.value.name == field


SECRET = {"instance_type": "ml.m5.large", "environment": {"API_KEY": "s3cr3t"}}


@pytest.mark.parametrize(
    ("written", "shows"),
    [
        (json.dumps([SECRET])[:-1] + ",]", r"ladder is text of \d+ characters: .*\(line 1, column \d+\)"),
        (repr([SECRET]), r"ladder is text of \d+ characters: .*\(line 1, column 3\)"),
        (SECRET, "ladder is a mapping of 2"),
        ([[SECRET]], r"ladder\[0\] is a list of 1"),
        (["ml.m5.large", [SECRET]], r"ladder\[1\] is a list of 1"),
        ([json.dumps(SECRET)], r"ladder\[0\].instance_type is text of \d+ characters"),
        ([{"instance_type": SECRET}], r"ladder\[0\].instance_type is a mapping of 2"),
        ([{"on_demand": SECRET}], "Rung.on_demand is a mapping of 2"),
        ([{"on_demand": "ml.m5.large", "instance_types": [SECRET]}], r"ladder\[0\].instance_types is a list of 1"),
        ([{"instance_type": "ml.m5.large", "attempts": SECRET}], r"ladder\[0\].attempts is a mapping of 2"),
        (
            [{"instance_type": "ml.m5.large", "wait": json.dumps(SECRET)}],
            r"ladder\[0\].wait is text of \d+ characters",
        ),
        ([{"instance_type": "ml.m5.large", "subnets": [SECRET]}], r"ladder\[0\].subnets\[0\] is a mapping of 2"),
        ([{"instance_type": "ml.m5.large", "environment": "API_KEY=s3cr3t"}], r"ladder\[0\].environment is text"),
    ],
)
def test_a_wrong_ladder_shows_no_environment(written: Any, shows: str) -> None:
    with pytest.raises(InvalidParameterError, match=shows) as refused:
        read_ladder(written)
    assert "s3cr3t" not in "".join(traceback.format_exception(refused.value))


def test_what_is_laid_over_the_config_is_refused_without_its_value() -> None:
    wrong = {"instance_type": "ml.m5.large", "hyperparameters": {"password": ["s3cr3t"]}}
    with pytest.raises(InvalidParameterError, match=r"HyperParameters\.password: must be text") as refused:
        plan([wrong])
    assert "s3cr3t" not in str(refused.value)


def test_rungs_have_names_of_their_own_that_do_not_show_secrets() -> None:
    ladder = read_ladder(
        [
            "ml.g5.xlarge",
            Rung("ml.g5.xlarge", wait="5m"),
            Rung("ml.g5.xlarge", subnets=["subnet-1"]),
            Rung("ml.g5.xlarge", hyperparameters={"token": "hunter2"}),
            Rung("ml.g5.xlarge", instance_count=4),
            Rung.on_demand(["ml.g5.xlarge", "ml.g5.2xlarge"]),
            Rung("ml.g5.xlarge", instance_count=2),
        ],
        instance_count=2,
    )
    names = [str(rung) for rung in ladder]
    assert len(set(names)) == len(names)
    assert names[0] == "2 x ml.g5.xlarge spot"
    assert names[1] == "2 x ml.g5.xlarge spot (2)"
    assert names[6] == "2 x ml.g5.xlarge spot (3)"
    assert names[4:6] == ["4 x ml.g5.xlarge spot", "2 x ml.g5.xlarge on-demand or 1 other"]
    assert "hunter2" not in f"{names}{ladder}"
    assert counts_differ(ladder)
    assert not counts_differ(ladder[:4])


def test_a_rung_changes_what_it_names_and_nothing_else() -> None:
    made = on(
        Rung(
            "ml.g5.xlarge",
            instance_count=1,
            volume_size=50,
            image_uri="arm",
            hyperparameters={"batch": 16},
            environment={"A": "1"},
        )
    )
    assert made == {
        "ResourceConfig": {"InstanceType": "ml.g5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 50},
        "StoppingCondition": {"MaxRuntimeInSeconds": 100, "MaxWaitTimeInSeconds": 200},
        "EnableManagedSpotTraining": True,
        "HyperParameters": {"batch": 16, "depth": "6"},
        "Environment": {"A": "1"},
        "AlgorithmSpecification": {"TrainingImage": "arm", "TrainingInputMode": "File"},
    }
    assert REQUEST["HyperParameters"] == {"batch": "64", "depth": "6"}


def test_on_demand_has_no_max_wait_and_spot_always_has_one() -> None:
    demand = on(Rung.on_demand("ml.m5.large"))
    assert demand["EnableManagedSpotTraining"] is False
    assert demand["StoppingCondition"] == {"MaxRuntimeInSeconds": 100}
    spot = on(Rung("ml.m5.large"), {"StoppingCondition": {"MaxRuntimeInSeconds": 100}})
    assert spot["StoppingCondition"] == {"MaxRuntimeInSeconds": 100, "MaxWaitTimeInSeconds": 999}
    warm = {"ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "KeepAlivePeriodInSeconds": 60}}
    assert "KeepAlivePeriodInSeconds" not in on(Rung("ml.m5.large"), warm)["ResourceConfig"]
    assert "KeepAlivePeriodInSeconds" in on(Rung.on_demand("ml.m5.large"), warm)["ResourceConfig"]


def test_several_types_on_demand_are_preferences_where_botocore_knows_them() -> None:
    rung = Rung.on_demand(["ml.g5.xlarge", "ml.g5.2xlarge"])
    assert on(rung)["ResourceConfig"] == {
        "VolumeSizeInGB": 20,
        "InstancePreferences": [
            {"InstanceType": "ml.g5.xlarge", "InstanceCount": 2},
            {"InstanceType": "ml.g5.2xlarge", "InstanceCount": 2},
        ],
    }
    older = on(rung, preferences=False)["ResourceConfig"]
    assert older == {"VolumeSizeInGB": 20, "InstanceType": "ml.g5.xlarge", "InstanceCount": 2}


def test_subnets_need_security_groups_from_somewhere() -> None:
    own = Rung("ml.m5.large", subnets=["subnet-2"], security_group_ids=["sg-2"])
    assert on(own)["VpcConfig"] == {"Subnets": ["subnet-2"], "SecurityGroupIds": ["sg-2"]}
    given = {**REQUEST, "VpcConfig": {"Subnets": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}}
    kept = on(Rung("ml.m5.large", subnets=["subnet-2"]), given)
    assert kept["VpcConfig"] == {"Subnets": ["subnet-2"], "SecurityGroupIds": ["sg-1"]}
    with pytest.raises(InvalidParameterError, match="name both"):
        on(Rung("ml.m5.large", subnets=["subnet-2"]))


# ---- in a plan


def plan(ladder: Any, **fields: Any) -> Plan:
    """A plan with a ladder."""
    return build_plan(config(**fields), SpotSettings(ladder=ladder), RUN, shape())


def test_each_attempt_is_created_as_its_rung_says_and_is_the_same_training() -> None:
    made = plan(["ml.g5.xlarge", Rung.on_demand(["ml.m5.large", "ml.m5.xlarge"], hyperparameters={"batch": 8})])
    spot, demand = (made.request_for(1, 1, rung, tried(1, 0)) for rung in made.ladder)
    assert spot["ResourceConfig"]["InstanceType"] == "ml.g5.xlarge"
    assert (spot["EnableManagedSpotTraining"], demand["EnableManagedSpotTraining"]) == (True, False)
    assert [each["InstanceType"] for each in demand["ResourceConfig"]["InstancePreferences"]] == [
        "ml.m5.large",
        "ml.m5.xlarge",
    ]
    assert demand["HyperParameters"] == {"batch": "8"}
    assert spot["Environment"]["AIRFLOW_SPOT_RUNG"] == str(made.ladder[0])
    assert spot["Environment"]["AIRFLOW_SPOT_FINGERPRINT"] == demand["Environment"]["AIRFLOW_SPOT_FINGERPRINT"]
    assert spot["CheckpointConfig"] == demand["CheckpointConfig"]


def test_a_rung_that_cannot_be_right_is_met_before_the_first_call() -> None:
    with pytest.raises(InvalidParameterError, match=r"ladder\[1\]: ResourceConfig.VolumeSizeInGB"):
        build_plan(
            config(ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 20}),
            SpotSettings(ladder=["ml.m5.large", {"instance_type": "ml.m5.large", "volume_size": 10**9}]),
            RUN,
            _with_volume_limit(),
        )


def _with_volume_limit() -> Any:
    whole = shape()
    resources = whole.members["ResourceConfig"]()
    limited = replace(resources.members["VolumeSizeInGB"](), max=16_384)
    inner = replace(resources, members={**resources.members, "VolumeSizeInGB": lambda: limited})
    return replace(whole, members={**whole.members, "ResourceConfig": lambda: inner})


def test_a_config_needs_no_instance_type_beside_a_ladder() -> None:
    made = plan(["ml.g5.xlarge"], ResourceConfig={"VolumeSizeInGB": 20})
    assert made.request_for(1, 1, made.ladder[0], tried(1, 0))["ResourceConfig"] == {
        "VolumeSizeInGB": 20,
        "InstanceType": "ml.g5.xlarge",
        "InstanceCount": 1,
    }


@pytest.mark.parametrize("written", ["{{ var.json.ladder }}", [Rung("{{ params.type }}")], ["{{ params.type }}"]])
def test_a_template_is_left_until_the_task_runs(written: Any) -> None:
    assert has_templates(written)


def test_what_is_known_is_no_template() -> None:
    assert not has_templates([Rung("ml.m5.large", wait=timedelta(minutes=1))])


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from(["ml.a", "on_demand", "wait"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["instance_type", "on_demand", "wait", "attempts", "spot", "x"]), inner)
    ),
    max_leaves=8,
)


@given(st.lists(anything, max_size=3))
def test_whatever_comes_in_is_read_or_refused(written: list[Any]) -> None:
    try:
        ladder = read_ladder(written)
    except InvalidParameterError:
        return
    assert len({str(rung) for rung in ladder}) == len(ladder) == len(written)
    assert read_ladder(ladder) == ladder
