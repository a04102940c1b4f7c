"""AWS's other services, as far as the audit log lists their calls and a fault plan can strike them.

What tells prices, capacity and quotas is answered here; the rest by moto, or what stands before it.
"""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from werkzeug.wrappers import Request, Response

from airflow_spot.local.api.call import Call
from airflow_spot.local.api.validation import validate, without_nulls
from airflow_spot.local.aws.iam import error_text
from airflow_spot.local.aws.moto import WsgiApp
from airflow_spot.local.aws.s3_mirror import buffer_body
from airflow_spot.local.backend import Backend, Handler
from airflow_spot.local.errors import ServiceError
from airflow_spot.local.http.answers import ERROR_TYPE, error_response, json_answer, json_body, scope
from airflow_spot.local.http.registry import OFFERS, RECORDED
from airflow_spot.local.offers.query import answer_xml, error_xml, parse_form

log = logging.getLogger(__name__)

#: By the service that a request is signed for: how botocore calls those that speak JSON.
_JSON_SERVICES = {"pricing": "pricing", "servicequotas": "service-quotas", "ecr": "ecr"}
_FORM_SERVICES = ("ec2", "iam")
_NAMED = frozenset({*RECORDED, *(f"{service}:{name}" for service, operations in OFFERS.items() for name in operations)})
_XML_CODE = re.compile(rb"<Code>([^<]+)</Code>")
#: What a call is about, in the audit log.
_RESOURCES = ("RoleName", "PolicySourceArn", "repositoryName")


def operation_of(environ: dict[str, Any]) -> str | None:
    """Return what the audit log and fault plans call a request: ``ec2:GetSpotPlacementScores``; None: nothing."""
    service = scope(environ)[1]
    if service in _FORM_SERVICES:
        name = dict(_form(environ)).get("Action", "")
    elif service in _JSON_SERVICES:
        name = environ.get("HTTP_X_AMZ_TARGET", "").rpartition(".")[2]
    else:
        return None
    named = f"{service}:{name}"
    return named if named in _NAMED else None


def _form(environ: dict[str, Any]) -> list[tuple[str, str]]:
    body = buffer_body(environ).decode("utf-8", "replace")
    return parse_qsl(f"{environ.get('QUERY_STRING', '')}&{body}", keep_blank_values=True)


class OtherServices:
    """Answers the calls that :func:`operation_of` names.

    :param applications: by service: what stands before moto.
    :param moto: the rest of AWS.
    """

    def __init__(self, backend: Backend, applications: Mapping[str, WsgiApp], moto: WsgiApp) -> None:
        self._backend = backend
        self._applications = applications
        self._moto = moto

    def answer(self, named: str, environ: dict[str, Any], error: ServiceError | None) -> tuple[Response, str | None]:
        """Return the answer of a call, with the code of its error as a header, and what the call was about.

        :param error: that a fault answers instead.
        """
        service, _, operation = named.partition(":")
        params: dict[str, Any] = {}
        try:
            params = parse_form(_form(environ)) if service in _FORM_SERVICES else _json(environ)
            if error is not None:
                raise error
            handler = OFFERS.get(service, {}).get(operation)
            if handler is None or _is_motos(service, params):
                answer = self._forward(service, environ)
            else:
                answer = self._told(service, operation, handler, params, environ)
        except ServiceError as raised:
            answer = _error(service, raised)
        except Exception as raised:
            log.exception("%s failed", named)
            answer = _error(
                service, ServiceError("InternalFailure", f"Local SageMaker: {type(raised).__name__}: {raised}", 500)
            )
        found = (params[name] for name in _RESOURCES if isinstance(params.get(name), str))
        return answer, next(found, None)

    def _told(
        self, service: str, operation: str, handler: Handler, params: dict[str, Any], environ: dict[str, Any]
    ) -> Response:
        region = scope(environ)[0] or self._backend.settings.region
        if service in _JSON_SERVICES:
            validate(operation, params, _JSON_SERVICES[service])
            return json_answer(handler(self._backend, Call(operation, without_nulls(params), region)))
        content = handler(self._backend, Call(operation, params, region))
        return Response(answer_xml(operation, content, str(uuid.uuid4())), content_type="text/xml")

    def _forward(self, service: str, environ: dict[str, Any]) -> Response:
        answer = Response.from_app(self._applications.get(service, self._moto), environ)
        if answer.status_code >= 400 and ERROR_TYPE not in answer.headers:
            answer.headers[ERROR_TYPE] = _code(answer.get_data())
        return answer


def _json(environ: dict[str, Any]) -> dict[str, Any]:
    # It is read once more where it goes to moto.
    buffer_body(environ)
    params = json_body(Request(environ))
    environ["wsgi.input"].seek(0)
    return params


def _is_motos(service: str, params: dict[str, Any]) -> bool:
    """Return whether a call is about what is not told here: the quotas of another service."""
    return service == "servicequotas" and params.get("ServiceCode") != "sagemaker"


def _error(service: str, error: ServiceError) -> Response:
    if service in _JSON_SERVICES:
        return error_response(error)
    text = error_xml(error, str(uuid.uuid4())) if service == "ec2" else error_text(error.code, error.message)
    return Response(text, status=error.status, content_type="text/xml", headers={ERROR_TYPE: error.code})


def _code(body: bytes) -> str:
    found = _XML_CODE.search(body) or re.search(rb'"__type":\s*"([^"]+)"', body)
    return found[1].decode("utf-8", "replace") if found else "unknown"
