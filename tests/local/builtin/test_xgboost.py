"""Jobs and endpoints of AWS's XGBoost image, without a script."""

from __future__ import annotations

import contextlib
import json
import pickle
import re
import sys
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from airflow_spot.local import LocalSageMaker
from tests.local.hosting.test_endpoints import archive
from tests.local.jobs import BUCKET, ROLE, Jobs, statuses, until
from tests.support.lazily import Lazily

xgboost = Lazily("xgboost")

IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1"
OLD_IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.2-2"
ROWS = [(x, y, 3 * x - y) for x in range(8) for y in range(8)]
CSV = "".join(f"{label},{x},{y}\n" for x, y, label in ROWS)
LIBSVM = "".join(f"{label} 0:{x} 1:{y}\n" for x, y, label in ROWS)
LINE = re.compile(r"\[(\d+)\]#011train-rmse:([\d.]+)#011validation-rmse:([\d.]+)")


def channel(jobs: Jobs, name: str, text: str | bytes, content_type: str | None = "text/csv") -> dict[str, Any]:
    uri = jobs.put(f"{uuid.uuid4().hex}/{name}/part-0", text if isinstance(text, bytes) else text.encode())
    source = {"S3DataType": "S3Prefix", "S3Uri": uri, "S3DataDistributionType": "FullyReplicated"}
    made: dict[str, Any] = {"ChannelName": name, "DataSource": {"S3DataSource": source}}
    return made if content_type is None else {**made, "ContentType": content_type}


def request(jobs: Jobs, image: str, channels: list[dict[str, Any]], **hyperparameters: Any) -> dict[str, Any]:
    made = jobs.request(
        AlgorithmSpecification={"TrainingImage": image, "TrainingInputMode": "File"},
        InputDataConfig=channels,
        HyperParameters={
            "objective": "reg:squarederror",
            "nthread": "1",  # on a busy machine, threads wait for each other
            **{key: str(value) for key, value in hyperparameters.items()},
        },
    )
    made["HyperParameters"] = {key: str(value) for key, value in made["HyperParameters"].items()}
    return made


def train(jobs: Jobs, image: str, channels: list[dict[str, Any]], **hyperparameters: Any) -> dict[str, Any]:
    made = request(jobs, image, channels, **hyperparameters)
    jobs.sagemaker.create_training_job(**made)
    return jobs.end(made["TrainingJobName"])


def rounds(jobs: Jobs, name: str) -> list[list[int]]:
    """The rounds that each start's log has."""
    return [[int(match[1]) for match in map(LINE.match, stream) if match] for stream in jobs.output(name)]


@pytest.fixture(scope="module")
def trained(jobs: Jobs) -> dict[str, Any]:
    """A job on CSV with a validation channel."""
    channels = [channel(jobs, "train", CSV), channel(jobs, "validation", CSV)]
    return train(jobs, IMAGE, channels, num_round=12, eta=0.5, max_depth=3, eval_metric="rmse")


def test_a_job_prints_and_keeps_what_aws_has(jobs: Jobs, trained: dict[str, Any]) -> None:
    name = trained["TrainingJobName"]
    assert trained["TrainingJobStatus"] == "Completed"
    assert rounds(jobs, name) == [list(range(12))]
    last = LINE.match(next(line for line in jobs.output(name)[0] if line.startswith("[11]")))
    assert last
    final = {metric["MetricName"]: metric["Value"] for metric in trained["FinalMetricDataList"]}
    assert final == {"train:rmse": float(last[2]), "validation:rmse": float(last[3])}
    defined = {metric["Name"] for metric in trained["AlgorithmSpecification"]["MetricDefinitions"]}
    assert {"train:auc", "validation:rmse"} <= defined
    booster = xgboost.Booster()
    booster.load_model(bytearray(jobs.model(name)["xgboost-model"]))
    assert booster.num_boosted_rounds() == 12
    kept = jobs.keys(f"checkpoints/{name}/")
    assert [key.rsplit("/", 1)[1] for key in kept] == sorted(f"xgboost-checkpoint.{n}" for n in range(7, 12))


def interrupted(jobs: Jobs, made: dict[str, Any]) -> dict[str, Any]:
    """
    A job that has ended, and was interrupted after a checkpoint, with rounds left.

    A built-in algorithm does not wait for that: one that was faster than this process counts for nothing.
    """
    for _ in range(5):
        name = f"job-{uuid.uuid4().hex[:10]}"
        uri = f"s3://{BUCKET}/checkpoints/{name}"
        jobs.sagemaker.create_training_job(**{**made, "TrainingJobName": name, "CheckpointConfig": {"S3Uri": uri}})
        jobs.wait_for_checkpoint(name)
        with contextlib.suppress(RuntimeError):  # it holds no instances any more
            jobs.sm.interrupt(name)
        job = jobs.end(name)
        if "Interrupted" in statuses(job) and rounds(jobs, name)[-1]:
            return job
    raise AssertionError("none of five jobs was interrupted")


@pytest.mark.slow
def test_a_reclaimed_job_goes_on_from_its_newest_checkpoint(jobs: Jobs) -> None:
    # So many rows that a round takes a while.
    channels = [channel(jobs, "train", 500 * LIBSVM, None), channel(jobs, "validation", LIBSVM, None)]
    job = interrupted(jobs, request(jobs, IMAGE, channels, num_round=250, max_depth=2, eta=0.001))
    assert job["TrainingJobStatus"] == "Completed"
    before, after = rounds(jobs, job["TrainingJobName"])
    assert before[0] == 0 and after == list(range(after[0], 250))
    # The last upload came after the processes' end: no more was trained twice than a round that had its line alone.
    assert after[0] in (before[-1], before[-1] + 1)


