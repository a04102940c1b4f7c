"""The wire: one WSGI application on one port, which routes each request."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterable
from typing import Any, TypeAlias

from werkzeug.wrappers import Request, Response

from airflow_spot.local.api.access import PREFIX
from airflow_spot.local.api.call import Call
from airflow_spot.local.api.validation import operation_model, validate, without_nulls
from airflow_spot.local.aws.iam import Identity, Roles
from airflow_spot.local.aws.moto import WsgiApp
from airflow_spot.local.aws.s3_mirror import CHANGES, S3Mirror, buffer_body
from airflow_spot.local.backend import Backend
from airflow_spot.local.errors import ServiceError, not_implemented
from airflow_spot.local.faults.answers import first_error
from airflow_spot.local.faults.connection import cut, has, read_half, s3_operation
from airflow_spot.local.faults.plan import Rule
from airflow_spot.local.hosting import invocations
from airflow_spot.local.http import control
from airflow_spot.local.http.answers import ERROR_TYPE, error_response, json_answer, json_body, scope
from airflow_spot.local.http.hosts import refusal
from airflow_spot.local.http.other_services import OtherServices, operation_of
from airflow_spot.local.http.registry import OPERATIONS
from airflow_spot.local.page.handler import Page

log = logging.getLogger(__name__)

TARGET = "SageMaker."
INVOCATIONS = re.compile(rf"/endpoints/([^/]+)/({'|'.join(invocations.OPERATIONS)})")
_NAMES = ("Name", "Arn")
#: Services that make rules for events.
_MAKE_RULES = frozenset({"events", "cloudformation"})

StartResponse: TypeAlias = Any


class Application:
    """The WSGI application.

    - ``X-Amz-Target: SageMaker.<Operation>``: the operations of :mod:`airflow_spot.local.http.registry`
    - ``/endpoints/<name>/invocations``, signed for sagemaker: :mod:`airflow_spot.local.hosting.invocations`
    - ``/`` for a browser, and what its page links to: :mod:`airflow_spot.local.page.handler`
    - ``/_airflow_spot/...``, from loopback: :mod:`airflow_spot.local.http.control`
    - prices, spot capacity, quotas: :mod:`airflow_spot.local.offers`, by :mod:`airflow_spot.local.http.other_services`
    - IAM, STS: :mod:`airflow_spot.local.aws.iam`
    - all else: moto

    Nothing of it under a name that is not the service's: :mod:`airflow_spot.local.http.hosts`.

    :param mirror: keeps S3's content on disk, for a service that is to come back.
    """

    def __init__(self, backend: Backend, moto: WsgiApp, mirror: S3Mirror | None = None) -> None:
        self._backend = backend
        self._moto = moto
        self._roles = Roles(moto, lambda: backend.aws.client("iam"))
        self._others = OtherServices(backend, {"iam": self._roles}, moto)
        self._identity = Identity(moto)
        self._mirror = mirror
        self._page = Page(backend)

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        target = environ.get("HTTP_X_AMZ_TARGET", "")
        path = environ.get("PATH_INFO", "")
        answer: Response
        if (why := refusal(environ, self._backend.settings)) is not None:
            answer = Response(why, status=403)
        elif self._page.wants(environ):
            answer = self._page.answer(Request(environ))
        elif "HTTP_ORIGIN" in environ:
            # A page in a browser on this machine must not be able to run programs on it. AWS clients send no Origin.
            answer = Response("requests with an Origin header are refused", status=403)
        elif target.startswith(TARGET):
            answer = self._operation(target[len(TARGET) :], Request(environ))
        elif path.startswith(PREFIX):
            answer = control.answer(self._backend, Request(environ))
        elif (match := INVOCATIONS.fullmatch(path)) and scope(environ)[1] in ("sagemaker", ""):
            answer = self._invocation(match[1], match[2], Request(environ))
        else:
            return self._rest_of_aws(environ, start_response)
        return answer(environ, start_response)

    def _operation(self, operation: str, request: Request) -> Response:
        region = scope(request.environ)[0] or self._backend.settings.region
        params: dict[str, Any] = {}
        faults = self._apply_faults(operation, "", request.environ)
        error = first_error(faults, operation)
        try:
            params = json_body(request)
            if error is not None:
                raise error
            self._backend.call_rate.check(operation, region)
            operation_model(operation)
            handler = OPERATIONS.get(operation)
            if handler is None:
                raise not_implemented(operation)
            validate(operation, params)
            answer = json_answer(handler(self._backend, Call(operation, without_nulls(params), region)))
        except ServiceError as raised:
            answer = error_response(raised)
        except Exception as raised:
            log.exception("%s failed", operation)
            message = f"Local SageMaker: {type(raised).__name__}: {raised}"
            answer = error_response(ServiceError("InternalFailure", message, 500))
        return self._called(operation, region, _resource(params), faults, answer, request.environ)

    def _called(
        self, operation: str, region: str, resource: str | None, faults: list[Rule], answer: Response, environ: Any
    ) -> Response:
        """Write a call into the audit log, and give it its answer, unless a fault cuts that off."""
        self._backend.audit.write(
            "call",
            operation=operation,
            region=region,
            resource=resource,
            error=answer.headers.get(ERROR_TYPE),
            fault=faults[0].kind if faults else None,
        )
        if has(faults, "cut-after"):
            cut(environ)
        return answer

    def _rest_of_aws(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        service = scope(environ)[1]
        if service in _MAKE_RULES:
            self._backend.events.begin()
        if (named := operation_of(environ)) is not None:
            faults = self._apply_faults(named, "", environ)
            told, resource = self._others.answer(named, environ, first_error(faults, named))
            region = scope(environ)[0] or self._backend.settings.region
            return self._called(named, region, resource, faults, told, environ)(environ, start_response)
        if service == "iam":
            return self._roles(environ, start_response)
        if service == "sts":
            return self._identity(environ, start_response)
        # What is not signed in its headers is S3's too: presigned URLs.
        if service not in ("s3", ""):
            return self._moto(environ, start_response)
        operation, bucket, key = s3_operation(environ)
        faults = self._apply_faults(f"s3:{operation}", key, environ)
        error = first_error(faults, f"s3:{operation}")
        if error is not None:
            return _s3_error(error)(environ, start_response)
        if self._mirror is not None and operation in CHANGES:
            body = buffer_body(environ) if operation == "DeleteObjects" else b""
            answer = self._moto(environ, start_response)
            self._mirror.follow(operation, bucket, key, body)
        else:
            answer = self._moto(environ, start_response)
        if has(faults, "cut-after"):
            cut(environ)
        return answer

    def _apply_faults(self, operation: str, key: str, environ: dict[str, Any]) -> list[Rule]:
        """Return the faults of one call. Those that come before it is carried out have happened on return."""
        faults = self._backend.faults.strike(operation, key)
        for rule in faults:
            if rule.kind == "slow":
                time.sleep(rule.seconds)
            elif rule.kind in ("cut-before", "cut-half"):
                if rule.kind == "cut-half":
                    read_half(environ)
                self._backend.audit.write("fault", operation=operation, kind=rule.kind, key=key)
                cut(environ)
        return faults

    def _invocation(self, endpoint: str, kind: str, request: Request) -> Response:
        region = scope(request.environ)[0] or self._backend.settings.region
        operation = invocations.OPERATIONS[kind]
        faults = self._apply_faults(operation, "", request.environ)
        error = first_error(faults, operation)
        try:
            if error is not None:
                raise error
            answer = invocations.invoke(self._backend, region, endpoint, kind, request)
        except ServiceError as raised:
            answer = error_response(raised)
        return self._called(operation, region, endpoint, faults, answer, request.environ)


def _s3_error(error: ServiceError) -> Response:
    content = f"<Code>{error.code}</Code><Message>{error.message}</Message>"
    body = f"<?xml version='1.0' encoding='UTF-8'?><Error>{content}</Error>"
    return Response(body, status=error.status, content_type="application/xml")


def _resource(params: dict[str, Any]) -> str | None:
    """Return the name or ARN that a request is about: its first member that is called so."""
    for key, value in params.items():
        if key.endswith(_NAMES) and isinstance(value, str) and key not in ("RoleArn",):
            return value
    return None
