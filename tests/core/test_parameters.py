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


def test_every_parameter_of_the_operator_is_in_the_table_and_templated_as_it_says() -> None:
    import inspect

    signature = set(inspect.signature(SageMakerSpotTrainingOperator.__init__).parameters) - {"self", "kwargs"}
    assert signature - {"check_if_job_exists"} == set(PARAMETERS)
    templated = {name for name, each in PARAMETERS.items() if each.templated}
    assert templated == set(SageMakerSpotTrainingOperator.template_fields) & set(PARAMETERS)
