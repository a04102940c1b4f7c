"""
What is exported of a trainer is what the SDK itself sends: each SDK, unchanged, is asked for both.

The SDK's own request is the job that Local SageMaker was asked for; the export is made by the command, in a process of
the SDK's environment, where Airflow is not.
"""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from airflow_spot.aws import jobs
from airflow_spot.local import LocalSageMaker
from airflow_spot.operators.training import SageMakerSpotTrainingOperator
from bench.environments import NotMade
from tests.sdk.environments import SDK_2, SDK_3
from tests.support.task import TaskInstance, run_task

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
USERS = Path(__file__).parent / "users"
ENVIRONMENTS = {"export_sdk2": SDK_2, "export_sdk3": SDK_3}
TRAINERS = [
    ("export_sdk2", "spot_script"),
    ("export_sdk2", "on_demand_script"),
    ("export_sdk2", "own_class"),
    ("export_sdk2", "built_in"),
    ("export_sdk3", "spot_script"),
    ("export_sdk3", "on_demand_script"),
]
#: What a description has and a request has not.
NOT_SENT = re.compile(r"ResponseMetadata|\w+(Time|Arn|Status|Transitions|Seconds|Reason)|ModelArtifacts|FinalMetric\w+")
#: What SageMaker adds of its own to the description of a job that does not say it.
DEFAULTS = {
    ".EnableNetworkIsolation",
    ".EnableInterContainerTrafficEncryption",
    ".EnableManagedSpotTraining",
    ".AlgorithmSpecification.EnableSageMakerMetricsTimeSeries",
    ".OutputDataConfig.KmsKeyId",
    ".InputDataConfig.CompressionType",
    ".InputDataConfig.RecordWrapperType",
    ".OutputDataConfig.CompressionType",
}
TIME = re.compile(r"-(\d{4}(-\d\d){5}-\d{3}|\d{14})")


@dataclass
class Sdks:
    """Local SageMaker, and what runs the SDKs on it."""

    local: LocalSageMaker
    home: Path
    known: dict[str, tuple[dict[str, Any], str]] = field(default_factory=dict)

    def run(self, users: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        try:
            python = ENVIRONMENTS[users].interpreter(print)
        except NotMade as error:
            pytest.skip(f"no environment: {error}")
        environ = {"PATH": os.environ["PATH"], "HOME": str(self.home), "COLUMNS": "200", **self.local.environ}
        return subprocess.run(
            [python, *arguments],
            check=False,
            env={**environ, "PYTHONPATH": str(ROOT)},
            cwd=USERS,
            capture_output=True,
            text=True,
            timeout=300,
        )

    def spot(self, users: str) -> tuple[dict[str, Any], str]:
        """Return the export of the trainer on spot, made once."""
        if users not in self.known:
            self.known[users] = self.exported(users, "spot_script")
        return copy.deepcopy(self.known[users])

    def exported(self, users: str, name: str, *inputs: str) -> tuple[dict[str, Any], str]:
        """Return the config, and what was told."""
        done = self.run(
            users, "-m", "airflow_spot.cli.main", "export", f"{users}.py:{name}", "--inputs", *(inputs or (":INPUTS",))
        )
        assert done.returncode == 0, done.stderr[-3000:]
        config: dict[str, Any] = json.loads(done.stdout)
        return config, done.stderr

    def asked(self, users: str, name: str) -> dict[str, Any]:
        """Return what the SDK itself asks SageMaker for."""
        client = self.local.client("sagemaker")
        before = self.names()
        done = self.run(users, f"{users}.py", name)
        assert done.returncode == 0, done.stderr[-3000:]
        (job,) = self.names() - before
        jobs.stop(client, job)
        described = client.describe_training_job(TrainingJobName=job)
        arn = described["TrainingJobArn"]
        tags = [tag for tag in client.list_tags(ResourceArn=arn)["Tags"] if not tag["Key"].startswith("aws:")]
        sent = {key: value for key, value in described.items() if key == "RoleArn" or not NOT_SENT.fullmatch(key)}
        return {**sent, **({"Tags": tags} if tags else {})}

    def names(self) -> set[str]:
        """Name the jobs that there are."""
        found = self.local.client("sagemaker").list_training_jobs(MaxResults=100)
        return {job["TrainingJobName"] for job in found["TrainingJobSummaries"]}


@pytest.fixture(scope="module")
def sdks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sdks]:
    with LocalSageMaker(grace_seconds=1, checkpoint_seconds=0.2) as local:
        s3 = local.client("s3")
        s3.create_bucket(Bucket="bucket")
        s3.put_object(Bucket="bucket", Key="data/rows.csv", Body=b"1,2\n3,4\n")
        yield Sdks(local, tmp_path_factory.mktemp("home"))


def without_times(value: Any) -> Any:
    """Return a request with one word for each time, and the same for the hash that the export has in its place."""
    text = TIME.sub("-TIME", json.dumps(value, sort_keys=True, default=str))
    text = re.sub(r"([\w-]+)/code/[0-9a-f]{16}", r"\1-TIME", text)
    return json.loads(re.sub(r"([\w-]+)/\1-TIME", r"\1-TIME", text))


