"""How each kind of trainer is asked to train, and what it takes as inputs."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from airflow_spot.sdk.capture import HeldBack, Kept


class ExportError(Exception):
    """A trainer cannot be exported; the message says what to change."""


def ask(trainer: Any, inputs: Any, kept: Kept) -> None:
    """
    Have a trainer make its request.

    :raises ExportError: it is no trainer, or makes none.
    """
    name = type(trainer).__name__
    if _is_local(trainer):  # it would train here
        raise ExportError(
            f"{name} trains on this machine, in local mode: give it an instance type, such as ml.g5.xlarge, and, of "
            "SDK 3, Mode.SAGEMAKER_TRAINING_JOB"
        )
    try:
        if hasattr(trainer, "train") and hasattr(trainer, "training_image"):
            trainer.train(input_data_config=_input_data(trainer, inputs), wait=False, logs=False)
        elif hasattr(trainer, "fit") and hasattr(trainer, "instance_type"):
            trainer.fit(inputs, wait=False)
        else:
            raise ExportError(f"{name} is no trainer: give an Estimator (SDK 2) or a ModelTrainer (SDK 3)")
    except HeldBack:
        pass
    except ExportError:
        raise
    except Exception as error:
        # The SDK continues without an answer in places, and stumbles: what it asked for is there.
        if kept.request is None:
            raise ExportError(f"{name} failed before it asked SageMaker for a job: {error}") from error
    if kept.request is None:
        raise ExportError(f"{name} asked SageMaker for no training job: with a PipelineSession, make it without one")


def _is_local(trainer: Any) -> bool:
    instance, mode = getattr(trainer, "instance_type", None), getattr(trainer, "training_mode", None)
    return instance in ("local", "local_gpu") or getattr(mode, "name", mode) == "LOCAL_CONTAINER"


def _input_data(trainer: Any, inputs: Any) -> Any:
    """Return S3 URIs by channel as SDK 3 takes them; anything else as it is."""
    if isinstance(inputs, str):
        inputs = {"training": inputs}
    if not isinstance(inputs, Mapping):
        return inputs
    configs = importlib.import_module(f"{type(trainer).__module__.rpartition('.')[0]}.configs")
    return [configs.InputData(channel_name=name, data_source=uri) for name, uri in inputs.items()]
