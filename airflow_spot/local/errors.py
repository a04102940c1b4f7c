"""Errors as SageMaker answers them, and how a job fails."""

from __future__ import annotations


class ServiceError(Exception):
    """An error answer: HTTP ``status`` with ``{"__type": code, "message": message}``.

    :param code: AWS's error code, what boto3 shows as ``response["Error"]["Code"]``.
    :param message: the text, in AWS's words where they are known.
    :param status: the HTTP status; 400 for the client's errors, 500 and above for the service's.
    """

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status


class JobError(Exception):
    """A job fails: ``str(error)`` becomes its FailureReason, with its kind in front as AWS puts it."""


class InternalError(JobError):
    """The service's own fault: the only failure that a job's RetryStrategy covers.

    :param detail: what happened here; AWS gives only the first sentence.
    """

    def __init__(self, detail: str = "") -> None:
        super().__init__(f"InternalServerError: We encountered an internal error. Please try again. {detail}".strip())


class JobStopped(Exception):
    """A job was stopped, and its work breaks off."""


def internal_failure(error: BaseException) -> str:
    """Return the FailureReason of a job that a fault of Local SageMaker itself has ended."""
    return f"InternalServerError: Local SageMaker: {type(error).__name__}: {error}"


def validation(message: str) -> ServiceError:
    """Return the error for a wrong request. The message names the field and the value."""
    return ServiceError("ValidationException", message)


def in_use(message: str) -> ServiceError:
    """Return the error for a name that is taken, or a resource that is busy."""
    return ServiceError("ResourceInUse", message)


def limit_exceeded(message: str) -> ServiceError:
    """Return the error for a quota of the account that is used up."""
    return ServiceError("ResourceLimitExceeded", message)


def not_found(message: str = "Requested resource not found.") -> ServiceError:
    """Return the error for an unknown name: SageMaker answers ValidationException, whatever its model declares."""
    return validation(message)


def not_implemented(operation: str) -> ServiceError:
    """Return the error for an operation that SageMaker has, or may have, and Local SageMaker has not."""
    return ServiceError(
        "UnknownOperationException",
        f"{operation} is not implemented by Local SageMaker. See docs/local-sagemaker.md for what is.",
        status=404,
    )
