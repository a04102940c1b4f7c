"""A page on another site that points its own name at this machine reads nothing, on no path."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.config import Config

from airflow_spot.local import LocalSageMaker
from airflow_spot.local.http.hosts import host_name, is_own, refusal
from airflow_spot.local.settings import Settings

PATHS = ["/", "/moto-api/data.json", "/moto-api/", "/bucket/key", "/_airflow_spot/health", "/_airflow_spot/page/x"]
SIGNED = "AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"


@pytest.fixture(scope="module")
def named() -> Iterator[LocalSageMaker]:
    with LocalSageMaker(names=["local-sagemaker"], grace_seconds=0.5) as service:
        yield service


def ask(service: LocalSageMaker, path: str, host: str, method: str = "GET", **headers: str) -> tuple[int, str]:
    """One request under a name; status and body."""
    connection = http.client.HTTPConnection(urlsplit(service.endpoint_url).netloc, timeout=120)
    connection.request(method, path, headers={"Host": host, **headers})
    with connection.getresponse() as answer:
        return answer.status, answer.read().decode("utf-8", "replace")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:5005", "local-sagemaker.evil.example", "localhost.evil"]
)
def test_a_foreign_name_is_refused_on_every_path(named: LocalSageMaker, path: str, host: str) -> None:
    for headers in ({}, {"Accept": "text/html"}):
        status, body = ask(named, path, host, **headers)
        assert status == 403
        assert "does not answer as" in body and "moto" not in body


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "OPTIONS"])
def test_a_foreign_name_is_refused_whatever_the_method(named: LocalSageMaker, method: str) -> None:
    assert ask(named, "/", "evil.example", method, **{"X-Amz-Target": "SageMaker.ListTrainingJobs"})[0] == 403


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:1", "127.0.0.1", "[::1]:5005", "local-sagemaker", "bucket.localhost", "192.168.1.9"],
)
def test_its_own_names_are_answered(named: LocalSageMaker, host: str) -> None:
    assert ask(named, "/moto-api/data.json", host)[0] == 200


def test_awss_own_names_are_answered_to_clients_that_sign(named: LocalSageMaker) -> None:
    host = "bucket.s3.us-east-1.amazonaws.com"
    assert ask(named, "/key", host, Authorization=SIGNED)[0] != 403
    assert ask(named, "/key?X-Amz-Signature=0", host)[0] == 404
    assert ask(named, "/moto-api/data.json", host)[0] == 403
    assert ask(named, "/key", "evil.example", Authorization=SIGNED)[0] == 403


def test_buckets_below_its_names_are_reached(named: LocalSageMaker) -> None:
    address = named.endpoint_url.replace("127.0.0.1", "localhost")
    s3 = boto3.client(
        "s3",
        endpoint_url=address,
        region_name="us-east-1",
        aws_access_key_id="local",
        aws_secret_access_key="local",
        config=Config(s3={"addressing_style": "path"}, proxies={}),
    )
    s3.create_bucket(Bucket="below")
    s3.put_object(Bucket="below", Key="key", Body=b"x")
    port = urlsplit(named.endpoint_url).port
    assert ask(named, "/key", f"below.localhost:{port}", Authorization=SIGNED)[0] == 200


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("0.0.0.0", True),
        ("fe80::1%eth0", True),
        ("sagemaker", False),
        ("mine.example", True),
        ("bucket.mine.example", True),
        ("notmine.example", False),
    ],
)
def test_names(name: str, own: bool) -> None:
    assert is_own(name, Settings(directory="", host="Mine.Example")) == own


def test_what_is_no_name_is_refused() -> None:
    assert host_name("[") is None
    assert refusal({"HTTP_HOST": "["}, Settings(directory="")) is not None
    assert refusal({}, Settings(directory="")) is None  # no browser leaves it out
