"""The model registry: groups, versions, approval, and a deployment from a package."""

from __future__ import annotations

import json
import threading
import time
import uuid
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.amazon.aws.operators.sagemaker import SageMakerRegisterModelVersionOperator
from airflow.providers.amazon.aws.utils.sagemaker import ApprovalStatus
from botocore.exceptions import ClientError

from airflow_spot.local import LocalSageMaker
from airflow_spot.local.api.call import Call
from airflow_spot.local.hosting.model_packages import (
    MODEL_PACKAGE_GROUPS,
    MODEL_PACKAGES,
    ModelPackageGroup,
    delete_model_package_group,
)
from airflow_spot.local.storage.store import Store
from tests.local.hosting.test_endpoints import ADDER, archive
from tests.local.jobs import ROLE, Jobs


def specification(url: str = "s3://bucket/m/model.tar.gz", **more: Any) -> dict[str, Any]:
    return {
        "Containers": [{"Image": "image:1", "ModelDataUrl": url, **more}],
        "SupportedContentTypes": ["application/json"],
        "SupportedResponseMIMETypes": ["application/json"],
    }


class Registry:
    """One group of a name of its own."""

    def __init__(self, jobs: Jobs) -> None:
        self.jobs = jobs
        self.sagemaker = jobs.sagemaker
        self.group = f"Group-{uuid.uuid4().hex[:8]}"
        self.arn = self.sagemaker.create_model_package_group(ModelPackageGroupName=self.group)["ModelPackageGroupArn"]

    def register(self, **request: Any) -> str:
        given = {"ModelPackageGroupName": self.group, "InferenceSpecification": specification(), **request}
        return str(self.sagemaker.create_model_package(**given)["ModelPackageArn"])

    def describe(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.sagemaker.describe_model_package(ModelPackageName=name)
        return found

    def listed(self, **filters: Any) -> list[int]:
        pages = self.sagemaker.get_paginator("list_model_packages")
        found = pages.paginate(ModelPackageGroupName=self.group, **filters)
        return [line["ModelPackageVersion"] for page in found for line in page["ModelPackageSummaryList"]]


@pytest.fixture
def registry(jobs: Jobs) -> Registry:
    return Registry(jobs)


def test_versions_count_up_and_are_not_used_again(registry: Registry) -> None:
    arns = [registry.register() for _ in range(3)]
    assert arns == [f"{registry.arn.replace('model-package-group', 'model-package')}/{number}" for number in (1, 2, 3)]
    registry.sagemaker.delete_model_package(ModelPackageName=arns[2])
    assert registry.register().endswith("/4")
    assert registry.listed() == [1, 2, 4]


def test_a_version_is_described_as_it_was_registered(registry: Registry) -> None:
    arn = registry.register(ModelPackageDescription="the first", CustomerMetadataProperties={"a": "1"})
    for name in (arn, f"{registry.group}/1"):
        found = registry.describe(name)
        assert (found["ModelPackageGroupName"], found["ModelPackageVersion"]) == (registry.group, 1)
        assert found["ModelApprovalStatus"] == "PendingManualApproval"
        assert found["ModelPackageStatus"] == "Completed"
        assert found["InferenceSpecification"] == specification()
        assert found["ModelPackageDescription"] == "the first"
    group = registry.sagemaker.describe_model_package_group(ModelPackageGroupName=registry.arn)
    assert group["ModelPackageGroupStatus"] == "Completed"


def test_the_same_call_again_makes_no_second_version(registry: Registry) -> None:
    assert registry.register(ClientToken="once") == registry.register(ClientToken="once")
    assert registry.register(ClientToken="twice").endswith("/2")


def test_an_approval_is_an_update(registry: Registry) -> None:
    arn = registry.register(CustomerMetadataProperties={"a": "1", "b": "2"})
    registry.sagemaker.update_model_package(
        ModelPackageArn=arn,
        ModelApprovalStatus="Approved",
        ApprovalDescription="good",
        CustomerMetadataProperties={"c": "3"},
        CustomerMetadataPropertiesToRemove=["a"],
    )
    found = registry.describe(arn)
    assert (found["ModelApprovalStatus"], found["ApprovalDescription"]) == ("Approved", "good")
    assert found["CustomerMetadataProperties"] == {"b": "2", "c": "3"}
    assert found["LastModifiedTime"] >= found["CreationTime"]


def test_lists(registry: Registry, jobs: Jobs) -> None:
    for status in ("Approved", "Rejected", "Approved"):
        registry.register(ModelApprovalStatus=status)
    assert registry.listed(ModelApprovalStatus="Approved") == [1, 3]
    assert registry.listed(SortOrder="Descending", PaginationConfig={"PageSize": 2}) == [3, 2, 1]
    alone = f"alone-{registry.group}"
    arn = jobs.sagemaker.create_model_package(ModelPackageName=alone, InferenceSpecification=specification())
    # Without a group or a type they are those that have no group.
    by_itself = jobs.sagemaker.list_model_packages(NameContains=alone)["ModelPackageSummaryList"]
    assert [line["ModelPackageArn"] for line in by_itself] == [arn["ModelPackageArn"]]
    both = jobs.sagemaker.list_model_packages(NameContains=registry.group, ModelPackageType="Both")
    assert len(both["ModelPackageSummaryList"]) == 4
    groups = jobs.sagemaker.list_model_package_groups(NameContains=registry.group)["ModelPackageGroupSummaryList"]
    assert [line["ModelPackageGroupArn"] for line in groups] == [registry.arn]


def test_ten_versions_are_in_the_order_of_their_numbers(registry: Registry) -> None:
    for _ in range(11):
        registry.register()
    assert registry.listed(SortBy="Name") == list(range(1, 12))


def test_the_zeros_that_sort_versions_are_no_part_of_a_name(registry: Registry) -> None:
    registry.register()
    assert registry.listed(NameContains="000000") == []
    assert registry.listed(NameContains=registry.group) == [1]


def test_the_deletion_of_a_group_and_a_new_version_do_not_wait_for_each_other() -> None:
    store = Store([MODEL_PACKAGE_GROUPS, MODEL_PACKAGES])
    backend: Any = SimpleNamespace(store=store, clock=SimpleNamespace(now=lambda: 0.0))
    groups, packages = store.table(MODEL_PACKAGE_GROUPS), store.table(MODEL_PACKAGES)
    groups.add(ModelPackageGroup("us-east-1", "group", {}, 0.0))
    call = Call("DeleteModelPackageGroup", {"ModelPackageGroupName": "group"}, "us-east-1")
    deletion = threading.Thread(target=delete_model_package_group, args=(backend, call), daemon=True)
    with packages.lock:  # as CreateModelPackage, which then looks for the group
        deletion.start()
        time.sleep(0.2)
        assert groups.lock.acquire(timeout=60)
        groups.lock.release()
    deletion.join(120)
    assert not deletion.is_alive()
    assert len(groups) == 0


def test_a_group_with_versions_stays(registry: Registry) -> None:
    arn = registry.register()
    with pytest.raises(ClientError, match="ConflictException"):
        registry.sagemaker.delete_model_package_group(ModelPackageGroupName=registry.group)
    registry.sagemaker.delete_model_package(ModelPackageName=arn)
    registry.sagemaker.delete_model_package_group(ModelPackageGroupName=registry.group)
    with pytest.raises(ClientError, match=r"ModelPackageGroup .* does not exist"):
        registry.sagemaker.describe_model_package_group(ModelPackageGroupName=registry.group)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"ModelPackageName": "both"}, "either ModelPackageName or ModelPackageGroupName"),
        ({"ModelPackageGroupName": "no-such-group"}, "does not exist"),
        ({"Tags": [{"Key": "a", "Value": "b"}]}, "Tags cannot be given to a versioned model package"),
        ({"InferenceSpecification": None}, "InferenceSpecification is required"),
    ],
)
def test_what_is_refused(registry: Registry, request_: dict[str, Any], message: str) -> None:
    given = {"ModelPackageGroupName": registry.group, "InferenceSpecification": specification(), **request_}
    with pytest.raises(ClientError, match=message):
        registry.sagemaker.create_model_package(**{name: value for name, value in given.items() if value is not None})
    assert registry.listed() == []


