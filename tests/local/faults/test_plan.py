"""Faults: calls that fail as AWS's do, by a plan."""

from __future__ import annotations

import hashlib
import itertools
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError, HTTPClientError
from hypothesis import given
from hypothesis import strategies as st

from airflow_spot.local import LocalSageMaker
from airflow_spot.local.faults.connection import S3_OPERATIONS, s3_operation
from airflow_spot.local.faults.plan import Faults, Rule, parse_faults
from airflow_spot.local.http.registry import STRIKABLE
from airflow_spot.local.training.snapshots import as_of
from tests.local.jobs import BUCKET, Jobs, counter, statuses


@pytest.fixture
def faulty(sm: LocalSageMaker) -> Iterator[Jobs]:
    """Jobs of a service whose plan ends with the test, by a client that does not retry."""
    jobs = Jobs(sm)
    jobs.sagemaker = client(sm, "sagemaker")
    yield jobs
    sm.set_faults("")


def client(service: LocalSageMaker, name: str) -> Any:
    return boto3.client(
        name,
        endpoint_url=service.endpoint_url,
        region_name="us-east-1",
        aws_access_key_id="x",
        aws_secret_access_key="x",
        config=Config(retries={"total_max_attempts": 1}, read_timeout=60, s3={"addressing_style": "path"}),
    )


@pytest.mark.parametrize(
    ("kind", "code", "status"),
    [
        ("throttle", "ThrottlingException", 400),
        ("error", "InternalFailure", 500),
        ("unavailable", "ServiceUnavailable", 503),
        ("expired", "ExpiredTokenException", 400),
    ],
)
def test_error_answers_by_count(faulty: Jobs, kind: str, code: str, status: int) -> None:
    faulty.sm.set_faults(f"ListTrainingJobs={kind}:count=2,after=1")
    faulty.sagemaker.list_training_jobs()
    for _ in range(2):
        with pytest.raises(ClientError) as raised:
            faulty.sagemaker.list_training_jobs()
        assert raised.value.response["Error"]["Code"] == code
        assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    faulty.sagemaker.list_training_jobs()
    faulty.sagemaker.list_tags(ResourceArn=faulty.describe(faulty.start("pass"))["TrainingJobArn"])


def test_a_cut_before_creates_nothing_and_a_cut_after_creates(faulty: Jobs) -> None:
    before, after = faulty.request("pass"), faulty.request("pass")
    faulty.sm.set_faults("CreateTrainingJob=cut-before:count=1")
    with pytest.raises(ConnectionClosedError):
        faulty.sagemaker.create_training_job(**before)
    with pytest.raises(ClientError, match="not found"):
        faulty.describe(before["TrainingJobName"])
    faulty.sm.set_faults("CreateTrainingJob=cut-after:count=1")
    with pytest.raises(ConnectionClosedError):
        faulty.sagemaker.create_training_job(**after)
    assert faulty.end(after["TrainingJobName"])["TrainingJobStatus"] == "Completed"
    with pytest.raises(faulty.sagemaker.exceptions.ResourceInUse):
        faulty.sagemaker.create_training_job(**after)
    lines = faulty.events("call", operation="CreateTrainingJob", resource=after["TrainingJobName"])
    assert [(line["error"], line["fault"]) for line in lines] == [(None, "cut-after"), ("ResourceInUse", None)]


def test_slow(faulty: Jobs) -> None:
    impatient = boto3.client(
        "sagemaker",
        endpoint_url=faulty.sm.endpoint_url,
        region_name="us-east-1",
        aws_access_key_id="x",
        aws_secret_access_key="x",
        config=Config(retries={"total_max_attempts": 1}, read_timeout=0.3),
    )
    faulty.sm.set_faults("ListTrainingJobs=slow:seconds=20,count=1")
    with pytest.raises(HTTPClientError, match=r"[Rr]ead timeout"):
        impatient.list_training_jobs()
    faulty.sm.set_faults("ListTrainingJobs=slow:seconds=0.2")
    assert "TrainingJobSummaries" in faulty.sagemaker.list_training_jobs()


def test_a_list_and_a_search_lag_and_describe_does_not(faulty: Jobs) -> None:
    done = faulty.run("pass")["TrainingJobName"]
    faulty.sm.set_faults("ListTrainingJobs=lag:seconds=3600;Search=lag:seconds=3600")
    assert faulty.sagemaker.list_training_jobs(NameContains=done)["TrainingJobSummaries"] == []
    query = {"Filters": [{"Name": "TrainingJobName", "Operator": "Equals", "Value": done}]}
    assert faulty.sagemaker.search(Resource="TrainingJob", SearchExpression=query)["Results"] == []
    assert faulty.describe(done)["TrainingJobStatus"] == "Completed"
    faulty.sm.set_faults("")
    assert len(faulty.sagemaker.list_training_jobs(NameContains=done)["TrainingJobSummaries"]) == 1