def added(config: Any, sent: Any, path: str = "") -> set[str]:
    """Return the fields of a job that its config has not; the others are to be the same."""
    if not isinstance(config, dict):
        if not isinstance(config, list) or len(config) != len(sent):
            assert config == sent, path
            return set()
        return set().union(*(added(one, two, path) for one, two in zip(config, sent, strict=True)))
    assert set(config) <= set(sent), path
    inner = [added(value, sent[name], f"{path}.{name}") for name, value in config.items()]
    return {f"{path}.{name}" for name in set(sent) - set(config)}.union(*inner)


@pytest.mark.parametrize(("users", "name"), TRAINERS)
def test_the_export_is_what_the_sdk_sends(sdks: Sdks, users: str, name: str) -> None:
    config, told = sdks.spot(users) if name == "spot_script" else sdks.exported(users, name)
    sent = sdks.asked(users, name)
    if users == "export_sdk2" and name != "built_in":
        assert sent["HyperParameters"].pop("sagemaker_job_name")
        assert "HyperParameters.sagemaker_job_name: left out" in told
    base = TIME.sub("", sent.pop("TrainingJobName"))
    assert config.pop("TrainingJobName") == base
    assert f"TrainingJobName: {base}, without the time" in told
    # Of a built-in algorithm, SageMaker's description names the metrics that it brings.
    brought = {".AlgorithmSpecification.MetricDefinitions"} if name == "built_in" else set()
    assert added(without_times(config), without_times(sent)) <= DEFAULTS | brought
    assert not TIME.search(json.dumps(config))


@pytest.mark.parametrize("users", ENVIRONMENTS)
def test_spot_is_carried_over_and_two_exports_are_one(sdks: Sdks, users: str) -> None:
    config, _ = sdks.spot(users)
    assert config["EnableManagedSpotTraining"] is True
    assert config["StoppingCondition"] == {"MaxRuntimeInSeconds": 600, "MaxWaitTimeInSeconds": 1200}
    assert config["CheckpointConfig"]["S3Uri"] == "s3://bucket/checkpoints"
    before = sdks.names()
    again, _ = sdks.exported(users, "spot_script", "train=s3://bucket/data", "validation=s3://bucket/data")
    for each in (config, again):
        for channel in each["InputDataConfig"]:
            channel.pop("ContentType", None)
    assert again == config
    assert sdks.names() == before  # no job is made


def test_the_code_is_where_the_config_says(sdks: Sdks) -> None:
    config, _ = sdks.spot("export_sdk2")
    uri = json.loads(config["HyperParameters"]["sagemaker_submit_directory"])
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    assert re.fullmatch(r"digits/code/[0-9a-f]{16}/source/sourcedir\.tar\.gz", key)
    assert sdks.local.client("s3").head_object(Bucket=bucket, Key=key)["ContentLength"] > 100


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("export_sdk2.py:nothing", "export_sdk2.py has no 'nothing'"),
        ("nowhere.py:x", "there is no file nowhere.py"),
        ("export_sdk2.py", "give the file and the trainer in it"),
        ("export_sdk2.py:ROLE", "str is no trainer"),
        ("source/inference.py:estimator", "has no 'estimator'"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(sdks: Sdks, target: str, said: str) -> None:
    done = sdks.run("export_sdk2", "-m", "airflow_spot.cli.main", "export", target)
    assert done.returncode == 2
    assert said in done.stderr.splitlines()[-1]
    assert done.stdout == ""


def test_a_file_that_trains_as_it_is_imported_is_refused(sdks: Sdks, tmp_path: Path) -> None:
    text = (USERS / "export_sdk2.py").read_text().partition("if __name__")[0]
    text = text.replace("Path(__file__).parent", f"Path({str(USERS)!r})")
    (tmp_path / "trains.py").write_text(f"{text}\nfound = spot_script()\nfound.fit(INPUTS, wait=False)\n")
    done = sdks.run("export_sdk2", "-m", "airflow_spot.cli.main", "export", f"{tmp_path}/trains.py:found")
    assert done.returncode == 2
    assert "trains when it is imported" in done.stderr.splitlines()[-1]


def test_the_exported_config_trains_on_spot(sdks: Sdks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, _ = sdks.spot("export_sdk2")
    (tmp_path / "train.json").write_text(json.dumps(config))
    for key, value in {**sdks.local.environ, "AIRFLOW_CONN_AWS_DEFAULT": "aws://"}.items():
        monkeypatch.setenv(key, value)
    task = SageMakerSpotTrainingOperator(task_id="train", config=str(tmp_path / "train.json"), check_interval=0.5)
    result = run_task(task, TaskInstance("train"))
    assert result["Training"]["TrainingJobStatus"] == "Completed"
    assert result["Training"]["EnableManagedSpotTraining"] is True
    assert result["Spot"]["checkpoint_s3_uri"].startswith("s3://bucket/checkpoints/")
