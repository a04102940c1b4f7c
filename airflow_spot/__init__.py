"""
SageMaker managed spot training from Airflow that never loses work and never pays twice.

The public names are loaded when they are asked for: importing the package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from airflow_spot.core.ladder import Rung
    from airflow_spot.core.parameter_errors import InvalidParameterError
    from airflow_spot.errors import (
        MaxCostReachedError,
        MaxRuntimeExceededError,
        NonRetryableSpotError,
        NoProgressError,
        QuotaError,
        RequestError,
        RunKilledError,
        RunTimeoutError,
        SageMakerServiceError,
        ScriptError,
        SpotCapacityError,
        SpotTrainingError,
        StoppedExternallyError,
    )
    from airflow_spot.hooks.training import SageMakerSpotTrainingHook
    from airflow_spot.operators.reaper import SageMakerSpotReaperOperator
    from airflow_spot.operators.training import SageMakerSpotTrainingOperator
    from airflow_spot.sensors.capacity import SageMakerSpotCapacitySensor
    from airflow_spot.sensors.checkpoint import SageMakerCheckpointSensor
    from airflow_spot.sensors.training import SageMakerSpotTrainingSensor
    from airflow_spot.triggers.training import SageMakerSpotTrainingTrigger

_LAZY = {
    "InvalidParameterError": "airflow_spot.core.parameter_errors",
    "MaxRuntimeExceededError": "airflow_spot.errors",
    "MaxCostReachedError": "airflow_spot.errors",
    "NoProgressError": "airflow_spot.errors",
    "NonRetryableSpotError": "airflow_spot.errors",
    "QuotaError": "airflow_spot.errors",
    "RequestError": "airflow_spot.errors",
    "Rung": "airflow_spot.core.ladder",
    "RunKilledError": "airflow_spot.errors",
    "RunTimeoutError": "airflow_spot.errors",
    "SageMakerCheckpointSensor": "airflow_spot.sensors.checkpoint",
    "SageMakerServiceError": "airflow_spot.errors",
    "SageMakerSpotCapacitySensor": "airflow_spot.sensors.capacity",
    "SageMakerSpotReaperOperator": "airflow_spot.operators.reaper",
    "SageMakerSpotTrainingHook": "airflow_spot.hooks.training",
    "SageMakerSpotTrainingOperator": "airflow_spot.operators.training",
    "SageMakerSpotTrainingSensor": "airflow_spot.sensors.training",
    "SageMakerSpotTrainingTrigger": "airflow_spot.triggers.training",
    "ScriptError": "airflow_spot.errors",
    "SpotCapacityError": "airflow_spot.errors",
    "SpotTrainingError": "airflow_spot.errors",
    "StoppedExternallyError": "airflow_spot.errors",
}

__all__ = [
    "InvalidParameterError",
    "MaxCostReachedError",
    "MaxRuntimeExceededError",
    "NoProgressError",
    "NonRetryableSpotError",
    "QuotaError",
    "RequestError",
    "RunKilledError",
    "RunTimeoutError",
    "Rung",
    "SageMakerCheckpointSensor",
    "SageMakerServiceError",
    "SageMakerSpotCapacitySensor",
    "SageMakerSpotReaperOperator",
    "SageMakerSpotTrainingHook",
    "SageMakerSpotTrainingOperator",
    "SageMakerSpotTrainingSensor",
    "SageMakerSpotTrainingTrigger",
    "ScriptError",
    "SpotCapacityError",
    "SpotTrainingError",
    "StoppedExternallyError",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
