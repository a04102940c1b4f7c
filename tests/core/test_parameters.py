"""Parameters are read once: literals when the operator is built, templates when it runs."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_spot.core.parameter_errors import InvalidParameterError
from airflow_spot.core.parameters import PARAMETERS, check_parameters, read_parameters
from airflow_spot.operators.training import SageMakerSpotTrainingOperator

CONFIG = {"OutputDataConfig": {"S3OutputPath": "s3://bucket/o"}, "ResourceConfig": {"InstanceType": "ml.m5.large"}}
DEFAULTS: dict[str, Any] = {
    **dict.fromkeys(PARAMETERS),
    "config": CONFIG,
    "use_spot_instances": True,
    "use_checkpoints": True,
    "checkpoint_scope": "run",
    "resume": True,
    "script_error_retries": 0,
    "retry_exit_codes": (),
    "action_if_job_exists": "timestamp",
}


def given(**more: Any) -> SimpleNamespace:
    return SimpleNamespace(**{**DEFAULTS, **more})


@pytest.mark.parametrize(
    ("name", "value", "read"),
    [
        ("max_run", "2h", 7200),
        ("max_wait", timedelta(minutes=3), 180),
        ("use_spot_instances", "False", False),
        ("use_checkpoints", "False", False),
        ("resume", " true ", True),
        ("retry_exit_codes", [1, "2"], (1, 2)),
        ("check_interval", "0.5", 0.5),
        ("code_location", "", None),
        ("events_queue_url", "", None),
        ("resume_from", "", None),
        ("resume_from", {"dag_id": "d", "run_id": "r", "task_id": "t"}, {"dag_id": "d", "run_id": "r", "task_id": "t"}),
    ],
)
def test_a_value_is_read_as_its_type(name: str, value: Any, read: Any) -> None:
    assert getattr(read_parameters(given(**{name: value})), name) == read


@pytest.mark.parametrize("name", sorted(name for name, each in PARAMETERS.items() if each.templated))
def test_a_template_is_left_until_the_task_runs(name: str) -> None:
    late = given(**{"entry_point": "train.py", name: "{{ params.x }}"})
    assert getattr(read_parameters(late, rendered=False), name) == "{{ params.x }}"
    check_parameters(late, "train")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("config", None),
        ("config", "text"),
        ("max_run", "soon"),
        ("max_wait", 0),
        ("use_spot_instances", "maybe"),
        ("use_checkpoints", "maybe"),
        ("checkpoint_scope", "mine"),
        ("on_config_change", "perhaps"),
        ("resume_from", {"dag": "d"}),
        ("max_attempts", 0),
        ("script_error_retries", -1),
        ("retry_exit_codes", "1"),
        ("code_location", "/tmp"),
        ("check_interval", 0),
        ("events_queue_url", "queue"),
        ("action_if_job_exists", "increment"),
        ("ladder", []),
        ("source_dir", "src"),
    ],
)
def test_what_is_wrong_is_named_when_the_operator_is_built(name: str, value: Any) -> None:
    with pytest.raises(InvalidParameterError, match=name):
        check_parameters(given(**{name: value}), "train")


KEPT = {"CheckpointConfig": {"S3Uri": "s3://bucket/c"}}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("checkpoint_s3_uri", "s3://bucket/c"),
        ("checkpoint_local_path", "/opt/ml/checkpoints"),
        ("checkpoint_scope", "exact"),
        ("resume_from", "s3://bucket/c"),
        ("resume_from", "run"),
        ("checkpoint_retention", "30d"),
        ("CheckpointConfig", KEPT["CheckpointConfig"]),
    ],
)
@pytest.mark.parametrize("own", [False, "False"])
def test_without_checkpoints_what_is_said_of_them_is_refused(name: str, value: Any, own: Any) -> None:
    more = {"config": {**CONFIG, **KEPT}} if name == "CheckpointConfig" else {name: value}
    wrong = given(use_checkpoints=own, **more)
    for read in (check_parameters, lambda task, _: read_parameters(task)):
        with pytest.raises(InvalidParameterError, match=f"{name} is .*use_checkpoints=False.*remove one") as refused:
            read(wrong, "train")
        assert (refused.value.name, refused.value.value) == (name, value)  # as it was given
    check_parameters(given(use_checkpoints=True, **more), "train")


def test_without_checkpoints_what_says_nothing_of_them_is_right() -> None:
    config = {**CONFIG, "CheckpointConfig": {}}
    read = read_parameters(given(use_checkpoints=False, config=config, resume=False, resume_from=""))
    assert read.use_checkpoints is False
    assert read.spot_settings.use_checkpoints is False


def test_what_is_still_a_template_is_refused_when_the_task_runs() -> None:
    """It may render to nothing."""
    task = given(
        use_checkpoints=False, resume_from="{{ params.seed }}", config={**CONFIG, "CheckpointConfig": "{{ x }}"}
    )
    check_parameters(task, "train")
    task.config = CONFIG
    task.resume_from = "a-job"
    with pytest.raises(InvalidParameterError, match="resume_from is 'a-job'"):
        read_parameters(task)
    late = given(use_checkpoints="{{ params.own }}", checkpoint_scope="exact")
    check_parameters(late, "train")
    late.use_checkpoints = False
    with pytest.raises(InvalidParameterError, match="checkpoint_scope is 'exact'"):
        read_parameters(late)


def test_every_parameter_of_the_operator_is_in_the_table_and_templated_as_it_says() -> None:
    import inspect

    signature = set(inspect.signature(SageMakerSpotTrainingOperator.__init__).parameters) - {"self", "kwargs"}
    assert signature - {"check_if_job_exists"} == set(PARAMETERS)
    templated = {name for name, each in PARAMETERS.items() if each.templated}
    assert templated == set(SageMakerSpotTrainingOperator.template_fields) & set(PARAMETERS)
