"""InvokeEndpoint: the data plane of endpoints."""

from __future__ import annotations

import http.client
import json

from werkzeug.wrappers import Request, Response

from airflow_spot.local.backend import Backend
from airflow_spot.local.errors import ServiceError
from airflow_spot.local.settings import ACCOUNT

TIMEOUT_SECONDS = 60.0  # AWS's, for an answer of the container
PASSED_ON = ("Content-Type", "Accept", "X-Amzn-SageMaker-Custom-Attributes", "X-Amzn-SageMaker-Inference-Id")


def invoke(backend: Backend, region: str, endpoint: str, kind: str, request: Request) -> Response:
    """Send a request on to an endpoint's serving process.

    :param endpoint: its name.
    :param kind: ``invocations``, or one of the other two paths of the runtime API.
    :raises ServiceError: ValidationError if the region has no such endpoint, or it is not in service.
    """
    if kind != "invocations":
        raise ServiceError("ValidationError", f"{kind} is not implemented by Local SageMaker; use InvokeEndpoint")
    found = backend.store.endpoints.find(region, endpoint)
    if found is None or found.status != "InService":
        raise ServiceError("ValidationError", f"Endpoint {endpoint} of account {ACCOUNT} not found.")
    headers = {name: request.headers[name] for name in PASSED_ON if name in request.headers}
    connection = http.client.HTTPConnection("127.0.0.1", found.port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("POST", "/invocations", body=request.get_data(), headers=headers)
        answer = connection.getresponse()
        status, body, content_type = answer.status, answer.read(), answer.getheader("Content-Type", "")
        custom = answer.getheader("X-Amzn-SageMaker-Custom-Attributes")
    except TimeoutError:
        return _model_error(found.arn, 0, f"the container did not answer in {TIMEOUT_SECONDS:.0f} seconds")
    except (OSError, http.client.HTTPException) as error:
        return _model_error(found.arn, 0, f"the container does not answer: {error}")
    finally:
        connection.close()
    if status >= 400:
        return _model_error(found.arn, status, body.decode("utf-8", "replace"))
    response = Response(body, content_type=content_type)
    response.headers["x-Amzn-Invoked-Production-Variant"] = found.variant
    if custom is not None:
        response.headers["X-Amzn-SageMaker-Custom-Attributes"] = custom
    return response


def _model_error(arn: str, status: int, message: str) -> Response:
    """ModelError as AWS words it, with the members that boto3 shows beside the code."""
    name = arn.rsplit("/", 1)[-1]
    _, _, _, region, account, _ = arn.split(":", 5)
    side = "client" if 400 <= status < 500 else "server"
    logs = f"arn:aws:logs:{region}:{account}:log-group:/aws/sagemaker/Endpoints/{name}"
    body = {
        "ErrorCode": "CLIENT_ERROR_FROM_MODEL" if side == "client" else "SERVER_ERROR_FROM_MODEL",
        "LogStreamArn": logs,
        "Message": f'Received {side} error ({status}) from primary with message "{message}". '
        f"See {logs} for more information.",
        "OriginalMessage": message,
        "OriginalStatusCode": status,
    }
    response = Response(json.dumps(body), status=424, content_type="application/json")
    response.headers["x-amzn-ErrorType"] = "ModelError"
    return response
