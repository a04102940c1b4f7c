"""IAM where permissions are not checked and roles need not exist: what moto does not answer, or refuses.

The SageMaker SDK, from 3 on, looks before it trains whether its role exists, trusts SageMaker, and may do what a
training needs. Here every role does: a job's RoleArn is not looked at either.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qs, quote
from xml.sax.saxutils import escape

from werkzeug.wrappers import Response

from airflow_spot.local.aws.moto import ACCESS_KEY, WsgiApp
from airflow_spot.local.aws.s3_mirror import buffer_body
from airflow_spot.local.settings import ACCOUNT

_NAMESPACE = "https://iam.amazonaws.com/doc/2010-05-08/"
STS_NAMESPACE = "https://sts.amazonaws.com/doc/2011-06-15/"
#: The role of whoever has the service's credentials; sagemaker_sdk.yaml names it too.
EXECUTION_ROLE = "AmazonSageMaker-ExecutionRole"
_TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"},
    ],
}


class Identity:
    """
    The WSGI application of STS: moto, but for who the service's own credentials are.

    AWS names a role that was assumed, of which the SageMaker SDK makes the role of its jobs; moto names a user.
    """

    def __init__(self, moto: WsgiApp) -> None:
        self._moto = moto

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        form = parse_qs(buffer_body(environ).decode("utf-8", "replace"))
        mine = f"Credential={ACCESS_KEY}/" in environ.get("HTTP_AUTHORIZATION", "")
        if form.get("Action", [""])[0] != "GetCallerIdentity" or not mine:
            return self._moto(environ, start_response)
        return _xml("GetCallerIdentity", _caller(), STS_NAMESPACE)(environ, start_response)


class Roles:
    """The WSGI application of IAM: moto, and two answers of its own.

    - SimulatePrincipalPolicy, which moto has not: every action is allowed, for every principal.
    - GetRole of a role that does not exist: one that trusts SageMaker. Nothing is made: ListRoles does not show it.
    """

    def __init__(self, moto: WsgiApp) -> None:
        self._moto = moto

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        form = parse_qs(buffer_body(environ).decode("utf-8", "replace"))
        action = form.get("Action", [""])[0]
        if action == "SimulatePrincipalPolicy":
            return _xml(action, _allowed(form))(environ, start_response)
        if action != "GetRole":
            return self._moto(environ, start_response)
        head: list[Any] = []
        body = b"".join(self._moto(environ, lambda *given: head.extend(given[:2])))
        if head[0].startswith("404"):
            return _xml(action, _role(form.get("RoleName", [""])[0]))(environ, start_response)
        start_response(*head)
        return [body]


def _allowed(form: dict[str, list[str]]) -> str:
    actions = [values[0] for name, values in form.items() if name.startswith("ActionNames.member.")]
    resources = [values[0] for name, values in form.items() if name.startswith("ResourceArns.member.")] or ["*"]
    results = "".join(
        f"<member><EvalActionName>{escape(action)}</EvalActionName>"
        f"<EvalResourceName>{escape(resource)}</EvalResourceName>"
        "<EvalDecision>allowed</EvalDecision><MatchedStatements/></member>"
        for action in actions
        for resource in resources
    )
    return f"<IsTruncated>false</IsTruncated><EvaluationResults>{results}</EvaluationResults>"


def _role(name: str) -> str:
    return (
        f"<Role><Path>/</Path><RoleName>{escape(name)}</RoleName><RoleId>AROALOCALSAGEMAKER000</RoleId>"
        f"<Arn>arn:aws:iam::{ACCOUNT}:role/{escape(name)}</Arn><CreateDate>1970-01-01T00:00:00Z</CreateDate>"
        f"<AssumeRolePolicyDocument>{quote(json.dumps(_TRUST))}</AssumeRolePolicyDocument>"
        "<MaxSessionDuration>3600</MaxSessionDuration></Role>"
    )


def _caller() -> str:
    arn = f"arn:aws:sts::{ACCOUNT}:assumed-role/{EXECUTION_ROLE}/local"
    return f"<Arn>{arn}</Arn><UserId>AROALOCALSAGEMAKER000:local</UserId><Account>{ACCOUNT}</Account>"


def _xml(action: str, result: str, namespace: str = _NAMESPACE) -> Response:
    body = (
        f'<{action}Response xmlns="{namespace}"><{action}Result>{result}</{action}Result>'
        f"<ResponseMetadata><RequestId>local</RequestId></ResponseMetadata></{action}Response>"
    )
    return Response(body, content_type="text/xml")
