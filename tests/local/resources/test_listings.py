"""List operations of models, endpoint configurations, endpoints and processing jobs, by stock boto3."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from botocore.exceptions import ClientError

from airflow_spot.local import LocalSageMaker
from tests.local.jobs import ROLE, Jobs, until


@pytest.fixture
def names(sm: LocalSageMaker) -> list[str]:
    """Three models and endpoint configurations whose names nothing else has."""
    client, stem = sm.client("sagemaker"), f"listed-{uuid.uuid4().hex[:8]}"
    made = [f"{stem}-{letter}" for letter in "abc"]
    for name in made:
        client.create_model(ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer={"Image": "image:1"})
        variant = {"VariantName": "only", "ModelName": name, "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
        client.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
    return made


@pytest.mark.parametrize(
    ("operation", "answer", "kind"),
    [("list_models", "Models", "Model"), ("list_endpoint_configs", "EndpointConfigs", "EndpointConfig")],
)
def test_pages_and_sorting(sm: LocalSageMaker, names: list[str], operation: str, answer: str, kind: str) -> None:
    pages = list(
        sm.client("sagemaker")
        .get_paginator(operation)
        .paginate(NameContains=names[0][:-2], SortBy="Name", SortOrder="Ascending", PaginationConfig={"PageSize": 2})
    )
    assert [[item[f"{kind}Name"] for item in page[answer]] for page in pages] == [names[:2], names[2:]]
    assert all(item[f"{kind}Arn"].endswith(item[f"{kind}Name"]) for page in pages for item in page[answer])


def test_endpoints_by_status(sm: LocalSageMaker, names: list[str]) -> None:
    client = sm.client("sagemaker")
    client.create_endpoint(EndpointName=names[0], EndpointConfigName=names[0])

    def listed(status: str) -> list[str]:
        found = client.list_endpoints(NameContains=names[0], StatusEquals=status)["Endpoints"]
        return [endpoint["EndpointName"] for endpoint in found]

    # There is nothing that would serve the model, so it ends as Failed.
    until(lambda: listed("Failed") == [names[0]], "the endpoint to be listed as Failed")
    assert listed("InService") == []


def test_processing_jobs(jobs: Jobs) -> None:
    name = f"processing-{uuid.uuid4().hex[:8]}"
    request: dict[str, Any] = {
        "ProcessingJobName": name,
        "RoleArn": ROLE,
        "AppSpecification": {"ImageUri": "image:1", "ContainerEntrypoint": ["sh", "-c", "exit 3"]},
        "ProcessingResources": {
            "ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
        },
    }
    jobs.sagemaker.create_processing_job(**request)

    def failed() -> list[Any]:
        found = jobs.sagemaker.list_processing_jobs(NameContains=name, StatusEquals="Failed")
        return list(found["ProcessingJobSummaries"])

    (summary,) = until(lambda: failed() or None, "the job to be listed as Failed")
    assert summary["ProcessingJobName"] == name
    assert "FailureReason" in summary
    assert "AppSpecification" not in summary


def test_a_token_of_nobody_is_refused(sm: LocalSageMaker) -> None:
    with pytest.raises(ClientError, match="Invalid NextToken"):
        sm.client("sagemaker").list_models(NextToken="nonsense")
