"""Tuning jobs that are refused: what Local SageMaker has not, and what SageMaker would not take either."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local.jobs import Jobs
from tests.local.tuning.tuning_jobs import CATEGORICAL, Tuning, choice


@pytest.fixture
def simulated(simulated_jobs: Jobs) -> Tuning:
    return Tuning(simulated_jobs)


@pytest.mark.parametrize(
    ("config", "definition", "what"),
    [
        ({"Strategy": "Hyperband"}, {}, "Hyperband is not implemented by Local SageMaker"),
        ({"HyperParameterTuningJobObjective": None}, {}, "HyperParameterTuningJobObjective is required"),
        ({"HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "f1"}}, {}, "A metric is required"),
        ({"Strategy": "Grid"}, {}, "Grid supports categorical ranges only; simulated_metric"),
        ({"ParameterRanges": {"AutoParameters": [{"Name": "a", "ValueHint": "1"}]}}, {}, "AutoParameters"),
        ({"ParameterRanges": {CATEGORICAL: [choice("a", 1, 2)]}}, {}, r"\[2\.0\] must be equal or greater .* \[3\]"),
        ({"Strategy": "Grid", "ParameterRanges": {CATEGORICAL: [choice("a", 1, 2)]}}, {}, "combinations, 2"),
        ({"ResourceLimits": {"MaxNumberOfTrainingJobs": None}}, {}, "MaxNumberOfTrainingJobs or MaxRuntimeInSeconds"),
        ({"ResourceLimits": {"MaxParallelTrainingJobs": 101}}, {}, "100 parallel training jobs; 101"),
        ({}, {"StaticHyperParameters": {"simulated_metric": "1"}}, "simulated_metric: both in Static"),
        ({}, {"StoppingCondition": {"MaxRuntimeInSeconds": 60}}, "Invalid MaxWaitTimeInSeconds"),
        ({}, {"ResourceConfig": None}, "one of ResourceConfig and HyperParameterTuningResourceConfig"),
        ({}, {"HyperParameterRanges": {CATEGORICAL: [choice("a", 1)]}}, "belongs to TrainingJobDefinitions"),
        ({}, None, "TrainingJobDefinition is required"),
    ],
)
def test_requests_that_are_refused(
    simulated: Tuning, config: dict[str, Any], definition: dict[str, Any] | None, what: str
) -> None:
    request = simulated.request(**{**config, "definition": definition or {}})
    cut = {
        name: {key: item for key, item in value.items() if item is not None} if isinstance(value, dict) else value
        for name, value in request.items()
        if name != "TrainingJobDefinition" or definition is not None
    }
    with pytest.raises(ClientError, match=what):
        simulated.sagemaker.create_hyper_parameter_tuning_job(**cut)


def test_warm_start_and_several_definitions_are_refused(simulated: Tuning) -> None:
    request = simulated.request()
    parents = {"ParentHyperParameterTuningJobs": [{"HyperParameterTuningJobName": "a"}]}
    warm = {"WarmStartConfig": {**parents, "WarmStartType": "TransferLearning"}}
    with pytest.raises(ClientError, match="WarmStartConfig is not implemented by Local SageMaker"):
        simulated.sagemaker.create_hyper_parameter_tuning_job(**request, **warm)
    definition = request.pop("TrainingJobDefinition")
    with pytest.raises(ClientError, match="TrainingJobDefinitions is not implemented by Local SageMaker"):
        simulated.sagemaker.create_hyper_parameter_tuning_job(**request, TrainingJobDefinitions=[definition])
    with pytest.raises(ClientError, match="Autotune is not implemented by Local SageMaker"):
        simulated.sagemaker.create_hyper_parameter_tuning_job(
            **request, TrainingJobDefinition=definition, Autotune={"Mode": "Enabled"}
        )


LINEAR = "382416733822.dkr.ecr.us-east-1.amazonaws.com/linear-learner:1"


def built_in(image: str, **more: Any) -> dict[str, Any]:
    return {"AlgorithmSpecification": {"TrainingImage": image, "TrainingInputMode": "File", **more}}


@pytest.mark.parametrize(
    ("image", "metric"),
    [
        (LINEAR, "validation:objective_loss"),
        ("174872318107.dkr.ecr.us-west-2.amazonaws.com/kmeans:1", "test:msd"),
        ("683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1", "validation:rmse"),
    ],
)
def test_a_built_in_algorithm_brings_its_metrics(simulated: Tuning, image: str, metric: str) -> None:
    waits = {"MaxRuntimeInSeconds": 600, "MaxWaitTimeInSeconds": 1200}
    objective = {"Type": "Minimize", "MetricName": metric}
    definition = {**built_in(image), "StaticHyperParameters": {"simulated_seconds": "0.1"}}
    name = simulated.start(
        definition=definition, training={"StoppingCondition": waits}, HyperParameterTuningJobObjective=objective
    )
    best = simulated.end(name)["BestTrainingJob"]["FinalHyperParameterTuningJobObjectiveMetric"]
    assert best["MetricName"] == metric


def test_another_metric_of_a_built_in_algorithm_is_refused(simulated: Tuning) -> None:
    objective = {"Type": "Minimize", "MetricName": "validation:speed"}
    with pytest.raises(ClientError, match="A metric is required"):
        simulated.start(definition=built_in(LINEAR), HyperParameterTuningJobObjective=objective)


@pytest.mark.parametrize("image", [LINEAR, "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1"])
def test_metrics_of_a_built_in_algorithm_are_not_overridden(simulated: Tuning, image: str) -> None:
    definitions = [{"Name": "loss", "Regex": "loss=(.*)"}]
    with pytest.raises(ClientError, match="You can't override the metric definitions"):
        simulated.start(definition=built_in(image, MetricDefinitions=definitions))


def test_an_image_of_ones_own_that_is_called_so_brings_none(simulated: Tuning) -> None:
    image = "123456789012.dkr.ecr.us-east-1.amazonaws.com/linear-learner:1"
    objective = {"Type": "Minimize", "MetricName": "validation:objective_loss"}
    with pytest.raises(ClientError, match="A metric is required"):
        simulated.start(definition=built_in(image), HyperParameterTuningJobObjective=objective)
