"""SageMaker's rules for a training job that its model does not state.

Each is [D]ocumented in the API reference or the developer guide, or [A]ssumed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from airflow_spot.local.api import ignored
from airflow_spot.local.builtin import brings_metrics
from airflow_spot.local.errors import validation
from airflow_spot.local.settings import ACCOUNT

MAX_RUNTIME = 28 * 24 * 3600
DEFAULT_MAX_RUNTIME = 24 * 3600
MAX_WAIT_WITHOUT_CHECKPOINTS = 3600

OVERRIDDEN = (
    "You can't override the metric definitions for Amazon SageMaker algorithms. Please retry the request without "
    "specifying metric definitions."
)

_NO_CHECKPOINTS = (
    *("blazingtext", "factorization-machines", "forecasting-deepar", "ipinsights", "kmeans", "knn", "lda"),
    *("linear-learner", "ntm", "object2vec", "pca", "randomcutforest", "seq2seq", "xgboost"),
)
"""The repositories of AWS's built-in algorithms that keep no checkpoints [D]; ``xgboost`` is XGBoost 0.72."""

_ALGORITHM = re.compile(rf"(?!{ACCOUNT})\d{{12}}\.dkr\.ecr\.[\w.-]+/({'|'.join(_NO_CHECKPOINTS)})(?:[:@].*)?")
"""An image of one of them. Which accounts are AWS's is not looked at: any other than the service's own counts [A]."""

_OTHER_SOURCES = {"FileSystemDataSource": " (Amazon EFS, FSx for Lustre)"}

_IGNORED = (
    "VpcConfig",
    "EnableNetworkIsolation",
    "EnableInterContainerTrafficEncryption",
    "OutputDataConfig.KmsKeyId",
    "ResourceConfig.VolumeKmsKeyId",
    "ResourceConfig.KeepAlivePeriodInSeconds",
    "ResourceConfig.TrainingPlanArn",
    "ResourceConfig.InstancePlacementConfig",
    "AlgorithmSpecification.TrainingImageConfig",
    "AlgorithmSpecification.EnableSageMakerMetricsTimeSeries",
    "DebugHookConfig",
    "DebugRuleConfigurations",
    "TensorBoardOutputConfig",
    "ProfilerConfig",
    "ProfilerRuleConfigurations",
    "ExperimentConfig",
    "RemoteDebugConfig",
    "InfraCheckConfig",
    "SessionChainingConfig",
    "MlflowConfig",
    "ModelPackageConfig",
)


def ignored_members(request: dict[str, Any]) -> list[str]:
    """Return the members of a training job's request that have no effect here."""
    return ignored.ignored_members(request, _IGNORED)


def check_training_job(request: dict[str, Any]) -> None:
    """Check a CreateTrainingJob request that the model has let pass.

    :raises ServiceError: ValidationException, for the first rule that is broken.
    """
    for problem in _problems(request):
        raise validation(problem)


def _problems(request: dict[str, Any]) -> Iterator[str]:
    yield from _algorithm(request)
    yield from _resources(request)
    yield from _times(request)
    yield from _channels(request)
    yield from _places(request)


def _algorithm(request: dict[str, Any]) -> Iterator[str]:
    algorithm = request.get("AlgorithmSpecification")
    if algorithm is None:
        if "ServerlessJobConfig" in request:
            yield "ServerlessJobConfig is not implemented by Local SageMaker"
        yield "AlgorithmSpecification is required"  # [A]
        return
    image, name = algorithm.get("TrainingImage"), algorithm.get("AlgorithmName")
    if bool(image) == bool(name):  # [D]
        yield "You must specify exactly one of TrainingImage and AlgorithmName in AlgorithmSpecification"
    if algorithm.get("MetricDefinitions") and brings_metrics(algorithm, request.get("HyperParameters", {})):  # [T]
        yield OVERRIDDEN


