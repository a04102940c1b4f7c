"""InvokeEndpoint: the data plane of endpoints."""

from __future__ import annotations

from werkzeug.wrappers import Request, Response

from airflow_spot.local.backend import Backend
from airflow_spot.local.errors import validation


def invoke(backend: Backend, region: str, endpoint: str, kind: str, request: Request) -> Response:
    """Send a request on to an endpoint's serving process.

    :param endpoint: its name.
    :param kind: ``invocations``, or one of the other two paths of the runtime API.
    :raises ServiceError: ValidationError if the region has no such endpoint.
    """
    raise validation(f"Endpoint {endpoint} of account not found in {region}.")
