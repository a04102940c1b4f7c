"""What all answers and requests have in common on the wire: the JSON protocol, and whom a request is signed for."""

from __future__ import annotations

import json
import math
import re
import uuid
from typing import Any

from werkzeug.wrappers import Request, Response

from airflow_spot.local.errors import ServiceError

JSON_TYPE = "application/x-amz-json-1.1"
ERROR_TYPE = "x-amzn-ErrorType"


def scope(environ: dict[str, Any]) -> tuple[str, str]:
    """Return region and service of a request's credential scope; both are empty if it was not signed."""
    match = re.search(r"Credential=[^/]+/[^/]+/([^/]+)/([^/]+)/", environ.get("HTTP_AUTHORIZATION", ""))
    return (match[1], match[2]) if match else ("", "")


def error_response(error: ServiceError) -> Response:
    """Return an error as the JSON protocol has it."""
    response = json_answer({"__type": error.code, "message": error.message}, error.status)
    response.headers[ERROR_TYPE] = error.code
    return response


def json_answer(content: dict[str, Any], status: int = 200) -> Response:
    """Return an answer of the JSON protocol.

    :raises ValueError: for a number that JSON has not.
    """
    headers = {"x-amzn-RequestId": str(uuid.uuid4())}
    # By itself it would write NaN, which most clients do not read.
    return Response(json.dumps(content, allow_nan=False), status=status, content_type=JSON_TYPE, headers=headers)


def json_body(request: Request) -> dict[str, Any]:
    try:
        body = json.loads(request.get_data() or b"{}", parse_constant=_finite, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise ServiceError("SerializationException", f"the body is not JSON: {error}") from None
    if not isinstance(body, dict):
        raise ServiceError("SerializationException", "the body is not a JSON object")
    return body


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is not a number that JSON has, or too large a one")
    return number
