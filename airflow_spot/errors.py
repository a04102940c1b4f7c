"""
The errors that a run can end with.

Those under :class:`NonRetryableSpotError` end the task at once: Airflow does not retry what a retry cannot help.
"""

from __future__ import annotations

from airflow_spot.compat.sdk import AirflowException, AirflowFailException
from airflow_spot.core.outcomes import Outcome


class SpotTrainingError(AirflowException):
    """A run failed; an Airflow retry may help, and resumes from the newest checkpoint."""


class NonRetryableSpotError(AirflowFailException, SpotTrainingError):
    """A run failed, and an Airflow retry cannot help."""


class ScriptError(SpotTrainingError):
    """The training script failed (``AlgorithmError``), or used up its instance's memory."""


class MaxRuntimeExceededError(SpotTrainingError):
    """The job trained for its whole ``max_run`` and was stopped, or jobs did so that ``max_wait`` cut off."""


class RunTimeoutError(SpotTrainingError):
    """The task's own time was up (``max_ingestion_time`` or ``execution_timeout``); its job was stopped."""


class RunKilledError(SpotTrainingError):
    """Airflow killed the task while it ran; its job was stopped and keeps its checkpoint."""


class SageMakerServiceError(SpotTrainingError):
    """SageMaker had more internal errors than a try retries (``InternalServerError``)."""


class SpotCapacityError(SpotTrainingError):
    """
    There was no capacity on any rung within ``max_total_wait`` or ``max_attempts``.

    (``CapacityError``, ``MaxWaitTimeExceeded``, or a rung's ``wait`` was spent.)
    """


class QuotaError(SpotTrainingError):
    """An account limit keeps the job from starting (``ResourceLimitExceeded``)."""


class RequestError(NonRetryableSpotError):
    """The request cannot work: a field is wrong, or SageMaker refused it (``ClientError``, ``ValidationException``)."""


class RenderError(SpotTrainingError):
    """
    A template could not be rendered, such as one of a Variable that is gone.

    :param field: the operator's field that has the template.
    :param error: what rendering raised.
    :param what: what could not be done, where it was something else.
    """

    def __init__(self, field: str, error: Exception, what: str = "") -> None:
        what = f"{field}: {what}" if what else f"The template of {field} cannot be rendered"
        super().__init__(f"{what}: {type(error).__name__}: {error}")
        self.field = field
        self.error = error


class StoppedExternallyError(NonRetryableSpotError):
    """Somebody stopped the job outside Airflow. Clear the task to resume from the checkpoint."""


class NoProgressError(NonRetryableSpotError):
    """
    Start after start left nothing new in the checkpoint folder, and there is no on-demand rung (``no_progress``).

    Fix the script's checkpoints, then clear the task.
    """


class MaxCostReachedError(NonRetryableSpotError):
    """
    The run has cost ``max_cost``; its job was stopped and keeps its checkpoint (``max_cost``).

    Raise ``max_cost``, then clear the task to resume.
    """


_BY_OUTCOME: dict[Outcome | None, type[AirflowException]] = {
    Outcome.NO_CAPACITY: SpotCapacityError,
    Outcome.CAPACITY_TIMEOUT: SpotCapacityError,
    Outcome.RUNG_TIMEOUT: SpotCapacityError,
    Outcome.INTERRUPTED: SpotCapacityError,
    Outcome.QUOTA_EXCEEDED: QuotaError,
    Outcome.QUOTA_TOO_SMALL: QuotaError,
    Outcome.MAX_WAIT_EXCEEDED: MaxRuntimeExceededError,
    Outcome.SCRIPT_ERROR: ScriptError,
    Outcome.OUT_OF_MEMORY: ScriptError,
    Outcome.MAX_RUNTIME_EXCEEDED: MaxRuntimeExceededError,
    Outcome.SERVICE_ERROR: SageMakerServiceError,
    Outcome.INVALID_REQUEST: RequestError,
    Outcome.STOPPED_EXTERNALLY: StoppedExternallyError,
    Outcome.NO_PROGRESS: NoProgressError,
    Outcome.MAX_COST: MaxCostReachedError,
    None: RunTimeoutError,
}


def error_for(kind: Outcome | None) -> type[AirflowException]:
    """Choose the error for the outcome that ended a run; None stands for a run whose time was up."""
    return _BY_OUTCOME.get(kind, SpotTrainingError)