def test_a_group_of_that_name_is_refused_in_the_words_that_airflow_looks_for(registry: Registry) -> None:
    with pytest.raises(ClientError) as refused:
        registry.sagemaker.create_model_package_group(ModelPackageGroupName=registry.group)
    assert refused.value.response["Error"]["Code"] == "ValidationException"
    assert refused.value.response["Error"]["Message"].startswith("Model Package Group already exists")


def test_tags_are_those_of_the_group(jobs: Jobs) -> None:
    name = f"group-{uuid.uuid4().hex[:8]}"
    tags = [{"Key": "a", "Value": "b"}]
    arn = jobs.sagemaker.create_model_package_group(ModelPackageGroupName=name, Tags=tags)["ModelPackageGroupArn"]
    assert jobs.sagemaker.list_tags(ResourceArn=arn)["Tags"] == tags


def model(registry: Registry, arn: str, **more: Any) -> str:
    """Create a model of a package, and an endpoint configuration of the same name."""
    name = f"model-{uuid.uuid4().hex[:8]}"
    container = {"ModelPackageName": arn, **more}
    registry.sagemaker.create_model(ModelName=name, ExecutionRoleArn=ROLE, Containers=[container])
    return name


@pytest.mark.parametrize("status", ["PendingManualApproval", "Rejected"])
def test_a_version_that_is_not_approved_is_not_deployed(registry: Registry, status: str) -> None:
    arn = registry.register(ModelApprovalStatus=status)
    with pytest.raises(ClientError, match=f"approval status {status}"):
        model(registry, arn)


