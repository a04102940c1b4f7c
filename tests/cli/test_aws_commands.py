"""``history``, ``stop`` and ``gc`` against a Local SageMaker."""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from airflow_spot.aws.checkpoint_store import write_marker
from airflow_spot.cli import stop
from airflow_spot.cli.main import main
from airflow_spot.core.attempt import Attempt
from airflow_spot.core.identity import RunIdentity, checkpoint_prefix
from airflow_spot.core.marks import TAG_STOP
from airflow_spot.core.outcomes import Outcome
from airflow_spot.core.run_marker import MARKER_NAME
from airflow_spot.hooks.training import SageMakerSpotTrainingHook
from airflow_spot.local import LocalSageMaker
from tests.local.jobs import BUCKET, COUNTER, Jobs
from tests.support.ours import BASE, start_ours
from tests.support.sagemaker import DictionarySageMaker


@pytest.fixture
def jobs(local: LocalSageMaker, bucket: str) -> Jobs:
    return Jobs(local)


@pytest.fixture
def run() -> RunIdentity:
    return RunIdentity("ns", "a dag é", f"manual__{uuid.uuid4()}", "train", 3)


def test_a_runs_history_of_all_generations(jobs: Jobs, run: RunIdentity, capsys: pytest.CaptureFixture[str]) -> None:
    first = start_ours(jobs, run, script=COUNTER.replace("STEPS", "3"))
    jobs.end(first)
    second = start_ours(jobs, run, generation=2)
    named = ["--dag", run.dag_id, "--run-id", run.run_id, "--task", run.task_id, "--map-index", "3"]
    for choice in (["--job", first], ["--run-key", run.key], [*named, "--namespace", "ns"]):
        assert main(["history", *choice, "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert [
            (each["generation"], one["job_name"], one["outcome"], len(one["starts"]))
            for each in told["generations"]
            for one in each["attempts"]
        ] == [(1, first, "completed", 1), (2, second, "in_progress", 1)]
        assert (told["dag_id"], told["run_id"], told["map_index"]) == (run.dag_id, run.run_id, 3)
        truth = jobs.describe(first)
        assert told["generations"][0]["totals"]["billable_seconds"] == truth["BillableTimeInSeconds"]
    assert main(["history", "--job", second, "--verbose"]) == 0
    text = capsys.readouterr().out
    assert f"a dag é / {run.run_id} / train [3]" in text
    assert "g1 attempt 1" in text and "g2 attempt 1" in text and "attempt 1: Completed" in text
    assert "start 1: asked for instances" in text
    assert "swordfish" not in text
    assert main(["history", "--since", "1h"]) == 0
    assert any(run.key in line and second in line for line in capsys.readouterr().out.splitlines())
    # The recent runs, each of them whole.
    assert main(["history", "--since", "1h", "--verbose"]) == 0
    whole = capsys.readouterr().out
    assert f"a dag é / {run.run_id} / train [3]   run key {run.key}\n" in whole
    assert first in whole and second in whole and "    attempt 1: Completed" in whole
    assert main(["history", "--since", "1h", "--verbose", "--json"]) == 0
    (ours,) = (each for each in json.loads(capsys.readouterr().out) if each["run_key"] == run.key)
    assert set(ours["transitions"]) == {first, second} and len(ours["generations"]) == 2


def test_a_runs_history_in_money(
    jobs: Jobs, run: RunIdentity, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    job = start_ours(jobs, run, script=COUNTER.replace("STEPS", "3"))
    jobs.end(job)

    def cost(*options: str) -> dict[str, str] | None:
        assert main(["history", "--job", job, "--json", *options]) == 0
        said: dict[str, str] | None = json.loads(capsys.readouterr().out)["generations"][0]["totals"]["cost"]
        return said

    assert cost() is None
    awss = cost("--aws-prices")
    assert awss is not None and awss["currency"] == "USD"
    table = tmp_path / "prices.json"
    table.write_text(
        json.dumps({"currency": "EUR", "hourly": {jobs.describe(job)["ResourceConfig"]["InstanceType"]: 9}})
    )
    own = cost("--aws-prices", "--prices", str(table))
    assert own is not None and own["currency"] == "EUR"


def test_a_refusal_of_prices_is_told_once_for_all_runs(
    local: LocalSageMaker,
    jobs: Jobs,
    run: RunIdentity,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    other = replace(run, task_id="other")
    for each in (run, other):
        start_ours(jobs, each, script=COUNTER.replace("STEPS", "3"))
    local.set_faults("pricing:GetProducts=denied")
    try:
        assert main(["history", "--since", "1h", "--verbose", "--aws-prices"]) == 0
    finally:
        local.set_faults("")
    told = capsys.readouterr()
    assert run.key in told.out and other.key in told.out
    assert told.err.count("needs pricing:GetProducts") == 1


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--job", "not-ours"], 2, "--job not-ours"),
        (["--run-key", "short"], 2, "--run-key short"),
        (["--dag", "d"], 2, "--run-id and --task missing"),
        (["--job", "x-afspot-aaaaaaaaaa-1-1", "--dag", "d"], 2, "--job and --dag are mutually exclusive"),
        (["--since", "soon"], 2, "--since"),
        (["--run-key", "aaaaaaaaaa"], 1, "no training jobs"),
    ],
)
def test_what_is_wrong_is_said(
    bucket: str, options: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["history", *options]) == code
    told = capsys.readouterr()
    assert said in told.out + told.err


@pytest.mark.parametrize(
    ("options", "outcome"),
    [
        ([], Outcome.STOPPED_EXTERNALLY),
        (["--restart"], Outcome.STOPPED_BY_OPERATOR),
        (["--on-demand"], Outcome.MOVED),
    ],
)
def test_a_stop_reads_as_what_was_meant(
    jobs: Jobs, run: RunIdentity, options: list[str], outcome: Outcome, capsys: pytest.CaptureFixture[str]
) -> None:
    name = start_ours(jobs, run)
    jobs.reach(name, "Training")
    arn = jobs.describe(name)["TrainingJobArn"]
    # Of an earlier stop that never came: it must not speak for this one.
    jobs.sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": TAG_STOP, "Value": "killed 1"}])
    assert main(["stop", "--run-key", run.key, *options]) == 0
    told = capsys.readouterr().out
    assert checkpoint_prefix(BASE, run, 1) in told
    attempt = SageMakerSpotTrainingHook(aws_conn_id="aws_default").attempt(name)
    assert attempt is not None and attempt.outcome is outcome
    assert (attempt.request is not None) is ("--on-demand" in options)
    assert main(["stop", "--job", name]) == 1
    assert "nothing to stop" in capsys.readouterr().out


def test_a_marked_stop_is_marked_before_it_is_asked_for(jobs: Jobs, run: RunIdentity) -> None:
    name = start_ours(jobs, run)
    assert main(["stop", "--job", name, "--restart", "--no-wait"]) == 0
    calls = [line["operation"] for line in jobs.sm.audit if line["event"] == "call"]
    assert [one for one in calls if one in ("AddTags", "StopTrainingJob")][-2:] == ["AddTags", "StopTrainingJob"]


def test_stop_needs_a_run(bucket: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stop"]) == 2
    assert "specify a run with --job" in capsys.readouterr().err


def test_gc_lists_first_and_deletes_when_told(jobs: Jobs, capsys: pytest.CaptureFixture[str]) -> None:
    base = f"s3://{BUCKET}/{uuid.uuid4().hex}"
    dead, live = (RunIdentity("ns", "d", uuid.uuid4().hex, "t") for _ in range(2))
    folders = [checkpoint_prefix(base, one, 1) for one in (dead, live)]
    for uri in folders:
        jobs.put(f"{uri.removeprefix(f's3://{BUCKET}/')}/x", "12345")
    for uri, one in zip(folders, (dead, live), strict=True):
        write_marker(jobs.sm.client("s3"), uri.rpartition("/")[0], one)
    start_ours(jobs, live, CheckpointConfig={"S3Uri": folders[1]})
    time.sleep(2.1)
    command = ["gc", "--base", base, "--older-than", "2s"]
    assert main(command) == 0
    told = capsys.readouterr().out
    assert folders[0] in told and folders[1] not in told
    assert "1 of 2 folders would be deleted, 5 B" in told
    assert main([*command, "--keep-newest", "2", "--delete"]) == 0
    assert len(jobs.keys(base.removeprefix(f"s3://{BUCKET}/"))) == 4
    capsys.readouterr()
    assert main([*command, "--delete", "--json"]) == 0
    (old,) = json.loads(capsys.readouterr().out)["old"]
    assert (old["uri"], old["deleted"]) == (folders[0], True)
    kept = folders[1].removeprefix(f"s3://{BUCKET}/")
    assert set(jobs.keys(base.removeprefix(f"s3://{BUCKET}/"))) == {
        f"{kept}/x",
        f"{kept.rpartition('/')[0]}/{MARKER_NAME}",
    }


def test_the_lifecycle_rule_is_one_that_s3_takes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["gc", "--base", "s3://bucket/checkpoints/", "--older-than", "30d", "--lifecycle"]) == 0
    configuration: Any = json.loads(capsys.readouterr().out)
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    with mock_aws():
        s3 = boto3.client("s3", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
        s3.create_bucket(Bucket="bucket")
        s3.put_bucket_lifecycle_configuration(Bucket="bucket", LifecycleConfiguration=configuration)
        (rule,) = s3.get_bucket_lifecycle_configuration(Bucket="bucket")["Rules"]
    assert rule["Filter"] == {"Prefix": "checkpoints/"}
    assert rule["Expiration"] == {"Days": 30}
    assert rule["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 7}


def test_no_rule_for_a_whole_bucket(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gc", "--base", "s3://bucket", "--older-than", "30d", "--lifecycle"]) == 2
    assert "--base s3://bucket" in capsys.readouterr().err


@pytest.mark.parametrize(("restart", "says"), [(True, "starts the next attempt"), (False, "clear it to continue")])
def test_a_stop_promises_no_checkpoint_of_a_job_that_keeps_its_own(
    restart: bool, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    service = DictionarySageMaker()
    name = f"train-afspot-{'a' * 10}-1-1"
    for kept in ({}, {"CheckpointConfig": {"S3Uri": "s3://bucket/c"}}):
        service.put(name, **kept)
        stop._stop_job(service, Attempt.from_description(service.jobs[name], {}), restart=restart)
        told = capsys.readouterr().out.rstrip()
        assert told.endswith(says) == (not kept)
        assert ("from the checkpoint" in told) == bool(kept)
