"""How a fault is answered: each AWS service has its own words for a refusal, for too many calls and for being down."""

from __future__ import annotations

from collections.abc import Iterable

from airflow_spot.local.errors import ServiceError
from airflow_spot.local.faults.plan import Rule
from airflow_spot.local.settings import ACCOUNT

_RATE = "Rate exceeded"
_DOWN = "Service is unavailable. Please try again."
_BROKEN = "An internal error occurred. Please try again."
_EXPIRED = "The security token included in the request is expired"
_ROLE = f"arn:aws:sts::{ACCOUNT}:assumed-role/AmazonSageMaker-ExecutionRole/local"

#: Code, message and HTTP status by kind: SageMaker's, and those of all services that are not named below.
_COMMON: dict[str, tuple[str, str, int]] = {
    "throttle": ("ThrottlingException", _RATE, 400),
    "error": ("InternalFailure", _BROKEN, 500),
    "unavailable": ("ServiceUnavailable", _DOWN, 503),
    "expired": ("ExpiredTokenException", _EXPIRED, 400),
    "denied": ("AccessDeniedException", "", 400),
    "missing": ("ValidationException", "Requested resource not found.", 400),
}

#: What differs, by the prefix of an operation: from botocore's models and AWS's lists of common errors [D].
_SERVICES: dict[str, dict[str, tuple[str, str, int]]] = {
    "s3": {
        "denied": ("AccessDenied", "", 403),
        "missing": ("NoSuchKey", "The specified key does not exist.", 404),
    },
    "iam": {
        "throttle": ("Throttling", _RATE, 400),
        "error": ("ServiceFailure", _BROKEN, 500),
        "expired": ("ExpiredToken", _EXPIRED, 403),
        "denied": ("AccessDenied", "", 403),
        "missing": ("NoSuchEntity", "The role with that name cannot be found.", 404),
    },
    "ec2": {
        "throttle": ("RequestLimitExceeded", "Request limit exceeded.", 503),
        "error": ("InternalError", "An internal error has occurred", 500),
        "unavailable": ("Unavailable", _DOWN, 503),
        "expired": ("RequestExpired", "Request has expired.", 400),
        "denied": ("UnauthorizedOperation", "", 403),
        "missing": ("InvalidParameterValue", "What was asked for does not exist.", 400),
    },
    "servicequotas": {
        "throttle": ("TooManyRequestsException", _RATE, 400),
        "error": ("ServiceException", _BROKEN, 500),
        "missing": ("NoSuchResourceException", "The request failed because the specified resource doesn't exist.", 400),
    },
    "pricing": {
        "error": ("InternalErrorException", _BROKEN, 500),
        "missing": ("NotFoundException", "The requested resource can't be found.", 400),
    },
    "ecr": {
        "error": ("ServerException", _BROKEN, 500),
        "missing": ("ImageNotFoundException", "The image requested does not exist in the specified repository.", 400),
    },
}


def fault_error(kind: str, operation: str) -> ServiceError:
    """Return the error answer of a fault.

    :param kind: one of :data:`~airflow_spot.local.faults.plan.ERRORS`.
    :param operation: as a fault plan names it: ``ec2:GetSpotPlacementScores``; SageMaker's have no prefix.
    """
    service, colon, _ = operation.partition(":")
    code, message, status = _SERVICES.get(service if colon else "", {}).get(kind, _COMMON[kind])
    return ServiceError(code, message or _denial(service if colon else "", operation), status)


def _denial(service: str, operation: str) -> str:
    action = operation if service else f"sagemaker:{operation}"
    why = f"because no identity-based policy allows the {action} action"
    text = f"User: {_ROLE} is not authorized to perform: {action} {why}"
    return f"You are not authorized to perform this operation. {text}" if service == "ec2" else text


def first_error(rules: Iterable[Rule], operation: str) -> ServiceError | None:
    """Return the error answer that a call gets, if one of its faults is one."""
    return next((fault_error(rule.kind, operation) for rule in rules if rule.kind in _COMMON), None)