def test_a_model_of_an_old_release_is_pickled(jobs: Jobs) -> None:
    job = train(jobs, OLD_IMAGE, [channel(jobs, "train", CSV)], num_round=2)
    assert job["TrainingJobStatus"] == "Completed"
    booster = pickle.loads(jobs.model(job["TrainingJobName"])["xgboost-model"])
    assert isinstance(booster, xgboost.Booster)


def test_early_stopping_and_the_metrics_that_xgboost_has_not(jobs: Jobs) -> None:
    pytest.importorskip("sklearn")
    rows = "".join(f"{x % 2},{x % 2},{x}\n" for x in range(40))
    job = train(
        jobs,
        IMAGE,
        [channel(jobs, "train", rows), channel(jobs, "validation", rows)],
        num_round=200,
        objective="binary:logistic",
        early_stopping_rounds=3,
        eval_metric="logloss,accuracy",
    )
    assert job["TrainingJobStatus"] == "Completed"
    final = {metric["MetricName"]: metric["Value"] for metric in job["FinalMetricDataList"]}
    assert final["validation:accuracy"] == 1
    booster = xgboost.Booster()
    booster.load_model(bytearray(jobs.model(job["TrainingJobName"])["xgboost-model"]))
    assert booster.num_boosted_rounds() == 1  # the first was as good as it gets


def test_the_users_errors(jobs: Jobs) -> None:
    job = train(jobs, IMAGE, [channel(jobs, "train", CSV)], num_round=1, objective="binary:logistic", base_score=0.5)
    assert job["TrainingJobStatus"] == "Failed"
    assert job["FailureReason"].startswith("AlgorithmError: framework error: \nUserError: ")
    assert "label must be in" in job["FailureReason"]
    assert job["FailureReason"].endswith(", exit code: 1")


def test_a_python_without_xgboost_is_told_what_to_install(jobs: Jobs, tmp_path_factory: pytest.TempPathFactory) -> None:
    # The interpreter itself, blind to site-packages.
    bare = tmp_path_factory.mktemp("bare") / "python3"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    bare.chmod(0o755)
    with LocalSageMaker(images={"*sagemaker-xgboost*": str(bare)}) as sm:
        other = Jobs(sm)
        job = train(other, IMAGE, [channel(other, "train", CSV)], num_round=1)
    assert "airflow-spot[xgboost]" in job["FailureReason"]


@pytest.fixture(scope="module")
def endpoint(jobs: Jobs, trained: dict[str, Any]) -> Iterator[str]:
    """The trained model, in service."""
    name = f"xgb-{uuid.uuid4().hex[:8]}"
    deploy(jobs, name, IMAGE, trained["ModelArtifacts"]["S3ModelArtifacts"])
    yield name
    jobs.sagemaker.delete_endpoint(EndpointName=name)


def deploy(jobs: Jobs, name: str, image: str, model: str) -> None:
    jobs.sagemaker.create_model(
        ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer={"Image": image, "ModelDataUrl": model}
    )
    variant = {"VariantName": "v", "ModelName": name, "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    jobs.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
    jobs.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    until(lambda: jobs.sagemaker.describe_endpoint(EndpointName=name)["EndpointStatus"] != "Creating", "it serves")


def invoke(jobs: Jobs, name: str, body: str, content_type: str, accept: str | None = None) -> str:
    runtime = jobs.sm.client("sagemaker-runtime")
    options = {} if accept is None else {"Accept": accept}
    answer = runtime.invoke_endpoint(EndpointName=name, Body=body, ContentType=content_type, **options)
    return str(answer["Body"].read().decode())


def test_predictions(jobs: Jobs, endpoint: str) -> None:
    lines = invoke(jobs, endpoint, "1,2\n7,0", "text/csv")
    values = [float(line) for line in lines.splitlines()]
    assert values == pytest.approx([1, 21], abs=3)
    assert invoke(jobs, endpoint, "0:1 1:2\n0:7 1:0", "text/x-libsvm") == lines
    scores = json.loads(invoke(jobs, endpoint, "1,2\n7,0", "text/csv", "application/json"))["predictions"]
    assert [score["score"] for score in scores] == values


@pytest.mark.parametrize(
    ("body", "content_type", "accept", "status"),
    [
        ("1,2,3,4", "text/csv", None, 400),
        ("1,a", "text/csv", None, 415),
        ("{}", "application/json", None, 415),
        ("1,2", "text/csv", "image/png", 406),
    ],
)
def test_requests_that_have_no_answer(
    jobs: Jobs, endpoint: str, body: str, content_type: str, accept: str | None, status: int
) -> None:
    with pytest.raises(ClientError) as error:
        invoke(jobs, endpoint, body, content_type, accept)
    assert error.value.response["OriginalStatusCode"] == status


def test_a_model_that_cannot_be_loaded(jobs: Jobs) -> None:
    name = f"xgb-{uuid.uuid4().hex[:8]}"
    deploy(jobs, name, OLD_IMAGE, jobs.put(f"{name}/model.tar.gz", archive({"xgboost-model": "no model"})))
    described = jobs.sagemaker.describe_endpoint(EndpointName=name)
    assert described["EndpointStatus"] == "Failed"
    jobs.sagemaker.delete_endpoint(EndpointName=name)
