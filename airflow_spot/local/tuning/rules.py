"""SageMaker's rules for a tuning job that its model does not state, and the requests of its training jobs.

Each rule is [D]ocumented in the API reference or the developer guide, seen in public [T]hreads, or [A]ssumed.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterator
from random import Random
from typing import Any

from airflow_spot.local.builtin import brings_metrics, metric_definitions
from airflow_spot.local.errors import limit_exceeded, validation
from airflow_spot.local.training.environment import OBJECTIVE_PARAMETER
from airflow_spot.local.training.rules import OVERRIDDEN, check_training_job
from airflow_spot.local.tuning.ranges import Categorical, Range, combinations_of, draws, grid, parse_ranges
from airflow_spot.local.tuning.trials import Limits

MAX_JOBS = 10_000
MAX_PARALLEL = 100

_PASSED_ON = (
    "RoleArn",
    "InputDataConfig",
    "VpcConfig",
    "OutputDataConfig",
    "StoppingCondition",
    "EnableNetworkIsolation",
    "EnableInterContainerTrafficEncryption",
    "EnableManagedSpotTraining",
    "RetryStrategy",
    "Environment",
)
_ONE_INSTANCE_TYPE = ("InstanceType", "InstanceCount", "VolumeSizeInGB", "VolumeKmsKeyId")


def check_tuning_job(request: dict[str, Any]) -> None:
    """Check a CreateHyperParameterTuningJob request that the model has let pass.

    :raises ServiceError: ValidationException, for the first rule that is broken; ResourceLimitExceeded.
    """
    for problem in _problems(request):
        raise validation(problem)
    try:
        ranges = ranges_of(request)
    except ValueError as error:
        raise validation(f"HyperParameterTuningJobConfig.ParameterRanges: {error}") from None
    for problem in [*_grid(request, ranges), *_amounts(request, ranges), *_hyperparameters(request, ranges)]:
        raise validation(problem)
    _check_amounts(request, ranges)
    first = next(combinations(request, ranges))
    check_training_job(training_request(request, f"{request['HyperParameterTuningJobName']}-001-00000000", first))


def _problems(request: dict[str, Any]) -> Iterator[str]:
    config, definition = request["HyperParameterTuningJobConfig"], request.get("TrainingJobDefinition")
    for name, meaning in (("WarmStartConfig", "warm start"), ("Autotune", "Autotune")):
        if request.get(name):
            yield f"{name} is not implemented by Local SageMaker: there is no {meaning}"
    if request.get("TrainingJobDefinitions"):
        yield "TrainingJobDefinitions is not implemented by Local SageMaker; give one TrainingJobDefinition"
    if definition is None:
        yield "TrainingJobDefinition is required"  # [A]
        return
    if config["Strategy"] == "Hyperband":
        yield "Strategy Hyperband is not implemented by Local SageMaker; use Random, Grid or Bayesian"
    if config.get("StrategyConfig"):  # [D]
        yield "StrategyConfig is for the strategy Hyperband only"
    for name in ("TuningObjective", "HyperParameterRanges"):
        if definition.get(name):  # [A]
            yield (
                f"TrainingJobDefinition.{name} belongs to TrainingJobDefinitions; with one definition it is given in "
                "HyperParameterTuningJobConfig"
            )
    resources = definition.get("HyperParameterTuningResourceConfig")
    if resources and resources.get("InstanceConfigs"):
        yield "HyperParameterTuningResourceConfig.InstanceConfigs is not implemented by Local SageMaker"
    if bool(resources) == bool(definition.get("ResourceConfig")):  # [D]
        yield "TrainingJobDefinition needs one of ResourceConfig and HyperParameterTuningResourceConfig"
    yield from _objective(config, definition)


def _objective(config: dict[str, Any], definition: dict[str, Any]) -> Iterator[str]:
    objective = config.get("HyperParameterTuningJobObjective")
    if objective is None:
        yield "HyperParameterTuningJobConfig.HyperParameterTuningJobObjective is required"  # [A]
        return
    algorithm, static = definition["AlgorithmSpecification"], definition.get("StaticHyperParameters", {})
    if algorithm.get("MetricDefinitions") and brings_metrics(algorithm, static):  # [T] for a training job, [A] here
        yield OVERRIDDEN
        return
    metrics = metric_definitions(algorithm, static)
    if objective["MetricName"] not in [metric["Name"] for metric in metrics]:  # [T]
        yield (
            "A metric is required for this hyperparameter tuning job objective. Provide a metric in the metric "
            f"definitions. (AlgorithmSpecification.MetricDefinitions has no {objective['MetricName']!r})"
        )


def _grid(request: dict[str, Any], ranges: list[Range]) -> Iterator[str]:
    if request["HyperParameterTuningJobConfig"]["Strategy"] != "Grid":
        return
    others = [item.name for item in ranges if not isinstance(item, Categorical)]
    if others:  # [D]
        yield f"Strategy Grid supports categorical ranges only; {', '.join(others)} has another"
        return
    wanted, total = _limit(request), combinations_of(ranges)
    if wanted not in (None, total):  # [D]
        yield (
            f"MaxNumberOfTrainingJobs is {wanted}; with the strategy Grid it must be left out, or be the number of "
            f"combinations, {total:.0f}"
        )


def _amounts(request: dict[str, Any], ranges: list[Range]) -> Iterator[str]:
    wanted, total = _limit(request), combinations_of(ranges)
    if wanted is not None and wanted > total:  # [T]
        yield (
            "You don't have enough combinations of hyperparameter ranges. The total number of hyperparameter "
            f"combinations for the provided ranges [{total}] must be equal or greater than the value of "
            f"MaxNumberOfJobs, [{wanted}]. Provide additional ranges."
        )
    resource_limits = request["HyperParameterTuningJobConfig"]["ResourceLimits"]
    endless = wanted is None and "MaxRuntimeInSeconds" not in resource_limits
    if endless and request["HyperParameterTuningJobConfig"]["Strategy"] != "Grid":  # [A]
        yield "ResourceLimits needs MaxNumberOfTrainingJobs or MaxRuntimeInSeconds"


def _hyperparameters(request: dict[str, Any], ranges: list[Range]) -> Iterator[str]:
    static = request["TrainingJobDefinition"].get("StaticHyperParameters", {})
    both = [item.name for item in ranges if item.name in static]
    if both:  # [A]
        yield f"{', '.join(both)}: both in StaticHyperParameters and in ParameterRanges"


def _check_amounts(request: dict[str, Any], ranges: list[Range]) -> None:
    """Check against the most that AWS raises these quotas to [D]; the defaults are lower."""
    config = request["HyperParameterTuningJobConfig"]
    jobs = combinations_of(ranges) if config["Strategy"] == "Grid" else _limit(request) or 0
    parallel = config["ResourceLimits"]["MaxParallelTrainingJobs"]
    for what, amount, most in (("training jobs", jobs, MAX_JOBS), ("parallel training jobs", parallel, MAX_PARALLEL)):
        if amount > most:
            raise limit_exceeded(f"A hyperparameter tuning job may have {most} {what}; {amount:.0f} are asked for.")


def _limit(request: dict[str, Any]) -> int | None:
    limit: int | None = request["HyperParameterTuningJobConfig"]["ResourceLimits"].get("MaxNumberOfTrainingJobs")
    return limit


def ranges_of(request: dict[str, Any]) -> list[Range]:
    """Return the ranges of a tuning job.

    :raises ValueError: if one is wrong.
    """
    return parse_ranges(request["HyperParameterTuningJobConfig"].get("ParameterRanges", {}))


def combinations(request: dict[str, Any], ranges: list[Range]) -> Iterator[dict[str, str]]:
    """Return the values of the training jobs in order. With a RandomSeed they are the same each time [D]."""
    config = request["HyperParameterTuningJobConfig"]
    if config["Strategy"] == "Grid":
        return grid(ranges)
    # Bayesian too: what is searched next does not depend on results here.
    return draws(ranges, Random(config.get("RandomSeed")))  # noqa: S311 - a search is no secret


def limits_of(request: dict[str, Any], creation_time: float) -> Limits:
    """Return when a tuning job is over. MaxRuntimeInSeconds counts from its creation [A]."""
    config = request["HyperParameterTuningJobConfig"]
    criteria = config.get("TuningJobCompletionCriteria", {})
    seconds = config["ResourceLimits"].get("MaxRuntimeInSeconds")
    return Limits(
        maximize=config["HyperParameterTuningJobObjective"]["Type"] == "Maximize",
        trials=_limit(request),
        target=criteria.get("TargetObjectiveMetricValue"),
        not_improving=criteria.get("BestObjectiveNotImproving", {}).get("MaxNumberOfTrainingJobsNotImproving"),
        until=None if seconds is None else creation_time + seconds,
    )


def with_objective(request: dict[str, Any]) -> dict[str, Any]:
    """Return the request as SageMaker keeps it: with the objective's name among the static hyperparameters [T].

    It is JSON text where the SDK's own hyperparameters are, and else plain [T].
    """
    request = copy.deepcopy(request)
    static = request["TrainingJobDefinition"].setdefault("StaticHyperParameters", {})
    name = request["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"]["MetricName"]
    encoded = static.get("sagemaker_program", "").startswith('"')
    static.setdefault(OBJECTIVE_PARAMETER, json.dumps(name) if encoded else name)
    return request


def child_name(tuning_arn: str, name: str, number: int, creation_time: float) -> str:
    """Return a training job's name: the tuning job's, a number and eight hexadecimal digits [T].

    :param creation_time: of the tuning job, so that another one of the same name has other training jobs.
    """
    digest = hashlib.sha256(f"{tuning_arn}/{creation_time}/{number}".encode()).hexdigest()[:8]
    return f"{name}-{number:03d}-{digest}"


def training_request(request: dict[str, Any], name: str, tuned: dict[str, str]) -> dict[str, Any]:
    """Return the body of CreateTrainingJob for one combination of values.

    Each job has a checkpoint folder of its own below the definition's S3Uri, by its name [A]: with one for all, each
    would resume from another's checkpoints.
    """
    definition = copy.deepcopy(request["TrainingJobDefinition"])
    training = {key: definition[key] for key in _PASSED_ON if key in definition}
    resources = definition.get("ResourceConfig")
    if resources is None:
        flexible = definition["HyperParameterTuningResourceConfig"]
        resources = {key: flexible[key] for key in _ONE_INSTANCE_TYPE if key in flexible}
    training.update(
        TrainingJobName=name,
        HyperParameters={**definition.get("StaticHyperParameters", {}), **tuned},
        AlgorithmSpecification=definition["AlgorithmSpecification"],
        ResourceConfig=resources,
    )
    if definition.get("CheckpointConfig"):
        checkpoints = definition["CheckpointConfig"]
        training["CheckpointConfig"] = {**checkpoints, "S3Uri": f"{checkpoints['S3Uri'].rstrip('/')}/{name}"}
    return training


def ignored_members(request: dict[str, Any]) -> list[str]:
    """Return the members of a request that are accepted, described, and without effect."""
    config = request["HyperParameterTuningJobConfig"]
    found = []
    if config["Strategy"] == "Bayesian":
        found.append("HyperParameterTuningJobConfig.Strategy Bayesian (drawn at random)")
    criteria = config.get("TuningJobCompletionCriteria", {})
    if criteria.get("ConvergenceDetected", {}).get("CompleteOnConvergence") == "Enabled":
        found.append("HyperParameterTuningJobConfig.TuningJobCompletionCriteria.ConvergenceDetected")
    return found
