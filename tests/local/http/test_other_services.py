"""Calls of AWS's other services that have a name in the audit log and in fault plans."""

from __future__ import annotations

from io import BytesIO
from typing import Any, cast

import pytest
from werkzeug.wrappers import Response

from airflow_spot.local.backend import Backend
from airflow_spot.local.http.answers import ERROR_TYPE
from airflow_spot.local.http.other_services import OtherServices, operation_of


def request(service: str, body: str = "", target: str = "", query: str = "") -> dict[str, Any]:
    return {
        "REQUEST_METHOD": "POST",
        "HTTP_AUTHORIZATION": f"AWS4-HMAC-SHA256 Credential=a/20261128/us-east-1/{service}/aws4_request, Signature=b",
        "HTTP_X_AMZ_TARGET": target,
        "QUERY_STRING": query,
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": BytesIO(body.encode()),
        "wsgi.url_scheme": "http",
    }


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        (request("ec2", "Action=DescribeSpotPriceHistory&Version=2016-11-15"), "ec2:DescribeSpotPriceHistory"),
        (request("ec2", query="Action=GetSpotPlacementScores"), "ec2:GetSpotPlacementScores"),
        (request("ec2", "Action=DescribeVpcs"), None),
        (request("sqs", "Action=GetRole"), None),
        (request("iam", "Action=GetRole&RoleName=a"), "iam:GetRole"),
        (request("pricing", "{}", "AWSPriceListService.GetProducts"), "pricing:GetProducts"),
        (request("pricing", "{}", "AWSPriceListService.GetAttributeValues"), None),
        (
            request("servicequotas", "{}", "ServiceQuotasV20190624.ListServiceQuotas"),
            "servicequotas:ListServiceQuotas",
        ),
        (request("ecr", "{}", "AmazonEC2ContainerRegistry_V20150921.DescribeImages"), "ecr:DescribeImages"),
    ],
)
def test_what_a_call_is_called(environ: dict[str, Any], name: str | None) -> None:
    body = environ["wsgi.input"].getvalue()
    assert operation_of(environ) == name
    assert environ["wsgi.input"].read() == body


@pytest.mark.parametrize(
    ("answered", "code"),
    [
        (Response("<Error><Code>NoSuchEntity</Code></Error>", status=404), "NoSuchEntity"),
        (Response('{"__type": "Refused"}', status=400), "Refused"),
        (Response("?", status=500), "unknown"),
        (Response("{}", status=400, headers={ERROR_TYPE: "Known"}), "Known"),
        (Response("<Code>fine</Code>"), None),
    ],
)
def test_the_code_of_an_error_that_another_has_answered(answered: Response, code: str | None) -> None:
    others = OtherServices(cast(Backend, None), {}, answered)
    answer, resource = others.answer("iam:GetRole", request("iam", "Action=GetRole&RoleName=trainer"), None)
    assert (answer.headers.get(ERROR_TYPE), resource) == (code, "trainer")
    assert answer.get_data() == answered.get_data()


def test_a_body_that_is_no_json_is_refused() -> None:
    others = OtherServices(cast(Backend, None), {}, Response("?"))
    answer, _ = others.answer("pricing:GetProducts", request("pricing", "no", "AWSPriceListService.GetProducts"), None)
    assert answer.headers[ERROR_TYPE] == "SerializationException"
