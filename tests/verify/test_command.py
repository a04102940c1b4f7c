"""``verify-aws`` on Local SageMaker: what it tells, asks, reports and leaves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from airflow_spot.cli.main import main
from airflow_spot.local import LocalSageMaker
from airflow_spot.verify.scratch import FOLDER, NAME_PREFIX

ACCOUNT = "123456789012"  # of every ARN of Local SageMaker
ROLE = f"arn:aws:iam::{ACCOUNT}:role/canary-path/canary-role"


def command(bucket: str, *options: str) -> list[str]:
    return ["verify-aws", "--role", ROLE, "--bucket", bucket, *options]


def only(*ids: str) -> list[str]:
    return [word for each in ids for word in ("--only", each)]


def left_behind(local: LocalSageMaker, bucket: str) -> list[str]:
    found = local.client("s3").list_objects_v2(Bucket=bucket, Prefix=FOLDER).get("Contents", [])
    return [item["Key"] for item in found]


def live(local: LocalSageMaker) -> list[str]:
    lines = local.client("sagemaker").list_training_jobs(NameContains=NAME_PREFIX, MaxResults=100)
    jobs = lines["TrainingJobSummaries"]
    return [
        job["TrainingJobName"] for job in jobs if job["TrainingJobStatus"] not in ("Completed", "Failed", "Stopped")
    ]


def test_a_few_experiments(
    local: LocalSageMaker, bucket: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "report.json"
    chosen = only("describe-unknown", "name-twice", "tags-added", "max-wait-below-run")
    assert main(command(bucket, "--yes", "--report", str(report), *chosen)) == 0
    out = capsys.readouterr().out
    assert "4 as assumed, 0 differ, 0 not reached" in out
    assert out.index("cost at most 0.00 USD") < out.index("identity begins")  # the price first
    assert "name-twice: as assumed" in out.split("experiment  ")[0]  # told as it runs
    assert left_behind(local, bucket) == [] and live(local) == []
    made = json.loads(report.read_text())
    assert made["service"] == "Local SageMaker" and made["complete"] and made["counts"]["as assumed"] == 4
    assert {"airflow_spot", "boto3", "botocore", "region", "date", "instance_type"} <= set(made)
    (name, *_) = [line["job"] for line in local.audit if "-identity-" in line.get("job", "")][::-1]
    sagemaker = local.client("sagemaker")
    job = sagemaker.describe_training_job(TrainingJobName=name)
    assert job["StoppingCondition"]["MaxRuntimeInSeconds"] <= 600
    tags = {tag["Key"]: tag["Value"] for tag in sagemaker.list_tags(ResourceArn=job["TrainingJobArn"])["Tags"]}
    assert tags["airflow-spot-verify"] in name
    (twice,) = [each for each in made["experiments"] if each["id"] == "name-twice"]
    assert twice["assumed"] == {"second_create_code": "is 'ResourceInUse'"}
    assert twice["seen"]["second_create_code"] == "ResourceInUse"
    assert "<arn>" in twice["seen"]["second_create_message"]
    told = json.dumps(made)
    for canary in ("canary", bucket, ACCOUNT, "arn:aws", "s3://", NAME_PREFIX):
        assert canary not in told


def test_without_quota_it_is_not_reached(
    local: LocalSageMaker, bucket: str, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--yes", "--instance-type", "ml.p3.2xlarge", *only("stop-waiting", "interruption")]
    assert main(command(bucket, *options)) == 2  # nothing at all was reached
    out = capsys.readouterr().out
    assert "0 as assumed, 0 differ, 2 not reached" in out
    assert "not reached: The account-level service limit 'ml.p3.2xlarge for spot training job usage' is 0" in out


@pytest.mark.local_sagemaker(isolation="relocate", grace_seconds=2)
def test_where_paths_are_relocated_the_working_directory_is_not_reached(
    local_sagemaker: LocalSageMaker, capsys: pytest.CaptureFixture[str]
) -> None:
    local_sagemaker.client("s3").create_bucket(Bucket="relocated")
    assert main(command("relocated", "--yes", *only("working-directory", "training-time"))) == 0
    out = capsys.readouterr().out
    assert "1 as assumed, 0 differ, 1 not reached" in out
    assert "working-directory: not reached: this Local SageMaker gives its jobs no /opt/ml of their own" in out


@pytest.mark.parametrize("role", ["Training", "team,secret-canary"])
def test_a_role_of_any_name_leaves_the_report_readable(
    local: LocalSageMaker, bucket: str, tmp_path: Path, role: str
) -> None:
    report = tmp_path / "report.json"
    arn = f"arn:aws:iam::{ACCOUNT}:role/{role}"
    options = ["--yes", "--report", str(report), *only("completed", "working-directory", "name-twice")]
    assert main(["verify-aws", "--role", arn, "--bucket", bucket, *options]) == 0
    made = {each["id"]: each["seen"] for each in json.loads(report.read_text())["experiments"]}
    assert {"Starting", "Downloading", "Training", "Completed"} <= set(made["completed"]["statuses"])
    assert {"RoleArn", "TrainingJobName", "ModelArtifacts"} <= set(made["completed"]["described_members"])
    assert made["working-directory"] == {"working_directory": "/opt/ml/code"}
    assert "secret" not in report.read_text() and bucket not in report.read_text()


def test_it_stops_at_the_maximum_cost(local: LocalSageMaker, bucket: str, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--yes", "--price-per-hour", "100", "--max-cost", "1", *only("describe-unknown", "stop-grace")]
    before = len(local.audit)
    assert main(command(bucket, *options)) == 0
    out = capsys.readouterr().out
    assert "stop-grace: not reached: its ceiling would exceed --max-cost" in out and "left out" in out
    assert "1 of 2 setups run, and cost at most 0.00 USD" in out
    assert not [line for line in local.audit[before:] if line.get("operation") == "CreateTrainingJob"]


@pytest.mark.slow  # a list is late only if it is late by ten seconds
def test_what_differs_is_told(
    local: LocalSageMaker, bucket: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a service that answers otherwise: its list is late."""
    report = tmp_path / "report.json"
    local.set_faults("ListTrainingJobs=lag:seconds=12")
    try:
        code = main(command(bucket, "--yes", "--report", str(report), *only("list-lag", "name-twice")))
    finally:
        local.set_faults("")
    assert code == 1
    assert "list-lag: differs: list_lag_seconds is" in capsys.readouterr().out
    made = {each["id"]: each for each in json.loads(report.read_text())["experiments"]}
    assert made["list-lag"]["verdict"] == "differs" and made["name-twice"]["verdict"] == "as assumed"


