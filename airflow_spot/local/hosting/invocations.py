"""InvokeEndpoint: the data plane of endpoints."""

from __future__ import annotations

import http.client
import json

from werkzeug.wrappers import Request, Response

from airflow_spot.local.backend import Backend
from airflow_spot.local.errors import ServiceError
from airflow_spot.local.hosting.endpoint import ENDPOINTS
from airflow_spot.local.hosting.fleet import INVOCATION_SECONDS
from airflow_spot.local.settings import ACCOUNT

CUSTOM_ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"
TARGET_VARIANT = "X-Amzn-SageMaker-Target-Variant"
#: The paths of the runtime API, and the operations that they are.
OPERATIONS = {
    "invocations": "InvokeEndpoint",
    "async-invocations": "InvokeEndpointAsync",
    "invocations-response-stream": "InvokeEndpointWithResponseStream",
}
#: Other ways to be answered, which the endpoints here do not have.
_REFUSED = {
    f"X-Amzn-SageMaker-{header}": member
    for header, member in {
        "Target-Model": "TargetModel",
        "Target-Container-Hostname": "TargetContainerHostname",
        "Inference-Component": "InferenceComponentName",
        "Enable-Explanations": "EnableExplanations",
        "Session-Id": "SessionId",
    }.items()
}
PASSED_ON = ("Content-Type", "Accept", CUSTOM_ATTRIBUTES, "X-Amzn-SageMaker-Inference-Id")


def invoke(backend: Backend, region: str, endpoint: str, kind: str, request: Request) -> Response:
    """Send a request on to the serving process of one of an endpoint's variants.

    :param endpoint: its name.
    :param kind: ``invocations``, or one of the other two paths of the runtime API.
    :raises ServiceError: ValidationError if the region has no such endpoint, it is not in service, it has no variant
        of the name that the request asks for, or the request asks for what is not implemented.
    """
    if kind != "invocations":
        raise ServiceError("ValidationError", f"{kind} is not implemented by Local SageMaker; use InvokeEndpoint")
    for header, member in _REFUSED.items():
        if header in request.headers:
            raise ServiceError("ValidationError", f"{member} is not implemented by Local SageMaker")
    found = backend.store.table(ENDPOINTS).find(region, endpoint)
    if found is None:
        raise ServiceError("ValidationError", f"Endpoint {endpoint} of account {ACCOUNT} not found.")
    headers = {name: request.headers[name] for name in PASSED_ON if name in request.headers}
    with found.request(request.headers.get(TARGET_VARIANT)) as variant:
        try:
            answer = variant.server.ask(request.get_data(), headers, INVOCATION_SECONDS)
        except TimeoutError:
            message = f"the container did not answer in {INVOCATION_SECONDS:.0f} seconds"
            return _model_error(found.arn, 0, message)
        except (OSError, http.client.HTTPException) as error:
            return _model_error(found.arn, 0, f"the container does not answer: {error}")
    if answer.status >= 400:
        return _model_error(found.arn, answer.status, answer.body.decode("utf-8", "replace"))
    response = Response(answer.body, content_type=answer.headers.get("Content-Type", ""))
    response.headers["x-Amzn-Invoked-Production-Variant"] = variant.name
    custom = answer.headers.get(CUSTOM_ATTRIBUTES)
    if custom is not None:
        response.headers[CUSTOM_ATTRIBUTES] = custom
    return response


def _model_error(arn: str, status: int, message: str) -> Response:
    """Return a ModelError as AWS words it, with the members that boto3 shows beside the code."""
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