def test_a_model_without_its_data_is_refused(registry: Registry) -> None:
    arn = registry.register(
        InferenceSpecification=specification("s3://bucket/none.tar.gz"), ModelApprovalStatus="Approved"
    )
    with pytest.raises(ClientError, match=r"Could not find model data at s3://bucket/none\.tar\.gz"):
        model(registry, arn)


def test_a_package_is_deployed_and_answers(registry: Registry) -> None:
    url = registry.jobs.put(f"{registry.group}/model.tar.gz", archive({"code/inference.py": ADDER, "weight": "40"}))
    arn = registry.register(
        InferenceSpecification=specification(url, Environment={"COLOUR": "of the package", "OTHER": "x"}),
        ModelApprovalStatus="Approved",
    )
    name = model(registry, arn, Environment={"COLOUR": "of the model"})
    described = registry.sagemaker.describe_model(ModelName=name)
    assert described["Containers"][0]["ModelPackageName"] == arn
    # What was registered is the model's, whatever becomes of the package.
    registry.sagemaker.delete_model_package(ModelPackageName=arn)
    variant = {"VariantName": "only", "ModelName": name, "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    registry.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
    registry.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    try:
        waiter = registry.sagemaker.get_waiter("endpoint_in_service")
        waiter.wait(EndpointName=name, WaiterConfig={"Delay": 1})
        runtime = registry.jobs.sm.client("sagemaker-runtime")
        answer = runtime.invoke_endpoint(EndpointName=name, ContentType="application/json", Body="[1, 2]")
        assert json.loads(answer["Body"].read()) == [41, 42]
    finally:
        registry.sagemaker.delete_endpoint(EndpointName=name)


def test_airflows_own_operator_registers(local_sagemaker: LocalSageMaker) -> None:
    operator = SageMakerRegisterModelVersionOperator(
        task_id="register",
        image_uri="image:1",
        model_url="s3://bucket/m/model.tar.gz",
        package_group_name="digits",
        model_approval=ApprovalStatus.APPROVED,
        aws_conn_id=None,
        region_name="us-east-1",
    )
    first, second = (operator.execute({}) for _ in range(2))
    assert (first.rpartition("/")[2], second.rpartition("/")[2]) == ("1", "2")
    found = local_sagemaker.client("sagemaker").describe_model_package(ModelPackageName=second)
    assert found["ModelApprovalStatus"] == "Approved"
