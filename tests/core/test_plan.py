"""One validated request per run; every attempt's request follows from it."""

from __future__ import annotations

from copy import deepcopy
from datetime import timedelta
from functools import cache
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from airflow_spot.core.identity import legal_prefix
from airflow_spot.core.parameter_errors import InvalidParameterError
from airflow_spot.core.plan import Plan, SpotSettings, apply_settings, build_plan
from airflow_spot.core.request_schema import Shape
from tests.core.cases import RUN, SPOT, of, spot_settings, structure, tried

DAY = 86_400
TEXT, NUMBER, TRUTH = Shape("string"), Shape("integer"), Shape("boolean")


@cache
def shape() -> Shape:
    """CreateTrainingJob's input, as far as the plan goes; tests/hooks/test_shapes.py has the real one."""
    source = structure(S3DataSource=structure(S3Uri=TEXT, S3DataType=TEXT))
    return structure(
        ("TrainingJobName", "RoleArn", "OutputDataConfig"),
        TrainingJobName=Shape("string", max=63, pattern="[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}"),
        AlgorithmSpecification=structure(TrainingImage=TEXT, TrainingInputMode=TEXT),
        RoleArn=TEXT,
        OutputDataConfig=structure(S3OutputPath=TEXT),
        ResourceConfig=structure(
            InstanceType=TEXT,
            InstanceCount=NUMBER,
            VolumeSizeInGB=NUMBER,
            KeepAlivePeriodInSeconds=NUMBER,
            InstanceGroups=of("list", structure(InstanceType=TEXT, InstanceCount=NUMBER)),
            InstancePreferences=of("list", structure(InstanceType=TEXT, InstanceCount=NUMBER)),
        ),
        StoppingCondition=structure(MaxRuntimeInSeconds=NUMBER, MaxWaitTimeInSeconds=NUMBER),
        HyperParameters=of("map", TEXT, max=100),
        Environment=of("map", TEXT, max=100),
        InputDataConfig=of("list", structure(ChannelName=TEXT, DataSource=source)),
        CheckpointConfig=structure(("S3Uri",), S3Uri=Shape("string", max=1024), LocalPath=TEXT),
        EnableManagedSpotTraining=TRUTH,
        Tags=of("list", structure(Key=TEXT, Value=TEXT)),
    )


def config(**fields: Any) -> dict[str, Any]:
    """The smallest stock config."""
    return {
        "TrainingJobName": "train",
        "RoleArn": "arn:aws:iam::123456789012:role/r",
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/output/"},
        "ResourceConfig": {"InstanceType": "ml.g5.xlarge", "InstanceCount": "1", "VolumeSizeInGB": "20"},
        **fields,
    }


def plan(settings: SpotSettings | None = None, **fields: Any) -> Plan:
    """Build a plan of the smallest config and more."""
    return build_plan(config(**fields), settings or SpotSettings(), RUN, shape())


def request(settings: SpotSettings | None = None, **fields: Any) -> dict[str, Any]:
    """The request of the first attempt."""
    return plan(settings, **fields).request_for(1, 1, SPOT, tried(1, 0))


def test_without_checkpoints_no_attempt_has_a_folder() -> None:
    made = plan(SpotSettings(use_checkpoints=False), CheckpointConfig={})
    assert made.checkpoint_base is None
    assert made.checkpoint_s3_uri(2) is None
    for attempt, folder in ((1, None), (2, None), (2, "s3://bucket/before")):
        assert "CheckpointConfig" not in made.request_for(1, attempt, SPOT, tried(1, 0), folder)
    # The training is the same: to keep its own checkpoints is no other one.
    assert made.fingerprint == plan().fingerprint


