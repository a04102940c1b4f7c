"""Botocore's own model of CreateTrainingJob, as the core checks requests against it."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import boto3
import pytest
from botocore.validate import ParamValidator

from airflow_spot.aws.shapes import input_shape
from airflow_spot.core.parameter_errors import InvalidParameterError
from airflow_spot.core.plan import SpotSettings, build_plan
from airflow_spot.core.request_schema import Shape, coerce
from tests.core.cases import RUN, SPOT, tried
from tests.support.requests import stock_config


@pytest.fixture(scope="module")
def client() -> Any:
    """A client that calls nothing."""
    return boto3.client("sagemaker", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")


@pytest.fixture(scope="module")
def shape(client: Any) -> Shape:
    """CreateTrainingJob's input."""
    return input_shape(client, "CreateTrainingJob")


def test_the_limits_of_the_model_are_there(shape: Shape) -> None:
    assert shape.kind == "structure"
    assert {"TrainingJobName", "RoleArn", "OutputDataConfig"} <= set(shape.required)
    name = shape.members["TrainingJobName"]()
    assert (name.kind, name.max) == ("string", 63)
    assert name.pattern
    parameters = shape.members["HyperParameters"]()
    assert (parameters.kind, parameters.max, parameters.item().max) == ("map", 100, 2_500)
    channels = shape.members["InputDataConfig"]()
    assert (channels.kind, channels.min, channels.max) == ("list", 1, 20)
    mode = shape.members["AlgorithmSpecification"]().members["TrainingInputMode"]()
    assert {"File", "Pipe", "FastFile"} <= set(mode.enum)
    assert shape.members["EnableManagedSpotTraining"]().kind == "boolean"


def test_every_type_of_the_request_can_be_read(shape: Shape) -> None:
    """All the way down; shapes that hold themselves end it."""
    seen, todo, kinds = set(), [shape], set()
    while todo:
        one = todo.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        kinds.add(one.kind)
        todo += [member() for member in one.members.values()]
        if one.kind in ("list", "map"):
            todo.append(one.item())
    assert "any" not in kinds
    assert len(seen) > 50


def test_text_of_templates_becomes_what_botocore_takes(client: Any, shape: Shape) -> None:
    config = stock_config("bucket")
    config["ResourceConfig"] = {"InstanceType": "ml.m5.xlarge", "InstanceCount": "1", "VolumeSizeInGB": "10"}
    config["StoppingCondition"] = {"MaxRuntimeInSeconds": "120", "MaxWaitTimeInSeconds": "240"}
    config["EnableNetworkIsolation"] = "False"
    config["HyperParameters"] = {"depth": 6, "rate": 0.1, "on": True}
    before = deepcopy(config)
    plan = build_plan(config, SpotSettings(), RUN, shape)
    request = plan.request_for(1, 1, SPOT, tried(1, 0))
    model = client.meta.service_model.operation_model("CreateTrainingJob").input_shape
    report = ParamValidator().validate(request, model)
    assert not report.has_errors(), report.generate_report()
    assert request["EnableNetworkIsolation"] is False
    assert request["HyperParameters"] == {"depth": "6", "rate": "0.1", "on": "True"}
    assert config == before
    # And the whole request, names and marks included, is within every limit that the model states.
    assert coerce(request, shape) == request


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"ResourceConfig": {"InstanceType": "ml.m5.xlarge", "InstanceCount": -1}}, "ResourceConfig.InstanceCount"),
        ({"HyperParameters": {"a": "x" * 2_501}}, "HyperParameters.a"),
        ({"HyperParameters": {f"h{i}": "1" for i in range(101)}}, "HyperParameters"),
        (
            {"AlgorithmSpecification": {"TrainingImage": "image", "TrainingInputMode": "file"}},
            "AlgorithmSpecification.TrainingInputMode",
        ),
        ({"RoleArn": "a role"}, "RoleArn"),
        ({"InputDataConfig": []}, "InputDataConfig"),
        ({"StoppingConditions": {}}, "StoppingConditions"),
    ],
)
def test_what_the_model_forbids_is_refused_before_a_call(shape: Shape, change: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidParameterError) as refused:
        build_plan({**stock_config("bucket"), **change}, SpotSettings(), RUN, shape)
    assert refused.value.name == field


def test_a_shape_is_read_once(client: Any, shape: Shape) -> None:
    assert input_shape(client, "CreateTrainingJob") is shape
