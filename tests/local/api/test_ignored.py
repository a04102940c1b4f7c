"""What has no effect here is said once, in the log and in the audit log; what would give a wrong result is refused."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from airflow_spot.local import LocalSageMaker
from tests.local.hosting.test_endpoints import COLOUR, Endpoints, adder, endpoints
from tests.local.jobs import ROLE, Jobs
from tests.local.processing.test_processing import Processing
from tests.local.transform.transforms import Transforms

__all__ = ["endpoints"]  # a fixture

VPC = {"SecurityGroupIds": ["sg-1"], "Subnets": ["subnet-1"]}
CAPTURE = {
    "InitialSamplingPercentage": 100,
    "DestinationS3Uri": "s3://bucket/captured",
    "CaptureOptions": [{"CaptureMode": "Input"}],
}
VARIANT = {"VariantName": "only", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}


def said(jobs: Jobs, name: str) -> list[str]:
    """The members that are listed, if the audit log and the service's log list the same ones once each."""
    (line,) = jobs.events("ignored", job=name)
    log = (jobs.sm.dir / "service.log").read_text()
    assert re.findall(rf" {name}: accepted, but ignored here: (.*)", log) == [", ".join(line["members"])]
    members: list[str] = line["members"]
    return members


def model(jobs: Jobs, **more: Any) -> str:
    name = f"ignored-{uuid.uuid4().hex[:8]}"
    jobs.sagemaker.create_model(
        ModelName=name,
        ExecutionRoleArn=ROLE,
        PrimaryContainer={"Image": "image:1", **more.pop("container", {})},
        **more,
    )
    return name


def config(jobs: Jobs, name: str, variant: dict[str, Any] | None = None, **more: Any) -> None:
    variants = [{**VARIANT, "ModelName": name, **(variant or {})}]
    variants = [{key: value for key, value in each.items() if value is not None} for each in variants]
    jobs.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=variants, **more)


def test_models_and_endpoint_configurations(sm: LocalSageMaker) -> None:
    jobs = Jobs(sm)
    name = model(jobs, VpcConfig=VPC, EnableNetworkIsolation=True)
    assert said(jobs, name) == ["VpcConfig", "EnableNetworkIsolation"]
    plain = model(jobs)
    scaling = {"ManagedInstanceScaling": {"Status": "ENABLED", "MinInstanceCount": 1, "MaxInstanceCount": 2}}
    config(jobs, plain, scaling, DataCaptureConfig=CAPTURE)
    assert said(jobs, plain) == ["DataCaptureConfig", "ProductionVariants.ManagedInstanceScaling"]
    assert sm.client("sagemaker").describe_endpoint_config(EndpointConfigName=plain)["DataCaptureConfig"] == CAPTURE


def test_processing_and_transform_jobs(jobs: Jobs) -> None:
    processing = Processing(jobs)
    network = {"VpcConfig": VPC, "EnableNetworkIsolation": True}
    name = processing.start("pass", NetworkConfig=network, ExperimentConfig={"TrialName": "t"})
    assert said(jobs, name) == ["NetworkConfig.VpcConfig", "NetworkConfig.EnableNetworkIsolation", "ExperimentConfig"]
    assert processing.end(name)["ProcessingJobStatus"] == "Completed"
    plain = processing.start("pass", NetworkConfig={"EnableNetworkIsolation": False})
    assert jobs.events("ignored", job=plain) == []
    transforms = Transforms(jobs)
    transforms.put("a.csv", "1,2\n")
    request = transforms.request(transforms.model(), ExperimentConfig={"TrialName": "t"})
    jobs.sagemaker.create_transform_job(**request)
    assert said(jobs, request["TransformJobName"]) == ["ExperimentConfig"]


def refused(call: Callable[..., Any], *arguments: Any, **more: Any) -> str:
    with pytest.raises(ClientError) as raised:
        call(*arguments, **more)
    assert raised.value.response["Error"]["Code"] == "ValidationException"
    return str(raised.value.response["Error"]["Message"])


@pytest.mark.parametrize(
    ("variant", "more", "named"),
    [
        ({}, {"AsyncInferenceConfig": {"OutputConfig": {"S3OutputPath": "s3://bucket/out"}}}, "AsyncInferenceConfig"),
        ({}, {"ExplainerConfig": {"ClarifyExplainerConfig": {"ShapConfig": {"ShapBaselineConfig": {}}}}}, "Explainer"),
        ({"ServerlessConfig": {"MemorySizeInMB": 1024, "MaxConcurrency": 1}, "InstanceType": None}, {}, "Serverless"),
        ({"InstanceType": None}, {}, "1.member.InstanceType is required"),
    ],
)
def test_endpoints_of_other_kinds_are_refused(
    jobs: Jobs, variant: dict[str, Any], more: dict[str, Any], named: str
) -> None:
    name = model(jobs)
    assert named in refused(config, jobs, name, variant, **more)
    assert "Could not find" in refused(jobs.sagemaker.describe_endpoint_config, EndpointConfigName=name)


def test_a_model_of_several_models_is_refused(jobs: Jobs) -> None:
    assert "MultiModel" in refused(model, jobs, container={"Mode": "MultiModel"})
    assert model(jobs, container={"Mode": "SingleModel"})


@pytest.mark.parametrize(
    ("output", "named"),
    [
        ({"FeatureStoreOutput": {"FeatureGroupName": "group"}, "AppManaged": True}, "only S3Output"),
        ({}, "only S3Output"),
        ({"S3Output": {"S3Uri": "s3://bucket/out", "S3UploadMode": "EndOfJob"}}, "LocalPath"),
    ],
)
def test_outputs_that_would_be_lost_are_refused(jobs: Jobs, output: dict[str, Any], named: str) -> None:
    request = Processing(jobs).request("pass")
    request["ProcessingOutputConfig"]["Outputs"].append({"OutputName": "features", **output})
    message = refused(jobs.sagemaker.create_processing_job, **request)
    assert "Outputs features" in message and named in message


def test_an_invocation_is_audited_faulted_and_never_of_another_model(endpoints: Endpoints) -> None:
    name = endpoints.serve(adder(), environment=COLOUR)
    sm = endpoints.jobs.sm
    assert endpoints.ask(name, [1]) == [11]
    for more in (
        {"TargetModel": "other.tar.gz"},
        {"TargetContainerHostname": "other"},
        {"InferenceComponentName": "other"},
        {"EnableExplanations": "`true`"},
        {"SessionId": "NEW_SESSION"},
    ):
        with pytest.raises(ClientError, match=f"{next(iter(more))} is not implemented"):
            endpoints.ask(name, [1], **more)
    with pytest.raises(ClientError, match="ModelError"):
        endpoints.ask(name, None, ContentType="text/plain", Body="hunter2")
    try:
        sm.set_faults("InvokeEndpoint=error:count=1;InvokeEndpoint=throttle:count=1,after=1")
        # boto3 repeats the call after each.
        assert endpoints.ask(name, [2]) == [12]
    finally:
        sm.set_faults("")
    lines = endpoints.jobs.events("call", operation="InvokeEndpoint", resource=name)
    assert [(line["error"], line["fault"]) for line in lines] == [
        (None, None),
        *[("ValidationError", None)] * 5,
        ("ModelError", None),
        ("InternalFailure", "error"),
        ("ThrottlingException", "throttle"),
        (None, None),
    ]
    assert {line["region"] for line in lines} == {"us-east-1"}
    assert "hunter2" not in (sm.dir / "audit.jsonl").read_text()