def test_a_description_as_of_a_moment() -> None:
    now = {
        "CreationTime": 10.0,
        "TrainingJobStatus": "Completed",
        "SecondaryStatus": "Completed",
        "TrainingStartTime": 12.0,
        "TrainingEndTime": 20.0,
        "TrainingTimeInSeconds": 8,
        "LastModifiedTime": 20.0,
        "SecondaryStatusTransitions": [
            {"Status": "Starting", "StartTime": 10.0, "EndTime": 12.0},
            {"Status": "Training", "StartTime": 12.0, "EndTime": 20.0},
            {"Status": "Completed", "StartTime": 20.0, "EndTime": 20.0},
        ],
    }
    assert as_of(now, 9) is None
    assert as_of(now, 20) == now
    past = as_of(now, 15)
    assert past is not None
    assert (past["TrainingJobStatus"], past["SecondaryStatus"], past["LastModifiedTime"]) == (
        "InProgress",
        "Training",
        12,
    )
    assert past["SecondaryStatusTransitions"][-1] == {"Status": "Training", "StartTime": 12.0}
    assert not {"TrainingEndTime", "TrainingTimeInSeconds"} & past.keys()
    early = as_of(now, 11)
    assert early is not None
    assert "TrainingStartTime" not in early


@pytest.fixture(scope="module")
def several(jobs: Jobs) -> None:
    """More jobs than a page of one holds."""
    for _ in range(2):
        jobs.run("pass")


@pytest.mark.usefixtures("several")
@pytest.mark.parametrize("member", ["LastModifiedTimeAfter", "CreationTimeAfter", "NameContains"])
def test_filters_after_paging_make_empty_pages(faulty: Jobs, member: str) -> None:
    from datetime import datetime, timedelta, timezone

    future = datetime.now(timezone.utc) + timedelta(hours=1)
    query: dict[str, Any] = {member: "no-job-of-this-name" if member == "NameContains" else future, "MaxResults": 1}
    assert "NextToken" not in faulty.sagemaker.list_training_jobs(**query)
    faulty.sm.set_faults("ListTrainingJobs=filter-after-paging")
    answer = faulty.sagemaker.list_training_jobs(**query)
    assert answer["TrainingJobSummaries"] == []
    assert "NextToken" in answer


def test_last_modified_time_can_stand_still(faulty: Jobs) -> None:
    name = faulty.start("import time; time.sleep(600)")
    job = faulty.reach(name, "Training")
    assert job["LastModifiedTime"] > job["CreationTime"]
    faulty.sm.set_faults("*=frozen-last-modified")
    job = faulty.describe(name)
    assert job["LastModifiedTime"] == job["CreationTime"]
    line = faulty.sagemaker.list_training_jobs(NameContains=name)["TrainingJobSummaries"][0]
    assert line["LastModifiedTime"] == line["CreationTime"]
    faulty.sagemaker.stop_training_job(TrainingJobName=name)
    job = faulty.end(name)
    assert job["LastModifiedTime"] > job["CreationTime"]


def test_an_upload_that_is_cut_half_way_is_never_seen(faulty: Jobs) -> None:
    s3 = client(faulty.sm, "s3")
    faulty.sm.set_faults("s3:PutObject=cut-half:key=half/*")
    with pytest.raises((ConnectionClosedError, HTTPClientError)):
        s3.put_object(Bucket=BUCKET, Key="half/file", Body=b"x" * 1_000_000)
    assert faulty.keys("half/") == []
    s3.put_object(Bucket=BUCKET, Key="whole/file", Body=b"x")
    assert faulty.keys("whole/") == ["whole/file"]


def test_checkpoints_survive_a_faulty_s3(faulty: Jobs) -> None:
    faulty.sm.set_faults(
        "s3:PutObject=cut-half:p=0.4,seed=3,key=checkpoints/*;s3:PutObject=error:p=0.2,seed=4,key=checkpoints/*"
    )
    name = faulty.start(counter(40, hold=20))
    faulty.wait_for_checkpoint(name)
    faulty.sm.interrupt(name)
    job = faulty.end(name)
    faulty.sm.set_faults("")
    assert job["TrainingJobStatus"] == "Completed"
    assert statuses(job).count("Interrupted") == 1
    assert faulty.events("fault", operation="s3:PutObject", kind="cut-half")
    # What the log calls uploaded is what S3 has, to the byte.
    last = faulty.events("checkpoint", job=name, action="upload")[-1]
    body = faulty.get(f"s3://{BUCKET}/checkpoints/{name}/count")
    assert hashlib.md5(body).hexdigest() == last["etag"]
    assert body == b"40"


