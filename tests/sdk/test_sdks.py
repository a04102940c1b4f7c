"""Both SageMaker SDKs, unchanged, each in an environment of its own: their jobs train on spot, and lose an instance.

What users write is in ``users/``; each script is a process of its own, and all run at once, since they mostly wait.
Their trainings hold themselves until they are interrupted, but for that of AWS's built-in algorithm, which cannot.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from airflow_spot.local import LocalSageMaker
from bench.environments import NotMade
from tests.local.jobs import files_of, statuses, until
from tests.sdk.environments import SDK_2, SDK_3

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

USERS = Path(__file__).parent / "users"
TIMEOUT_SECONDS = 600
#: How many the built-in algorithm trains at first.
ROUNDS = 300
ROWS = "".join(f"{3 * x - y},{x},{y}\n" for x in range(8) for y in range(8))
SCRIPTS = {
    "sdk3_model_trainer": SDK_3,
    "sdk2_pytorch": SDK_2,
    "sdk2_xgboost": SDK_2,
    "sdk2_estimator": SDK_2,
}


@dataclass
class Run:
    """A user's script that runs, or why it does not.

    :ivar name: what its job's name begins with.
    :ivar again: how often it may still be started, where its job ends before it is interrupted.
    :ivar rounds: how many the built-in algorithm trains.
    """

    name: str
    skipped: str = ""
    process: subprocess.Popen[str] | None = None
    output: Path = Path()
    asked: bool = False
    again: int = 4
    rounds: int = ROUNDS

    def end(self) -> tuple[str, dict[str, Any]]:
        """Wait for it; return what it printed, and the JSON object of its last line."""
        if self.process is None:
            pytest.skip(self.skipped)
        code = self.process.wait(TIMEOUT_SECONDS)
        text = self.output.read_text()
        assert code == 0, text[-4000:]
        return text, json.loads(text.strip().splitlines()[-1])


class Users:
    """All scripts at once, each of whose jobs loses its instance after its first checkpoint."""

    def __init__(self, sm: LocalSageMaker, folder: Path) -> None:
        self.sm = sm
        self.bucket = f"bucket-{uuid.uuid4().hex[:8]}"
        self._folder = folder
        s3 = sm.client("s3")
        s3.create_bucket(Bucket=self.bucket)
        s3.put_object(Bucket=self.bucket, Key="data/rows.csv", Body=ROWS.encode())
        self.runs = {script: self._start(script) for script in SCRIPTS}

    def _start(self, script: str, rounds: int = ROUNDS) -> Run:
        environment = SCRIPTS[script]
        run = Run(f"{script.replace('_', '-')}-{uuid.uuid4().hex[:6]}", rounds=rounds)
        if environment is SDK_3 and not self.sm.namespace:
            run.skipped = "ModelTrainer's own script hard-codes /opt/ml, and this machine allows no namespaces"
            return run
        try:
            python = environment.interpreter(print)
        except NotMade as error:
            run.skipped = f"no environment for {environment.purpose}: {error}"
            return run
        run.output = self._folder / f"{script}.log"
        with run.output.open("w") as output:
            run.process = subprocess.Popen(
                [python, USERS / f"{script}.py", self.bucket, run.name],
                env={**self._environ(), "ROUNDS": str(rounds)},
                cwd=self._folder,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
            )
        return run

    def _environ(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self._folder),
            "COLUMNS": "200",
            **self.sm.environ,
        }

    def interrupt_each(self) -> None:
        """Take each job's instance back once it has a checkpoint."""

        def none_left() -> bool:
            # Each is to be looked at, however long the first takes.
            return not [script for script in SCRIPTS if not self._interrupted(script)]

        until(none_left, "every job has lost its instance after a checkpoint", 900)

    def _interrupted(self, script: str) -> bool:
        run = self.runs[script]
        if run.process is None or run.process.poll():
            return True
        lines = [line for line in self.sm.audit if str(line.get("job")).startswith(run.name)]
        states = [line["secondary"] for line in lines if line["event"] == "state" and line["kind"] == "training"]
        if "Interrupted" in states:
            return True
        if "Completed" in states:
            if not run.again:
                return True
            run.process.kill()
            run.process.wait()
            # The built-in cannot be held: it gets more to do instead.
            self.runs[script] = self._start(script, 2 * run.rounds)
            self.runs[script].again = run.again - 1
        elif not run.asked:
            for upload in [line for line in lines if line["event"] == "checkpoint"][:1]:
                with contextlib.suppress(RuntimeError):  # it has just ended
                    self.sm.interrupt(upload["job"])
                    run.asked = True
        return False

    def job(self, name: str) -> dict[str, Any]:
        answer: dict[str, Any] = self.sm.client("sagemaker").describe_training_job(TrainingJobName=name)
        return answer

    def files(self, uri: str) -> dict[str, bytes]:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        return files_of(self.sm.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read())

    def kill(self) -> None:
        for run in self.runs.values():
            if run.process is not None:
                run.process.kill()
                run.process.wait()


@pytest.fixture(scope="module")
def users(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Users]:
    with LocalSageMaker(grace_seconds=1, checkpoint_seconds=0.2) as sm:
        all_of_them = Users(sm, tmp_path_factory.mktemp("users"))
        try:
            all_of_them.interrupt_each()
            yield all_of_them
        finally:
            all_of_them.kill()


def trained(users: Users, said: dict[str, Any]) -> dict[str, Any]:
    """The job that a script says it has had: completed, on spot, over an interruption."""
    job = users.job(said["job"])
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    assert job["EnableManagedSpotTraining"] and "Interrupted" in statuses(job)
    assert said["model_data"] == job["ModelArtifacts"]["S3ModelArtifacts"]
    return job


def test_sdk_3_model_trainer(users: Users) -> None:
    text, said = users.runs["sdk3_model_trainer"].end()
    job = trained(users, said)
    assert job["AlgorithmSpecification"]["ContainerEntrypoint"] == ["/bin/bash"]
    assert {"code", "sm_drivers", "train"} == {channel["ChannelName"] for channel in job["InputDataConfig"]}
    assert json.loads(users.files(said["model_data"])["model.json"]) == {"steps": 60, "rows": 64}
    assert "training on 64 rows from step 0" in text


def test_sdk_2_pytorch(users: Users) -> None:
    text, said = users.runs["sdk2_pytorch"].end()
    job = trained(users, said)
    assert "/pytorch-training:2.8.0-cpu-py312" in job["AlgorithmSpecification"]["TrainingImage"]
    assert json.loads(users.files(said["model_data"])["model.json"]) == {"steps": 60, "rows": 64}
    assert [(metric["MetricName"], metric["Value"]) for metric in job["FinalMetricDataList"]] == [("steps", 60.0)]
    assert "training on 64 rows from step 0" in text and "Billable seconds:" in text


def test_sdk_2_xgboost_with_a_script(users: Users) -> None:
    _, said = users.runs["sdk2_xgboost"].end()
    job = trained(users, said)
    assert "/sagemaker-xgboost:1.7-1" in job["AlgorithmSpecification"]["TrainingImage"]
    assert json.loads(users.files(said["model_data"])["model.json"]) == {"steps": 60, "rows": 64}
    assert said["predictions"] == [61, 62]


def test_sdk_2_estimator_of_the_built_in_algorithm(users: Users) -> None:
    _, said = users.runs["sdk2_estimator"].end()
    trained(users, said)
    assert set(users.files(said["model_data"])) == {"xgboost-model"}
    assert said["metrics"] == ["train:rmse", "validation:rmse"]
    assert said["predictions"] == pytest.approx([1, 21], abs=2)
