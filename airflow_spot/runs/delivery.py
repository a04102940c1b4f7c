"""What a run does between the end of its training and the mark that its result was handed over. A crash repeats it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_spot.aws.model_copy import NoModelError, PlaceError, copy_model
from airflow_spot.errors import NonRetryableSpotError
from airflow_spot.runs.conflicts import ConflictGuard
from airflow_spot.runs.retention import apply_retention

if TYPE_CHECKING:
    from airflow_spot.core.parameters import TrainingParameters
    from airflow_spot.runs.controller import TrainingRun


def deliver(run: TrainingRun, parameters: TrainingParameters, description: Mapping[str, Any]) -> str | None:
    """
    Put the model where the user wants it, and delete old checkpoints.

    :param description: of the job that completed.
    :return: where the model was copied to, an S3 URI; None where it stays where SageMaker put it.
    :raises NonRetryableSpotError: the job made no model, or it cannot go to where it is to go.
    :raises RunKilledError: the task was started over meanwhile: its model is no longer this one.
    """
    placed = None
    if parameters.model_s3_uri is not None:
        placed = _place_model(run, parameters.model_s3_uri, description)
    if parameters.checkpoint_retention is not None:
        apply_retention(run.hook, run.plan, description, parameters.checkpoint_retention, run.log)
    return placed


def _place_model(run: TrainingRun, target: str, description: Mapping[str, Any]) -> str:
    # A try that was frozen must not put an old model in the place of a newer one.
    ConflictGuard(run.hook, run.plan, run.this_try, run.log).check_generation(run.history.generation)
    name = str(description["TrainingJobName"])
    source = str((description.get("ModelArtifacts") or {}).get("S3ModelArtifacts") or "")
    key = (description.get("OutputDataConfig") or {}).get("KmsKeyId") or None
    try:
        if not source:
            raise NoModelError("SageMaker names no model artifacts")
        place, copied = copy_model(run.hook.s3_hook.get_conn(), source, target, name, key)
    except NoModelError as error:
        raise NonRetryableSpotError(
            f"model_s3_uri: training job {name} completed, and {error}. Have the script write its model to "
            "/opt/ml/model, and clear the task with resume=False to train again"
        ) from None
    except PlaceError as error:
        raise NonRetryableSpotError(
            f"model_s3_uri: training job {name} completed, and {error}. Name another folder, or empty that one, and "
            "clear the task (resume=True): the model is copied, and nothing trained again"
        ) from None
    run.log.info("%s the model from %s to %s", "Copied" if copied else "Had already copied", source, place)
    return place