def _resources(request: dict[str, Any]) -> Iterator[str]:
    resources = request.get("ResourceConfig")
    if resources is None:
        yield "ResourceConfig is required"  # [A]
        return
    spot = bool(request.get("EnableManagedSpotTraining"))
    preferences, groups = resources.get("InstancePreferences"), resources.get("InstanceGroups")
    if preferences:  # [D]
        if spot:
            yield "InstancePreferences cannot be used with EnableManagedSpotTraining"
        if resources.get("InstanceType") or groups or resources.get("InstancePlacementConfig"):
            yield (
                "InstancePreferences cannot be used together with InstanceType, InstanceGroups or "
                "InstancePlacementConfig"
            )
    elif groups:
        yield "InstanceGroups (heterogeneous clusters) are not implemented by Local SageMaker"
    elif not resources.get("InstanceType"):  # [D]
        yield "ResourceConfig.InstanceType is required"
    if int(resources.get("InstanceCount", 1)) < 1:  # [D]
        yield f"ResourceConfig.InstanceCount is {resources['InstanceCount']}; it must be at least 1"
    if spot and resources.get("KeepAlivePeriodInSeconds"):  # [D]
        yield "KeepAlivePeriodInSeconds (warm pools) cannot be used with EnableManagedSpotTraining"
    if spot and resources.get("TrainingPlanArn"):  # [A]
        yield "TrainingPlanArn cannot be used with EnableManagedSpotTraining"


def _times(request: dict[str, Any]) -> Iterator[str]:
    stopping = request.get("StoppingCondition", {})
    run = int(stopping.get("MaxRuntimeInSeconds", DEFAULT_MAX_RUNTIME))
    wait = stopping.get("MaxWaitTimeInSeconds")
    spot = bool(request.get("EnableManagedSpotTraining"))
    if run > MAX_RUNTIME:  # [D]
        yield f"Invalid MaxRuntimeInSeconds {run}. It must be at most {MAX_RUNTIME} (28 days)."
    if spot and wait is None:  # [D]: "You must specify it when EnableManagedSpotTraining is set"; wording [A]
        yield "Invalid MaxWaitTimeInSeconds. It must be present if EnableManagedSpotTraining is true."
    if not spot and wait is not None:  # [D]
        yield "Invalid MaxWaitTimeInSeconds. It is only supported when EnableManagedSpotTraining is set to true"
    if wait is not None and int(wait) < run:  # [D]
        yield (
            f"Invalid MaxWaitTimeInSeconds {wait}. It must be present and be greater than or equal to "
            f"MaxRuntimeInSeconds {run}."
        )
    image = str((request.get("AlgorithmSpecification") or {}).get("TrainingImage") or "")
    found = _ALGORITHM.fullmatch(image)
    if found and wait is not None and int(wait) > MAX_WAIT_WITHOUT_CHECKPOINTS:  # [D]; wording [A]
        yield (
            f"Invalid MaxWaitTimeInSeconds {wait}. It must be at most {MAX_WAIT_WITHOUT_CHECKPOINTS} for the built-in "
            f"algorithm {found[1]}, which does not support checkpoints."
        )


def _channels(request: dict[str, Any]) -> Iterator[str]:
    channels = request.get("InputDataConfig", ())
    names = [channel["ChannelName"] for channel in channels]
    doubles = sorted({name for name in names if names.count(name) > 1})
    if doubles:  # [D]
        yield f"Channel names must be unique; more than one is called {', '.join(doubles)}"
    mode = request["AlgorithmSpecification"]["TrainingInputMode"] if request.get("AlgorithmSpecification") else "File"
    modes = {channel.get("InputMode", mode) for channel in channels}
    if "Pipe" in modes:
        yield "TrainingInputMode Pipe is not implemented by Local SageMaker; use File or FastFile"
    for channel in channels:
        sources = [name for name, value in channel["DataSource"].items() if value]
        if len(sources) != 1:  # [D]
            yield f"Channel {channel['ChannelName']} needs exactly one data source"
        elif sources != ["S3DataSource"]:
            source = f"{sources[0]}{_OTHER_SOURCES.get(sources[0], '')}"
            yield (
                f"Channel {channel['ChannelName']}: {source} is not implemented by Local SageMaker; use S3DataSource"
            )


def _places(request: dict[str, Any]) -> Iterator[str]:
    uris = {
        "OutputDataConfig.S3OutputPath": request["OutputDataConfig"]["S3OutputPath"],
        "CheckpointConfig.S3Uri": request.get("CheckpointConfig", {}).get("S3Uri"),
    }
    for field, uri in uris.items():
        if uri is not None and not uri.startswith("s3://"):  # [A]: the pattern lets https pass
            yield f"{field} {uri!r} is not an S3 URI"
    checkpoints = request.get("CheckpointConfig")
    path = checkpoints.get("LocalPath") if checkpoints else None
    if path is not None and not path.startswith("/"):  # [A]
        yield f"CheckpointConfig.LocalPath {path!r} is not an absolute path"
