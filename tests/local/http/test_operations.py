"""The wire: validation in AWS's words, rules, lists, tags, and what is not there."""

from __future__ import annotations

import copy
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from airflow_spot.local.api.validation import validate
from airflow_spot.local.errors import ServiceError
from airflow_spot.local.http.answers import json_answer
from tests.local.jobs import Jobs

OK = "pass"
PLAN = "arn:aws:sagemaker:us-east-1:123456789012:training-plan/plan"


@pytest.fixture(scope="module")
def raw(jobs: Jobs) -> Any:
    """A client that sends whatever it is given."""
    return boto3.client(
        "sagemaker",
        endpoint_url=jobs.sm.endpoint_url,
        region_name="us-east-1",
        aws_access_key_id="x",
        aws_secret_access_key="x",
        config=Config(parameter_validation=False, retries={"max_attempts": 0}),
    )


def refused(call: Callable[..., Any], request: dict[str, Any], code: str = "ValidationException") -> str:
    with pytest.raises(ClientError) as raised:
        call(**request)
    assert raised.value.response["Error"]["Code"] == code
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    return str(raised.value.response["Error"]["Message"])


def put(request: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy with the member at a dotted path set, or removed if the value is None."""
    changed = copy.deepcopy(request)
    *parents, last = path.split(".")
    place = changed
    for name in parents:
        place = place.setdefault(name, {})
    if value is None:
        place.pop(last)
    else:
        place[last] = value
    return changed


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (
            "TrainingJobName",
            "bad_name",
            "at 'trainingJobName' failed to satisfy constraint: Member must satisfy regular",
        ),
        (
            "TrainingJobName",
            "x" * 64,
            "at 'trainingJobName' failed to satisfy constraint: Member must have length less",
        ),
        (
            "TrainingJobName",
            None,
            "Value null at 'trainingJobName' failed to satisfy constraint: Member must not be null",
        ),
        ("RoleArn", "the role of the trainer", "'the role of the trainer' at 'roleArn' failed to satisfy constraint"),
        ("ResourceConfig.InstanceType", "ml.x.large", "'ml.x.large' at 'resourceConfig.instanceType' failed"),
        ("ResourceConfig.InstanceCount", -1, "Value '-1' at 'resourceConfig.instanceCount' failed"),
        ("StoppingCondition.MaxRuntimeInSeconds", 0, "at 'stoppingCondition.maxRuntimeInSeconds' failed"),
        (
            "AlgorithmSpecification.TrainingInputMode",
            "Flie",
            "Member must satisfy enum value set: [Pipe, File, FastFile]",
        ),
        ("HyperParameters", {f"k{n}": "v" for n in range(101)}, "at 'hyperParameters' failed to satisfy constraint"),
        ("HyperParameters", {"secret": "s" * 2501}, "Map value of 'secret' at 'hyperParameters' failed"),
        ("Environment", {"1A": "v"}, "Map key of '1A' at 'environment' failed to satisfy constraint"),
        ("InputDataConfig", [], "at 'inputDataConfig' failed to satisfy constraint: Member must have length greater"),
        ("InputDataConfig", [{"ChannelName": "a"}], "Value null at 'inputDataConfig.1.member.dataSource' failed"),
    ],
)
def test_the_model_is_enforced_in_awss_words(jobs: Jobs, raw: Any, path: str, value: Any, message: str) -> None:
    text = refused(raw.create_training_job, put(jobs.request(), path, value))
    assert text.startswith("1 validation error detected: ")
    assert message in text
    assert "sss" not in text


def test_an_unknown_member_is_refused_since_it_would_be_lost(jobs: Jobs) -> None:
    with pytest.raises(ServiceError, match=r"Unknown member 'resourceConfig\.surprise'"):
        validate("CreateTrainingJob", put(jobs.request(), "ResourceConfig.Surprise", "x"))


def test_several_errors_come_together(jobs: Jobs, raw: Any) -> None:
    request = put(put(jobs.request(), "TrainingJobName", "a_b"), "RoleArn", "r")
    assert refused(raw.create_training_job, request).startswith("3 validation errors detected: ")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("TrainingJobName", 5),
        ("ResourceConfig.InstanceCount", "1"),
        ("ResourceConfig.InstanceCount", True),
        ("EnableManagedSpotTraining", "True"),
        ("InputDataConfig", {}),
        ("HyperParameters", {"a": 1}),
        ("StoppingCondition", []),
    ],
)
def test_types_are_not_coerced(jobs: Jobs, path: str, value: Any) -> None:
    with pytest.raises(ServiceError) as raised:
        validate("CreateTrainingJob", put(jobs.request(), path, value))
    assert raised.value.code == "SerializationException"
    assert "can not be converted to" in raised.value.message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"StoppingCondition.MaxWaitTimeInSeconds": 1}, "MaxWaitTimeInSeconds 1."),
        ({"StoppingCondition.MaxWaitTimeInSeconds": None}, "MaxWaitTimeInSeconds"),
        ({"EnableManagedSpotTraining": False}, "It is only supported when EnableManagedSpotTraining is set to true"),
        ({"StoppingCondition.MaxRuntimeInSeconds": 28 * 86400 + 1}, "28 days"),
        ({"ResourceConfig.KeepAlivePeriodInSeconds": 60}, "KeepAlivePeriodInSeconds"),
        ({"ResourceConfig.InstancePreferences": [{"InstanceType": "ml.m5.large"}]}, "InstancePreferences"),
        ({"ResourceConfig.InstanceCount": 0}, "InstanceCount"),
        ({"ResourceConfig.InstanceType": None}, "InstanceType"),
        ({"AlgorithmSpecification.TrainingImage": None}, "exactly one of TrainingImage and AlgorithmName"),
        ({"AlgorithmSpecification.AlgorithmName": "a"}, "exactly one of TrainingImage and AlgorithmName"),
        ({"AlgorithmSpecification.TrainingInputMode": "Pipe", "InputDataConfig": "one"}, "Pipe"),
        ({"InputDataConfig": "twice"}, "Channel names must be unique"),
        ({"CheckpointConfig.S3Uri": "https://bucket/x"}, "CheckpointConfig.S3Uri"),
        ({"CheckpointConfig.LocalPath": "checkpoints"}, "CheckpointConfig.LocalPath"),
    ],
)
def test_the_rules_of_the_service(jobs: Jobs, raw: Any, changes: dict[str, Any], message: str) -> None:
    channel = {
        "ChannelName": "a",
        "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://bucket/x"}},
    }
    request = jobs.request()
    for path, value in changes.items():
        request = put(
            request,
            path,
            {"one": [channel], "twice": [channel] * 2}.get(value, value) if isinstance(value, str) else value,
        )
    assert message in refused(raw.create_training_job, request)
    assert "not found" in refused(raw.describe_training_job, {"TrainingJobName": request["TrainingJobName"]})


def test_operations_that_are_not_there(jobs: Jobs) -> None:
    with pytest.raises(ClientError, match="CreateAutoMLJob is not implemented by Local SageMaker"):
        jobs.sagemaker.create_auto_ml_job(
            AutoMLJobName="x",
            InputDataConfig=[{"TargetAttributeName": "t"}],
            OutputDataConfig={"S3OutputPath": "s3://b"},
            RoleArn="arn:aws:iam::123456789012:role/x",
        )
    status, body = post(jobs, "SageMaker.Nonsense", b"{}")
    assert (status, body["__type"]) == (404, "UnknownOperationException")


@pytest.mark.parametrize("body", [b"not json", b"[]", b"\xff"])
def test_a_body_that_is_no_request(jobs: Jobs, body: bytes) -> None:
    status, answer = post(jobs, "SageMaker.ListTrainingJobs", body)
    assert (status, answer["__type"]) == (400, "SerializationException")


def post(jobs: Jobs, target: str, body: bytes) -> tuple[int, dict[str, Any]]:
    headers = {"X-Amz-Target": target, "Content-Type": "application/x-amz-json-1.1"}
    request = urllib.request.Request(jobs.sm.endpoint_url, body, headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_lists_filter_sort_and_page(jobs: Jobs) -> None:
    mark = f"list{time.time_ns()}"
    names = [f"{mark}-{letter}" for letter in "bca"]
    for name in names:
        jobs.start("import sys; sys.exit(1)" if name.endswith("c") else OK, TrainingJobName=name)
    for name in names:
        jobs.end(name)

    def found(**query: Any) -> list[str]:
        pages = jobs.sagemaker.get_paginator("list_training_jobs").paginate(
            NameContains=mark, PaginationConfig={"PageSize": 2}, **query
        )
        return [line["TrainingJobName"][-1] for page in pages for line in page["TrainingJobSummaries"]]

    assert found() == ["b", "c", "a"]
    assert found(SortBy="CreationTime", SortOrder="Ascending") == ["b", "c", "a"]
    assert found(SortBy="CreationTime", SortOrder="Descending") == ["a", "c", "b"]
    assert found(SortBy="Name", SortOrder="Ascending") == ["a", "b", "c"]
    assert found(SortBy="Name", SortOrder="Descending") == ["c", "b", "a"]
    assert found(StatusEquals="Failed") == ["c"]
    assert found(StatusEquals="InProgress") == []
    assert found(WarmPoolStatusEquals="InUse") == []
    assert found(TrainingPlanArnEquals=PLAN) == []
    # boto3 sends times in whole seconds.
    now = datetime.now(timezone.utc)
    for kind in ("CreationTime", "LastModifiedTime"):
        assert len(found(**{f"{kind}After": now - timedelta(hours=1)})) == 3
        assert found(**{f"{kind}After": now + timedelta(hours=1)}) == []
        assert len(found(**{f"{kind}Before": now + timedelta(hours=1)})) == 3
        assert found(**{f"{kind}Before": now - timedelta(hours=1)}) == []
    line = jobs.sagemaker.list_training_jobs(NameContains=names[1])["TrainingJobSummaries"][0]
    assert (line["TrainingJobStatus"], line["SecondaryStatus"]) == ("Failed", "Failed")
    assert {"TrainingJobArn", "CreationTime", "LastModifiedTime", "TrainingEndTime"} <= line.keys()


def test_a_page_has_ten_and_a_token_belongs_to_its_request(jobs: Jobs) -> None:
    mark = f"page{time.time_ns()}"
    for number in range(11):
        jobs.start(None, TrainingJobName=f"{mark}-{number}")
    first = jobs.sagemaker.list_training_jobs(NameContains=mark)
    assert len(first["TrainingJobSummaries"]) == 10
    rest = jobs.sagemaker.list_training_jobs(NameContains=mark, NextToken=first["NextToken"])
    assert len(rest["TrainingJobSummaries"]) == 1
    assert "NextToken" not in rest
    for query in ({"NextToken": "nonsense"}, {"NextToken": first["NextToken"], "SortBy": "Name"}):
        assert "NextToken" in refused(jobs.sagemaker.list_training_jobs, query)


def test_tags(jobs: Jobs) -> None:
    arn = jobs.sagemaker.create_training_job(**jobs.request(OK, Tags=[{"Key": "a", "Value": "1"}]))["TrainingJobArn"]
    jobs.sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": "b", "Value": "2"}, {"Key": "a", "Value": "3"}])

    def tags() -> dict[str, str]:
        return {tag["Key"]: tag["Value"] for tag in jobs.sagemaker.list_tags(ResourceArn=arn)["Tags"]}

    assert tags() == {"a": "3", "b": "2"}
    jobs.sagemaker.delete_tags(ResourceArn=arn, TagKeys=["a", "never"])
    assert tags() == {"b": "2"}
    many = [{"Key": f"k{number}", "Value": ""} for number in range(50)]
    assert "51 tags" in refused(jobs.sagemaker.add_tags, {"ResourceArn": arn, "Tags": many})
    assert tags() == {"b": "2"}
    reserved = {"ResourceArn": arn, "Tags": [{"Key": "aws:x", "Value": ""}]}
    assert "aws:" in refused(jobs.sagemaker.add_tags, reserved)
    assert "not found" in refused(jobs.sagemaker.list_tags, {"ResourceArn": f"{arn}x"})


def test_what_has_no_effect_here_is_accepted_and_listed_once(jobs: Jobs) -> None:
    request = jobs.request(OK, VpcConfig={"SecurityGroupIds": ["sg-1"], "Subnets": ["subnet-1"]})
    request["OutputDataConfig"]["KmsKeyId"] = "key"
    jobs.sagemaker.create_training_job(**request)
    job = jobs.end(request["TrainingJobName"])
    assert job["TrainingJobStatus"] == "Completed"
    assert job["VpcConfig"] == request["VpcConfig"]
    lines = jobs.events("ignored", job=request["TrainingJobName"])
    assert [line["members"] for line in lines] == [["VpcConfig", "OutputDataConfig.KmsKeyId"]]


def test_everything_else_is_moto(jobs: Jobs) -> None:
    assert jobs.sm.client("sts").get_caller_identity()["Account"] == "123456789012"
    iam = jobs.sm.client("iam")
    iam.create_role(RoleName="trainer", AssumeRolePolicyDocument="{}")
    assert iam.get_role(RoleName="trainer")["Role"]["Arn"] == "arn:aws:iam::123456789012:role/trainer"


def test_the_audit_log_has_every_call_and_no_secret(jobs: Jobs) -> None:
    request = jobs.request(OK, HyperParameters={"password": "hunter2"}, Environment={"TOKEN": "hunter3"})
    jobs.sagemaker.create_training_job(**request)
    refused(jobs.sagemaker.create_training_job, request, "ResourceInUse")
    name = request["TrainingJobName"]
    assert [line["error"] for line in jobs.events("call", operation="CreateTrainingJob", resource=name)] == [
        *(None, "ResourceInUse")
    ]
    jobs.end(name)
    assert [line["secondary"] for line in jobs.events("state", job=name)][-1] == "Completed"
    text = (jobs.sm.dir / "audit.jsonl").read_text()
    assert "hunter" not in text


def test_jobs_are_found_by_the_training_plan_that_they_name(jobs: Jobs) -> None:
    request = put(jobs.request(OK, spot=False), "ResourceConfig.TrainingPlanArn", PLAN)
    jobs.sagemaker.create_training_job(**request)
    found = jobs.sagemaker.list_training_jobs(TrainingPlanArnEquals=PLAN, NameContains=request["TrainingJobName"])
    assert [line["TrainingJobName"] for line in found["TrainingJobSummaries"]] == [request["TrainingJobName"]]


@pytest.mark.parametrize("member", ["StoppingCondition", "Tags", "InputDataConfig", "CheckpointConfig", "VpcConfig"])
def test_null_says_that_a_member_is_absent(jobs: Jobs, member: str) -> None:
    request = {**jobs.request(OK, spot=False), member: None}
    status, answer = post(jobs, "SageMaker.CreateTrainingJob", json.dumps(request).encode())
    assert (status, list(answer)) == (200, ["TrainingJobArn"])
    assert jobs.end(request["TrainingJobName"])["TrainingJobStatus"] == "Completed"


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        ("Search", {"Resource": "TrainingJob", "SearchExpression": None, "SortBy": None, "MaxResults": None}),
        ("ListTrainingJobs", {"NameContains": None, "SortOrder": None, "WarmPoolStatusEquals": None}),
        ("ListProcessingJobs", {"SortBy": None, "NextToken": None}),
        ("ListHyperParameterTuningJobs", {"SortBy": None, "StatusEquals": None}),
    ],
)
def test_null_in_a_query_asks_for_nothing(jobs: Jobs, operation: str, body: dict[str, Any]) -> None:
    assert post(jobs, f"SageMaker.{operation}", json.dumps(body).encode())[0] == 200


def test_null_where_a_value_has_to_be_is_refused(jobs: Jobs) -> None:
    for member, value in (("RoleArn", None), ("HyperParameters", {"a": None}), ("Tags", [None])):
        status, _ = post(jobs, "SageMaker.CreateTrainingJob", json.dumps({**jobs.request(), member: value}).encode())
        assert status == 400, member


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_number_that_json_has_not_is_refused(jobs: Jobs, value: str) -> None:
    status, answer = post(jobs, "SageMaker.ListTrainingJobs", b'{"CreationTimeAfter": %s}' % value.encode())
    assert (status, answer["__type"]) == (400, "SerializationException")
    assert value in answer["message"]


def test_a_metric_that_is_no_number_is_left_out(jobs: Jobs) -> None:
    request = jobs.request("print('loss=0.5'); print('loss=nan'); print('speed=inf')")
    definitions = [{"Name": name, "Regex": f"{name}=(.*)"} for name in ("loss", "speed")]
    request["AlgorithmSpecification"]["MetricDefinitions"] = definitions
    jobs.sagemaker.create_training_job(**request)
    metrics = jobs.end(request["TrainingJobName"])["FinalMetricDataList"]
    assert [(metric["MetricName"], metric["Value"]) for metric in metrics] == [("loss", 0.5)]


def test_an_answer_that_is_not_json_is_an_error() -> None:
    with pytest.raises(ValueError, match="JSON"):
        json_answer({"Value": float("nan")})