def test_browsers_are_not_answered(faulty: Jobs) -> None:
    request = urllib.request.Request(
        faulty.sm.endpoint_url, b"{}", {"Origin": "http://example.com", "X-Amz-Target": "SageMaker.ListTrainingJobs"}
    )
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(request, timeout=60)
    assert raised.value.code == 403


@pytest.mark.parametrize(
    ("plan", "part"),
    [
        ("throttle", "'throttle'"),
        ("X=explode", "'X=explode'"),
        ("X=throttle:count=many", "'count=many'"),
        ("X=throttle:often=1", "'often=1'"),
        ("X=throttle:p=2", "out of range"),
        ("X=slow:seconds=-1", "out of range"),
        ("job:x=restore-failed:megabytes=-1", "out of range"),
        ("job:x=throttle", "are for training jobs"),
        ("DescribeTrainingJob=out-of-memory", "are for training jobs"),
    ],
)
def test_what_is_wrong_is_named(sm: LocalSageMaker, plan: str, part: str) -> None:
    with pytest.raises(ValueError, match="faults") as raised:
        parse_faults(plan)
    assert part in str(raised.value)
    with pytest.raises(RuntimeError, match="faults"):
        sm.set_faults(plan)


@pytest.mark.parametrize("pattern", ["CreateTraningJob", "createTrainingJob", "s3:PutObjekt", "Invoke?", "sts:*"])
def test_an_operation_that_the_service_has_not_is_named(sm: LocalSageMaker, pattern: str) -> None:
    with pytest.raises(RuntimeError, match="no operation of the service") as raised:
        sm.set_faults(f"ListTags=throttle;{pattern}=throttle")
    assert repr(pattern) in str(raised.value)
    with pytest.raises(ValueError, match="no operation of the service"):
        Faults(f"{pattern}=throttle", STRIKABLE)


@pytest.mark.parametrize(
    "pattern", ["*", "*TrainingJob*", "s3:*", "s3:Put*", "s3:UploadPart", "InvokeEndpoint", "Search", "[CD]*Job"]
)
def test_wildcards_and_s3_are_operations_of_the_service(pattern: str) -> None:
    assert Faults(f"{pattern}=throttle", STRIKABLE).quiet is False


def test_each_call_of_s3_has_a_name_that_a_plan_may_give() -> None:
    queries = ("", "list-type=2", "uploads", "uploadId=1", "delete", "location", "partNumber=1")
    copy = {"HTTP_X_AMZ_COPY_SOURCE": "a/b"}
    calls = itertools.product(
        ("GET", "PUT", "HEAD", "DELETE", "POST"), ("/", "/bucket", "/bucket/key"), queries, ({}, copy)
    )
    names = {
        s3_operation({"REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": query, **more})[0]
        for method, path, query, more in calls
    }
    assert names == S3_OPERATIONS


def test_a_plan_is_read() -> None:
    assert parse_faults("A*=throttle:count=2,after=1 ; s3:PutObject=slow:p=0.5,seed=7,key=x/*;B=lag") == [
        Rule("A*", "throttle", count=2, after=1),
        Rule("s3:PutObject", "slow", probability=0.5, seed=7, seconds=1.0, key="x/*"),
        Rule("B", "lag", seconds=5.0),
    ]


def test_faults_of_jobs_strike_by_name_and_type_and_no_call() -> None:
    faults = Faults("job:a-*=out-of-memory:count=1,seconds=2,type=ml.m5.*;job:*=restore-failed", STRIKABLE)
    assert faults.quiet
    assert faults.strike("job:a-1") == []
    assert faults.strike_job("out-of-memory", "b-1", "ml.m5.large") is None
    assert faults.strike_job("out-of-memory", "a-1", "ml.r5.large") is None
    struck = faults.strike_job("out-of-memory", "a-1", "ml.m5.large")
    assert struck is not None and struck.seconds == 2
    assert faults.strike_job("out-of-memory", "a-1", "ml.m5.large") is None
    restore = faults.job_state("restore-failed", "b-1")
    assert restore is not None and restore.megabytes == 100_000
    assert faults.job_state("max-wait-late", "b-1") is None


@given(st.integers(), st.floats(0, 1))
def test_a_seed_repeats_itself(seed: int, probability: float) -> None:
    def draw() -> list[bool]:
        faults = Faults(f"X=throttle:p={probability!r},seed={seed}")
        return [bool(faults.strike("X")) for _ in range(50)]

    assert draw() == draw()


@given(st.text(max_size=30))
def test_any_text_is_a_plan_or_a_value_error(text: str) -> None:
    try:
        parse_faults(text)
    except ValueError as error:
        assert "faults" in str(error)
