"""
The errors that a run can end with.

Those under :class:`SpotFailError` end the task at once: Airflow does not retry what a retry cannot help.
"""

from __future__ import annotations

from airflow_spot.compat.sdk import AirflowException, AirflowFailException
from airflow_spot.core.outcomes import Outcome


class SpotTrainingError(AirflowException):
    """A run failed; an Airflow retry may help, and goes on from the newest checkpoint."""


class SpotFailError(AirflowFailException, SpotTrainingError):
    """A run failed, and an Airflow retry cannot help."""


class ScriptError(SpotTrainingError):
    """The training script failed (``AlgorithmError``)."""


class OutOfRunTime(SpotTrainingError):
    """The job trained for its whole ``max_run`` and was stopped (``MaxRuntimeExceeded``)."""


class SpotTimeout(SpotTrainingError):
    """The task's own time was up (``max_ingestion_time`` or ``execution_timeout``); its job was stopped."""


class RunKilled(SpotTrainingError):
    """Airflow killed the task while it ran; its job was stopped and keeps its checkpoint."""


class ServiceFault(SpotTrainingError):
    """SageMaker failed by its own error more often than a try bears (``InternalServerError``)."""


class SpotCapacityError(SpotTrainingError):
    """
    There was no capacity on any rung within ``max_total_wait`` or ``max_attempts``.

    (``CapacityError``, ``MaxWaitTimeExceeded``, or a rung's ``wait`` was spent.)
    """


class QuotaError(SpotTrainingError):
    """An account limit keeps the job from starting (``ResourceLimitExceeded``)."""


class RequestError(SpotFailError):
    """The request cannot work: a field is wrong, or SageMaker refused it (``ClientError``, ``ValidationException``)."""


class StoppedByUser(SpotFailError):
    """Somebody stopped the job outside Airflow. Clear the task to go on from the checkpoint."""


_BY_OUTCOME: dict[Outcome | None, type[AirflowException]] = {
    Outcome.NO_CAPACITY: SpotCapacityError,
    Outcome.NO_CAPACITY_IN_TIME: SpotCapacityError,
    Outcome.WAIT_SPENT: SpotCapacityError,
    Outcome.INTERRUPTED: SpotCapacityError,
    Outcome.QUOTA: QuotaError,
    Outcome.SCRIPT_ERROR: ScriptError,
    Outcome.OUT_OF_RUN_TIME: OutOfRunTime,
    Outcome.SERVICE_FAULT: ServiceFault,
    Outcome.REQUEST_ERROR: RequestError,
    Outcome.STOPPED_BY_PERSON: StoppedByUser,
    None: SpotTimeout,
}


def error_for(kind: Outcome | None) -> type[AirflowException]:
    """Choose the error for the outcome that ended a run; None stands for a run whose time was up."""
    return _BY_OUTCOME.get(kind, SpotTrainingError)