def test_a_stock_config_is_on_spot_with_a_checkpoint_folder_of_its_own() -> None:
    made = request()
    assert made["EnableManagedSpotTraining"] is True
    assert made["StoppingCondition"] == {"MaxRuntimeInSeconds": DAY, "MaxWaitTimeInSeconds": 2 * DAY}
    assert made["CheckpointConfig"] == {
        "S3Uri": f"s3://bucket/output/checkpoints/a-namespace-vgtjwa6i/a_dag-mtzvjfqq/train-cfxvjra5/{RUN.key}/g0001",
        "LocalPath": "/opt/ml/checkpoints",
    }
    assert made["ResourceConfig"] == {"InstanceType": "ml.g5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 20}
    assert made["TrainingJobName"] == f"train-afspot-{RUN.key}-1-1"


def test_the_attempt_bears_its_marks_beside_what_the_user_set() -> None:
    built = plan(Environment={"A": "b"}, Tags=[{"Key": "team", "Value": "ml"}])
    made = built.request_for(2, 3, SPOT, tried(4, 5))
    assert made["Environment"] == {
        "A": "b",
        "AIRFLOW_SPOT_RUN": RUN.key,
        "AIRFLOW_SPOT_RUN_ID": f"afspot-{RUN.key}-2",
        "AIRFLOW_SPOT_GENERATION": "2",
        "AIRFLOW_SPOT_ATTEMPT": "3",
        "AIRFLOW_SPOT_RUNG": "ml.g5.xlarge spot",
        "AIRFLOW_SPOT_TRY": "4 5 - -",
        "AIRFLOW_SPOT_ROLE": "attempt",
        "AIRFLOW_SPOT_FINGERPRINT": built.fingerprint,
    }
    assert made["Tags"][0] == {"Key": "team", "Value": "ml"}
    assert {"Key": "airflow-spot:owner", "Value": "4"} in made["Tags"]
    assert made["TrainingJobName"].endswith(f"-{RUN.key}-2-3")


def test_all_attempts_of_a_generation_share_a_folder_and_generations_do_not() -> None:
    built = plan()
    first, second = (built.request_for(1, number, SPOT, tried(1, 0))["CheckpointConfig"] for number in (1, 2))
    assert first == second
    assert built.checkpoint_s3_uri(2) != built.checkpoint_s3_uri(1)


def test_attempts_share_no_state() -> None:
    built = plan(Environment={"A": "b"}, Tags=[{"Key": "team", "Value": "ml"}])
    one = built.request_for(1, 1, SPOT, tried(1, 0))
    before = deepcopy(one)
    one["Environment"]["A"] = "changed"
    one["Tags"].clear()
    one["ResourceConfig"]["InstanceType"] = "changed"
    assert built.request_for(1, 1, SPOT, tried(1, 0)) == before


def test_the_exact_scope_uses_the_folder_as_it_is() -> None:
    built = plan(spot_settings(checkpoint_s3_uri="s3://bucket/mine", checkpoint_scope="exact"))
    assert built.checkpoint_s3_uri(1) == built.checkpoint_s3_uri(7) == "s3://bucket/mine"


def test_parameters_win_over_the_config_and_the_config_over_defaults() -> None:
    fields: dict[str, Any] = {
        "StoppingCondition": {"MaxRuntimeInSeconds": "60", "MaxWaitTimeInSeconds": "90"},
        "CheckpointConfig": {"S3Uri": "s3://bucket/theirs", "LocalPath": "/opt/ml/theirs"},
    }
    made = request(**fields)
    assert made["StoppingCondition"] == {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 90}
    assert made["CheckpointConfig"]["S3Uri"].startswith("s3://bucket/theirs/")
    assert made["CheckpointConfig"]["LocalPath"] == "/opt/ml/theirs"
    ours = request(
        spot_settings(
            max_run="2m",
            max_wait=timedelta(minutes=4),
            checkpoint_s3_uri="s3://bucket/ours",
            checkpoint_local_path="/opt/ml/ours",
        ),
        **fields,
    )
    assert ours["StoppingCondition"] == {"MaxRuntimeInSeconds": 120, "MaxWaitTimeInSeconds": 240}
    assert ours["CheckpointConfig"]["S3Uri"].startswith("s3://bucket/ours/")
    assert ours["CheckpointConfig"]["LocalPath"] == "/opt/ml/ours"


@pytest.mark.parametrize("spot", [False, "False", " false "])
def test_on_demand_has_no_max_wait_and_keeps_its_checkpoints(spot: Any) -> None:
    built = plan(spot_settings(use_spot_instances=spot, max_run=60))
    made = built.request_for(1, 1, built.ladder[0], tried(1, 0))
    assert made["EnableManagedSpotTraining"] is False
    assert made["StoppingCondition"] == {"MaxRuntimeInSeconds": 60}
    assert made["CheckpointConfig"]["S3Uri"]
    assert str(built.ladder[0]) == "ml.g5.xlarge on-demand"


@pytest.mark.parametrize(
    ("max_run", "max_wait"),
    [(60, DAY + 60), (DAY, 2 * DAY), (27 * DAY + 1, 28 * DAY), (28 * DAY, 28 * DAY)],
)
def test_the_default_wait_is_a_day_more_and_never_too_long(max_run: int, max_wait: int) -> None:
    assert request(SpotSettings(max_run=max_run))["StoppingCondition"]["MaxWaitTimeInSeconds"] == max_wait


def test_a_max_wait_below_a_day_is_the_default_of_max_run() -> None:
    assert request(spot_settings(max_wait="2h"))["StoppingCondition"] == {
        "MaxRuntimeInSeconds": 7200,
        "MaxWaitTimeInSeconds": 7200,
    }


@pytest.mark.parametrize(
    ("settings", "stopping"),
    [
        (SpotSettings(), {"MaxRuntimeInSeconds": 3600, "MaxWaitTimeInSeconds": 3600}),
        (spot_settings(max_run="20m"), {"MaxRuntimeInSeconds": 1200, "MaxWaitTimeInSeconds": 3600}),
        (spot_settings(use_spot_instances=False), {"MaxRuntimeInSeconds": DAY}),
    ],
)
def test_the_defaults_obey_what_a_built_in_algorithm_may_wait(settings: SpotSettings, stopping: dict[str, int]) -> None:
    kmeans = {
        "TrainingImage": "382416733822.dkr.ecr.us-east-1.amazonaws.com/kmeans:1",
        "TrainingInputMode": "File",
    }
    built = plan(settings, AlgorithmSpecification=kmeans)
    assert built.request_for(1, 1, built.ladder[0], tried(1, 0))["StoppingCondition"] == stopping


@pytest.mark.parametrize(
    ("settings", "fields", "field", "value", "fix"),
    [
        (
            {},
            {"StoppingCondition": {"MaxRuntimeInSeconds": 100, "MaxWaitTimeInSeconds": 99}},
            "StoppingCondition.MaxWaitTimeInSeconds",
            "99",
            "at least max_run (100 s)",
        ),
        ({"max_run": "2h", "max_wait": "1h"}, {}, "StoppingCondition.MaxWaitTimeInSeconds", "3600", "7200"),
        ({"max_run": "29d"}, {}, "StoppingCondition.MaxRuntimeInSeconds", str(29 * DAY), "28 days"),
        (
            {},
            {"StoppingCondition": {"MaxRuntimeInSeconds": str(29 * DAY)}},
            "StoppingCondition.MaxRuntimeInSeconds",
            str(29 * DAY),
            "28 days",
        ),
        (
            {},
            {"ResourceConfig": {"InstanceType": "ml.m5.large", "KeepAlivePeriodInSeconds": "60"}},
            "ResourceConfig.KeepAlivePeriodInSeconds",
            "60",
            "use_spot_instances=False",
        ),
        (
            {},
            {"ResourceConfig": {"InstancePreferences": [{"InstanceType": "ml.m5.large"}]}},
            "ResourceConfig.InstancePreferences",
            "ml.m5.large",
            "use_spot_instances=False",
        ),
        ({"checkpoint_s3_uri": "bucket/x"}, {}, "CheckpointConfig.S3Uri", "'bucket/x'", "s3://bucket/prefix"),
        (
            {"checkpoint_s3_uri": "s3://b/x"},
            {"OutputDataConfig": {"S3OutputPath": "output"}},
            "OutputDataConfig.S3OutputPath",
            "'output'",
            "s3://bucket/prefix",
        ),
        (
            {},
            {"OutputDataConfig": {"S3OutputPath": "output"}},
            "OutputDataConfig.S3OutputPath",
            "'output'",
            "s3://bucket/prefix",
        ),
        (
            {},
            {"InputDataConfig": [{"ChannelName": "a", "DataSource": {"S3DataSource": {"S3Uri": "/data"}}}]},
            "InputDataConfig[0].DataSource.S3DataSource.S3Uri",
            "'/data'",
            "s3://bucket/prefix",
        ),
        ({}, {"TrainingJobName": "訓練"}, "TrainingJobName", "'訓練'", "at least one letter"),
        (
            {},
            {"HyperParameters": {f"h{i}": "1" for i in range(101)}},
            "HyperParameters",
            "",
            "at most 100",
        ),
        ({}, {"Environment": {f"E{i}": "1" for i in range(92)}}, "Environment", "", "at most 100"),
        ({}, {"Tags": [{"Key": f"k{i}", "Value": "v"} for i in range(42)]}, "Tags", "42 entries", "at most 50"),
        ({"checkpoint_scope": "mine"}, {}, "checkpoint_scope", "'mine'", '"run" or "exact"'),
        ({"use_spot_instances": "maybe"}, {}, "use_spot_instances", "'maybe'", "true or false"),
        ({"max_run": "soon"}, {}, "max_run", "'soon'", '"2h"'),
        ({}, {"ResourceConfig": {}}, "ResourceConfig.InstanceType", "None", "instance type"),
        ({}, {"RoleArn": None}, "RoleArn", "missing", "requires it"),
        ({}, {"CheckpointConfig": {"S3Uri": None}}, "CheckpointConfig.S3Uri", "missing", "requires it"),
        ({}, {"StoppingCondition": "an hour"}, "StoppingCondition", "'an hour'", "mapping"),
        ({}, {"CheckpointConfig": "s3://b/x"}, "CheckpointConfig", "'s3://b/x'", "mapping"),
        ({}, {"OutputDataConfig": "s3://b/x"}, "OutputDataConfig", "'s3://b/x'", "mapping"),
        (
            {"checkpoint_s3_uri": f"s3://bucket/{'x' * 1000}"},
            {},
            "CheckpointConfig.S3Uri",
            "s3://bucket/xxx",
            "at most 1024 characters",
        ),
    ],
)
def test_what_cannot_be_right_is_refused(
    settings: dict[str, Any], fields: dict[str, Any], field: str, value: str, fix: str
) -> None:
    with pytest.raises(InvalidParameterError) as refused:
        plan(spot_settings(**settings), **fields)
    assert refused.value.name == field
    assert value in str(refused.value)
    assert fix in str(refused.value)


def test_the_most_that_fits_passes() -> None:
    made = request(
        HyperParameters={f"h{i}": i for i in range(100)},
        Environment={f"E{i}": "1" for i in range(90)},
        Tags=[{"Key": f"k{i}", "Value": "v"} for i in range(41)],
    )
    assert len(made["Environment"]) + 2 == 100  # why and member are not always there
    assert len(made["Tags"]) + 3 == 50  # stop, delivered and request come later


@given(st.text(max_size=80))
@example("a" * 35 + "-b")
@example("a" * 36 + "-b")
def test_any_name_that_holds_something_is_planned(name: str) -> None:
    try:
        legal_prefix(name)
    except InvalidParameterError:
        assume(False)
    assert plan(TrainingJobName=name).job_name(1, 1).endswith(f"-afspot-{RUN.key}-1-1")


def test_the_tasks_id_names_the_job_where_the_config_does_not() -> None:
    without = config()
    del without["TrainingJobName"]
    assert build_plan(without, SpotSettings(), RUN, shape()).prefix == "train"


def test_the_users_config_is_never_changed() -> None:
    given_ = config(
        HyperParameters={"depth": 6},
        S3Operations={"S3Upload": []},
        StoppingCondition={"MaxRuntimeInSeconds": "60"},
        CheckpointConfig={"S3Uri": "s3://bucket/c"},
        Tags=[{"Key": "a", "Value": "b"}],
    )
    before = deepcopy(given_)
    built = build_plan(given_, SpotSettings(max_run=30, max_wait=40), RUN, shape())
    built.request_for(1, 1, SPOT, tried(1, 0))["Tags"][0]["Key"] = "changed"
    assert given_ == before
    assert "S3Operations" not in built.request


class Late:
    """An XComArg, as far as a plan can tell."""

    def __deepcopy__(self, memo: object) -> Late:
        raise AssertionError("copying it would copy its DAG")


@pytest.mark.parametrize("late", ["{{ params.x }}", Late()])
def test_templates_pass_when_the_dag_is_parsed(late: Any) -> None:
    given_ = config(
        TrainingJobName=late,
        OutputDataConfig={"S3OutputPath": late},
        StoppingCondition={"MaxRuntimeInSeconds": late},
        HyperParameters={"x": late},
    )
    laid = apply_settings(given_, SpotSettings(max_wait=late, use_spot_instances=late), "train")
    assert laid["StoppingCondition"] == {"MaxRuntimeInSeconds": late, "MaxWaitTimeInSeconds": late}
    assert laid["EnableManagedSpotTraining"] is late
    assert laid["CheckpointConfig"] == {"LocalPath": "/opt/ml/checkpoints"}


def test_instance_groups_make_a_rung() -> None:
    groups = [{"InstanceType": "ml.m5.large", "InstanceCount": 2}, {"InstanceType": "ml.g5.xlarge", "InstanceCount": 1}]
    rung = plan(ResourceConfig={"InstanceGroups": groups}).ladder[0]
    assert str(rung) == "2 x ml.m5.large + 1 x ml.g5.xlarge spot"


def test_the_error_of_a_secret_field_keeps_the_secret() -> None:
    with pytest.raises(InvalidParameterError) as refused:
        plan(HyperParameters={"password": ["hunter2"]})
    assert "hunter2" not in str(refused.value)
