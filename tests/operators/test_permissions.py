"""What a task really calls is allowed by the policies of `airflow-spot iam`, and what they require is called."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.client import BaseClient

from airflow_spot.cli.main import main
from airflow_spot.core.iam.permissions import DEFAULT_FEATURES, FEATURES, NEEDS, Who
from airflow_spot.core.iam.policy_documents import Names, policy
from airflow_spot.errors import SpotTrainingError
from airflow_spot.local import LocalSageMaker
from tests.support import task as tasks
from tests.support.policies import allows
from tests.support.requests import ROLE, stock_config
from tests.support.service import Task
from tests.support.task import TaskInstance, run_task

ACCOUNT, REGION = "123456789012", "us-east-1"


class Calls:
    """The calls of boto3 in this process, each with who makes it."""

    def __init__(self) -> None:
        self.who = Who.WORKER
        self.made: list[tuple[Who, str, dict[str, Any]]] = []

    def of(self, who: Who) -> set[str]:
        return {call for by, call, _ in self.made if by is who}


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, bucket: str) -> Iterator[Calls]:
    # After the bucket: what a test does for itself is nobody's call.
    calls, send, fire = Calls(), BaseClient._make_api_call, tasks.fire

    def recorded(client: Any, operation: str, given: dict[str, Any]) -> Any:
        calls.made.append((calls.who, f"{client.meta.service_model.service_name}:{operation}", given))
        return send(client, operation, given)

    def in_triggerer(*args: Any) -> Any:
        calls.who = Who.TRIGGERER
        try:
            return fire(*args)
        finally:
            calls.who = Who.WORKER

    with monkeypatch.context() as patched:
        patched.setattr(BaseClient, "_make_api_call", recorded)
        patched.setattr(tasks, "fire", in_triggerer)
        yield calls


def resources(call: str, given: dict[str, Any]) -> dict[str, str]:
    """What a call is about, as ARNs, by the kind of place in the table."""
    own = f"{REGION}:{ACCOUNT}"
    if call.startswith("s3:"):
        bucket = f"arn:aws:s3:::{given['Bucket']}"
        return {"bucket": bucket, **({"objects": f"{bucket}/{given['Key']}"} if "Key" in given else {})}
    if call.startswith("logs:"):
        stream = f":log-stream:{given['logStreamName']}" if "logStreamName" in given else ":log-stream:"
        return {"log": f"arn:aws:logs:{own}:log-group:{given['logGroupName']}{stream}"}
    if "ResourceArn" in given:
        return {"jobs": given["ResourceArn"], "any": given["ResourceArn"]}
    if "TrainingJobName" in given:
        job = f"arn:aws:sagemaker:{own}:training-job/{given['TrainingJobName']}"
        return {"jobs": job, "any": job, "role": given.get("RoleArn", "")}
    return {"*": "*"}


def refused(
    document: dict[str, Any],
    who: Who,
    call: str,
    given: dict[str, Any],
    features: Collection[str] = DEFAULT_FEATURES,
) -> list[str]:
    """What a policy does not allow of what a call needs."""
    about, missing = resources(call, given), []
    rows = [need for need in NEEDS if need.call == call and who in need.who and need.feature in features]
    for action, kind in {(action, need.places[0].split()[0]) for need in rows for action in need.actions}:
        if kind in about and not allows(document, action, about[kind]):
            missing.append(f"{action} on {about[kind]}")
    return missing if rows else [f"{call} is not in the table"]


def unmet(calls: Calls, names: Names, features: Collection[str]) -> dict[str, list[str]]:
    """What of all calls the policies do not allow."""
    documents = {who: policy(who, features, names) for who in Who}
    return {
        f"{who.value} {call}": lacking
        for who, call, given in calls.made
        if (lacking := refused(documents[who], who, call, given, features))
    }


@pytest.mark.parametrize(
    "deferrable", [pytest.param(False, marks=pytest.mark.slow, id="sync"), pytest.param(True, id="deferrable")]
)
def test_the_policies_allow_what_a_task_calls_and_ask_for_no_more(
    local: LocalSageMaker, bucket: str, calls: Calls, deferrable: bool
) -> None:
    local.client("s3").put_object(Bucket=bucket, Key="data/part-1", Body=b"x")
    begun = len(local.audit)
    config = stock_config(bucket, steps=4, seconds=0.05)
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{bucket}/data/"}}
    config["InputDataConfig"] = [{"ChannelName": "train", "DataSource": source}]
    task = Task(bucket, deferrable)
    calls.made.clear()
    run_task(task.operator(config, print_log=True), TaskInstance("train", run_id=f"manual__{uuid.uuid4()}"))
    ti = TaskInstance("train", run_id=f"manual__{uuid.uuid4()}")
    run_task(task.operator(steps=6000, seconds=0.1, wait_for_completion=False), ti)
    with pytest.raises(SpotTrainingError):  # out of time: its job is stopped
        run_task(task.operator(steps=6000, seconds=0.1, max_ingestion_time=4), ti.retried())
    names = Names(ACCOUNT, REGION, ROLE, f"s3://{bucket}/output", (f"s3://{bucket}/data",))
    documents = {who: policy(who, DEFAULT_FEATURES, names) for who in (Who.WORKER, Who.TRIGGERER)}
    assert not unmet(calls, names, DEFAULT_FEATURES)
    by = {who: calls.of(who) for who in documents}
    assert bool(by[Who.TRIGGERER]) is deferrable
    # What SageMaker's own audit log has is what was recorded: nobody called past it.
    audited = {f"sagemaker:{line['operation']}" for line in local.audit[begun:] if line["event"] == "call"}
    assert {call for made in by.values() for call in made if call.startswith("sagemaker:")} == audited
    required = {need.call for need in NEEDS if need.feature == "core" and need.required and need.call}
    assert required <= by[Who.WORKER] | by[Who.TRIGGERER]
    for feature in ("checkpoints", "data", "logs"):
        assert {need.call for need in NEEDS if need.feature == feature} & by[Who.WORKER], feature


def test_it_would_notice_a_call_that_the_policy_does_not_allow() -> None:
    document = policy(Who.WORKER, DEFAULT_FEATURES, Names(ACCOUNT, REGION, ROLE, "s3://b/out"))
    foreign = {"Bucket": "b", "Key": "elsewhere/part-1", "Body": b""}
    assert refused(document, Who.WORKER, "s3:PutObject", foreign) == ["s3:PutObject on arn:aws:s3:::b/elsewhere/part-1"]
    assert not refused(document, Who.WORKER, "s3:PutObject", {**foreign, "Key": "out/checkpoints/x"})
    job = {"TrainingJobName": "x-afspot-abcdefghij-1-1", "RoleArn": "arn:aws:iam::123456789012:role/another"}
    assert refused(document, Who.WORKER, "sagemaker:CreateTrainingJob", job) == [
        "iam:PassRole on arn:aws:iam::123456789012:role/another"
    ]
    assert refused(document, Who.WORKER, "sagemaker:DeleteTrainingJob", job) == [
        "sagemaker:DeleteTrainingJob is not in the table"
    ]


@pytest.mark.slow
def test_the_policies_of_options_and_commands_allow_what_they_call(
    local: LocalSageMaker, bucket: str, calls: Calls, tmp_path: Path
) -> None:
    task = Task(bucket, deferrable=False)
    first = run_task(task.operator(), TaskInstance("train", run_id=f"manual__{uuid.uuid4()}"))
    time.sleep(2)  # its checkpoints are older than checkpoint_retention, by S3's whole seconds too
    calls.made.clear()
    second = run_task(
        task.operator(
            resume_from=first["Training"]["TrainingJobName"],
            model_s3_uri=f"s3://{bucket}/models/",
            checkpoint_retention=1,
            steps=8,
        ),
        TaskInstance("train", run_id=f"manual__{uuid.uuid4()}"),
    )
    names = Names(ACCOUNT, REGION, ROLE, f"s3://{bucket}/output", model=f"s3://{bucket}/models")
    features = (*DEFAULT_FEATURES, "resume-from", "model-copy", "retention")
    assert not unmet(calls, names, features)
    # What resume_from calls in its own checkpoints, a task may do there anyway.
    made = calls.of(Who.WORKER)
    assert {"s3:CopyObject", "s3:DeleteObjects", "s3:UploadPartCopy"} <= made
    for without in ("model-copy", "retention"):
        assert unmet(calls, names, [each for each in features if each != without]), without
    third = run_task(task.operator(), TaskInstance("train", run_id=f"manual__{uuid.uuid4()}"))
    calls.made.clear()
    calls.who = Who.COMMANDS
    config = stock_config(bucket)
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert main(["history", "--since", "1d"]) == 0
    assert main(["history", "--job", second["Training"]["TrainingJobName"]]) == 0
    assert main(["check", str(tmp_path / "config.json")]) == 0
    assert main(["checkpoints", "set-aside", third["Spot"]["checkpoint_s3_uri"]]) == 0
    base = f"s3://{bucket}/output/checkpoints"
    # Once what is left has not changed for a second.
    while "s3:DeleteObjects" not in calls.of(Who.COMMANDS):
        assert main(["gc", "--base", base, "--older-than", "1s", "--delete"]) == 0
        time.sleep(0.2)
    assert main(["stop", "--job", second["Training"]["TrainingJobName"]]) in (0, 1)
    assert calls.of(Who.COMMANDS) >= {"s3:DeleteObjects", "iam:GetRole", "sagemaker:ListTrainingJobs"}
    assert not unmet(calls, names, tuple(FEATURES))
