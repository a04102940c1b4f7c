"""Each service's own words for a fault, by unchanged clients."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError

from airflow_spot.local import LocalSageMaker
from airflow_spot.local.faults.answers import fault_error
from airflow_spot.local.faults.plan import ERRORS
from airflow_spot.local.http.registry import STRIKABLE
from tests.local.jobs import until

ROLE = "arn:aws:iam::123456789012:role/any"
CALLS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "pricing:GetProducts": ("pricing", "get_products", {"ServiceCode": "AmazonEC2", "MaxResults": 1}),
    "pricing:DescribeServices": ("pricing", "describe_services", {}),
    "servicequotas:ListServiceQuotas": ("service-quotas", "list_service_quotas", {"ServiceCode": "sagemaker"}),
    "ec2:DescribeSpotPriceHistory": ("ec2", "describe_spot_price_history", {"InstanceTypes": ["g5.xlarge"]}),
    "ec2:GetSpotPlacementScores": (
        *("ec2", "get_spot_placement_scores"),
        {"InstanceTypes": ["g5.xlarge"], "TargetCapacity": 1},
    ),
    "ec2:DescribeInstanceTypeOfferings": ("ec2", "describe_instance_type_offerings", {}),
    "iam:GetRole": ("iam", "get_role", {"RoleName": "any"}),
    "iam:SimulatePrincipalPolicy": (
        *("iam", "simulate_principal_policy"),
        {"PolicySourceArn": ROLE, "ActionNames": ["s3:GetObject"]},
    ),
    "ecr:DescribeImages": ("ecr", "describe_images", {"repositoryName": "training"}),
    "ListTrainingJobs": ("sagemaker", "list_training_jobs", {}),
}


@pytest.fixture(scope="module")
def service(sm: LocalSageMaker) -> LocalSageMaker:
    ecr = sm.client("ecr")
    if not ecr.describe_repositories()["repositories"]:
        ecr.create_repository(repositoryName="training")
    return sm


@pytest.fixture
def faulty(service: LocalSageMaker) -> Iterator[LocalSageMaker]:
    yield service
    service.set_faults("")


def call(service: LocalSageMaker, operation: str) -> dict[str, Any]:
    name, method, request = CALLS[operation]
    answer: dict[str, Any] = getattr(client(name, service.endpoint_url), method)(**request)
    return answer


@lru_cache
def client(name: str, endpoint_url: str) -> Any:
    """Return a client that does not retry."""
    return boto3.client(
        name,  # type: ignore[call-overload]
        endpoint_url=endpoint_url,
        region_name="us-east-1",
        aws_access_key_id="x",
        aws_secret_access_key="x",
        config=Config(retries={"total_max_attempts": 1}),
    )


def last(service: LocalSageMaker, operation: str) -> dict[str, Any]:
    lines = [line for line in service.audit if line["event"] in ("call", "fault") and line["operation"] == operation]
    return lines[-1]


@pytest.mark.parametrize("operation", CALLS)
def test_who_may_not_is_told_so_and_others_are_answered(faulty: LocalSageMaker, operation: str) -> None:
    faulty.set_faults(f"{operation}=denied:count=1")
    with pytest.raises(ClientError) as raised:
        call(faulty, operation)
    error = raised.value.response["Error"]
    assert error["Code"] in ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation")
    assert (
        f"is not authorized to perform: {operation if ':' in operation else f'sagemaker:{operation}'} "
        in error["Message"]
    )
    assert (last(faulty, operation)["error"], last(faulty, operation)["fault"]) == (error["Code"], "denied")
    assert call(faulty, operation)["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert (last(faulty, operation)["error"], last(faulty, operation)["fault"]) == (None, None)


@pytest.mark.parametrize(
    ("operation", "kind", "code", "status"),
    [
        ("ec2:GetSpotPlacementScores", "throttle", "RequestLimitExceeded", 503),
        ("servicequotas:ListServiceQuotas", "throttle", "TooManyRequestsException", 400),
        ("pricing:GetProducts", "throttle", "ThrottlingException", 400),
        ("pricing:GetProducts", "error", "InternalErrorException", 500),
        ("iam:GetRole", "missing", "NoSuchEntity", 404),
        ("ecr:DescribeImages", "missing", "ImageNotFoundException", 400),
        ("ec2:DescribeSpotPriceHistory", "unavailable", "Unavailable", 503),
        ("iam:SimulatePrincipalPolicy", "expired", "ExpiredToken", 403),
    ],
)
def test_each_service_has_its_own_words(
    faulty: LocalSageMaker, operation: str, kind: str, code: str, status: int
) -> None:
    faulty.set_faults(f"{operation.partition(':')[0]}:*={kind}")
    with pytest.raises(ClientError) as raised:
        call(faulty, operation)
    response = raised.value.response
    assert (response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]) == (code, status)


@pytest.mark.parametrize("kind", ["cut-before", "cut-after", "cut-half"])
def test_connections_are_cut(faulty: LocalSageMaker, kind: str) -> None:
    operation = "ec2:DescribeInstanceTypeOfferings"
    faulty.set_faults(f"{operation}={kind}:count=1")
    with pytest.raises(ConnectionClosedError):
        call(faulty, operation)
    until(lambda: kind in (last(faulty, operation).get("fault"), last(faulty, operation).get("kind")), "it is recorded")
    assert call(faulty, operation)["InstanceTypeOfferings"]


def test_what_moto_refuses_is_recorded_too(faulty: LocalSageMaker) -> None:
    with pytest.raises(ClientError, match="RepositoryNotFoundException"):
        faulty.client("ecr").describe_images(repositoryName="no-such-thing")
    line = last(faulty, "ecr:DescribeImages")
    assert (line["error"], line["resource"]) == ("RepositoryNotFoundException", "no-such-thing")


@pytest.mark.parametrize("kind", ERRORS)
def test_every_operation_has_an_answer_for_every_kind(kind: str) -> None:
    assert {operation for operation in STRIKABLE if ":" not in operation}
    for operation in STRIKABLE:
        error = fault_error(kind, operation)
        assert error.code
        assert error.message
        assert error.status >= 400
