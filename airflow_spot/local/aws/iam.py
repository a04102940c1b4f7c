"""IAM where permissions are not checked and roles need not exist: what moto does not answer, or refuses.

The SageMaker SDK, from 3 on, looks before it trains whether its role exists, trusts SageMaker, and may do what a
training needs. A role that nobody made does: a job's RoleArn is not looked at either. One that somebody made trusts
whom it says, and may do what its policies say, when that is asked for; calls are not checked by them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import parse_qs, quote
from xml.sax.saxutils import escape

from botocore.exceptions import ClientError
from werkzeug.wrappers import Response

from airflow_spot.local.aws.moto import ACCESS_KEY, WsgiApp
from airflow_spot.local.aws.policies import decide
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

    - SimulatePrincipalPolicy, which moto has not: by the policies that moto keeps, see
      :mod:`airflow_spot.local.aws.policies`. A role that nobody made may do everything.
    - GetRole of a role that does not exist: one that trusts SageMaker. Nothing is made: ListRoles does not show it.

    :param client: returns a boto3 client of IAM that talks to this very service.
    """

    def __init__(self, moto: WsgiApp, client: Callable[[], Any]) -> None:
        self._moto = moto
        self._client = client

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        form = parse_qs(buffer_body(environ).decode("utf-8", "replace"))
        action = form.get("Action", [""])[0]
        if action == "SimulatePrincipalPolicy":
            return self._simulate(form)(environ, start_response)
        if action != "GetRole":
            return self._moto(environ, start_response)
        head: list[Any] = []
        body = b"".join(self._moto(environ, lambda *given: head.extend(given[:2])))
        if head[0].startswith("404"):
            return _xml(action, _role(form.get("RoleName", [""])[0]))(environ, start_response)
        start_response(*head)
        return [body]

    def _simulate(self, form: dict[str, list[str]]) -> Response:
        source = form.get("PolicySourceArn", [""])[0]
        match = _PRINCIPAL.fullmatch(source)
        if match is None:
            return _error(
                "InvalidInput", f"PolicySourceArn is {source!r}; it must be the ARN of a user, group or role", 400
            )
        kind, name = match[1], match[2]
        try:
            policies = list(_policies(self._client(), kind, name))
        except ClientError as error:
            if error.response["Error"]["Code"] != "NoSuchEntity":
                raise
            if kind != "role":
                return _error("NoSuchEntity", f"The {kind} with name {name} cannot be found.", 404)
            policies = [_EVERYTHING]
        policies += [_document(text) for text in _members(form, "PolicyInputList")]
        return _xml("SimulatePrincipalPolicy", _decisions(form, policies))


_PRINCIPAL = re.compile(r"arn:[^:]+:iam::\d*:(role|user|group)/(?:.*/)?([^/]+)")
_EVERYTHING = {"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}


def _policies(client: Any, kind: str, name: str) -> Iterator[Any]:
    """Yield the policies of a principal as documents: its own, those attached to it, and those of a user's groups.

    :raises ClientError: NoSuchEntity, if there is no such principal.
    """
    who = {f"{kind.capitalize()}Name": name}
    for policy in getattr(client, f"list_{kind}_policies")(**who)["PolicyNames"]:
        yield _document(getattr(client, f"get_{kind}_policy")(**who, PolicyName=policy)["PolicyDocument"])
    for attached in getattr(client, f"list_attached_{kind}_policies")(**who)["AttachedPolicies"]:
        arn = attached["PolicyArn"]
        version = client.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
        yield _document(client.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"])
    if kind == "user":
        for group in client.list_groups_for_user(UserName=name)["Groups"]:
            yield from _policies(client, "group", group["GroupName"])


def _document(policy: Any) -> Any:
    try:
        return json.loads(policy) if isinstance(policy, str) else policy
    except ValueError:
        return {}


def _members(form: dict[str, list[str]], name: str) -> list[str]:
    return [values[0] for key, values in form.items() if key.startswith(f"{name}.member.")]


def _decisions(form: dict[str, list[str]], policies: list[Any]) -> str:
    results = "".join(
        f"<member><EvalActionName>{escape(action)}</EvalActionName>"
        f"<EvalResourceName>{escape(resource)}</EvalResourceName>"
        f"<EvalDecision>{decide(policies, action, resource)}</EvalDecision><MatchedStatements/><MissingContextValues/>"
        "</member>"
        for action in _members(form, "ActionNames")
        for resource in _members(form, "ResourceArns") or ["*"]
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


def _error(code: str, message: str, status: int) -> Response:
    return Response(error_text(code, message), status=status, content_type="text/xml")


def error_text(code: str, message: str) -> str:
    """Return an error answer as IAM and STS have it."""
    detail = f"<Type>Sender</Type><Code>{escape(code)}</Code><Message>{escape(message)}</Message>"
    return f'<ErrorResponse xmlns="{_NAMESPACE}"><Error>{detail}</Error><RequestId>local</RequestId></ErrorResponse>'
