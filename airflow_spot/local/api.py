"""What an operation of the service is: a function from a call to an answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from airflow_spot.local.backend import Backend


@dataclass(frozen=True)
class Call:
    """One request, already checked against botocore's model of the operation.

    :param operation: e.g. ``CreateTrainingJob``.
    :param params: the request's body. Handlers must not change it.
    :param region: that the request was signed for; a resource lives in one region.
    """

    operation: str
    params: dict[str, Any]
    region: str


Handler: TypeAlias = "Callable[[Backend, Call], dict[str, Any]]"
"""Answers a call. Times in the answer are seconds since the epoch (floats).

Raises :class:`~airflow_spot.local.errors.ServiceError` for an error answer. Called on a thread per request.
"""

Operations: TypeAlias = Mapping[str, Handler]
"""What a module of operations exports as ``OPERATIONS``; :mod:`airflow_spot.local.operations` joins them."""
