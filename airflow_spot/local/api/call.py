"""What an operation of the service is: a function from a call to an answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


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