def test_it_asks_first(local: LocalSageMaker, bucket: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = len(local.audit)
    assert main(command(bucket, *only("name-twice"))) == 2
    told = capsys.readouterr()
    assert "stdin is not a terminal" in told.err and "at most" in told.out
    assert not [line for line in local.audit[before:] if line.get("operation") == "CreateTrainingJob"]
    assert left_behind(local, bucket) == []


def test_a_wrong_option_creates_nothing(local: LocalSageMaker, bucket: str, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = {
        ("--role", "canary-role"): "give the role's ARN",
        ("--bucket", "s3://bucket"): "give a bucket's name",
        ("--only", "nonsense"): "no experiment nonsense",
        ("--max-cost", "-1"): "give an amount in USD",
        ("--max-cost", "nan"): "give an amount in USD",
        ("--price-per-hour", "much"): "give an amount in USD",
        ("--parallel", "0"): "give at least 1",
        ("--interruption-wait", "2h"): "give 1m to 1h",
        ("--report", "/nowhere/report.json"): "No such file",
    }
    before = len(local.audit)
    for options, said in wrong.items():
        assert main(command(bucket, "--yes", *options)) == 2
        assert said in capsys.readouterr().err
    assert len(local.audit) == before


@pytest.mark.parametrize(
    ("region", "instance_type", "said"),
    [
        ("eu-central-1", "ml.m5.large", "--price-per-hour: what an hour of ml.m5.large costs"),
        ("us-east-1", "ml.p4d.24xlarge", "--price-per-hour"),
        ("us-gov-west-1", "ml.m5.large", "--image: none of AWS's is known"),
    ],
)
def test_on_aws_what_is_not_known_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], region: str, instance_type: str, said: str
) -> None:
    """No call is made: there is nobody to answer it."""
    for name, value in {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    options = ["--yes", "--region", region, "--instance-type", instance_type]
    assert main(command("bucket", *options)) == 2
    assert said in capsys.readouterr().err


def test_a_bucket_that_is_not_there_is_told_before_any_job(
    local: LocalSageMaker, bucket: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = len(local.audit)
    assert main(command(f"{bucket}-x", "--yes", *only("name-twice"))) == 2
    assert "NoSuchBucket" in capsys.readouterr().err
    assert not [line for line in local.audit[before:] if line.get("operation") == "CreateTrainingJob"]
