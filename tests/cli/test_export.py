"""``airflow-spot export`` of a file that does more than hold a trainer: it creates no job, and says what to do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from airflow_spot.cli.main import main

#: Asks as the SDK does, and without it.
TRAINER = """
import sys
import boto3
class Trainer:
    instance_type = "ml.m5.large"
    def fit(self, inputs=None, wait=True):
        boto3.client("sagemaker").create_training_job(TrainingJobName="a-2026-11-28-12-59-26-458")
def makes():
    return Trainer()
def trains():
    trainer = Trainer()
    try:
        trainer.fit()
    except Exception:
        pass
    return trainer
def tunes():
    boto3.client("sagemaker").create_hyper_parameter_tuning_job(HyperParameterTuningJobName="a")
def fails():
    raise KeyError("a key")
def ends():
    sys.exit()
def local():
    trainer = Trainer()
    trainer.instance_type = "local"
    return trainer
def denied():
    trainer = Trainer()
    trainer.fit = lambda inputs, wait: boto3.client("s3").list_buckets() and None
    return trainer
"""


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that is not held back meets nothing."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "nobody")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")


def exported(folder: Path, name: str, more: str = "") -> int:
    (folder / "of_a_user.py").write_text(TRAINER + more)
    return main(["export", f"{folder}/of_a_user.py:{name}"])


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("trains", "trains() trains: have it return the trainer"),
        ("tunes", "tunes() trains: have it return the trainer"),
        ("fails", "fails() fails: KeyError: 'a key'"),
        ("ends", "ends() fails: SystemExit"),
        ("local", "Trainer trains on this machine, in local mode"),
        ("denied", "Trainer failed before it asked SageMaker for a job: Could not connect"),
    ],
)
def test_a_function_that_does_more_than_make_a_trainer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, said: str
) -> None:
    assert exported(tmp_path, name) == 2
    out, told = capsys.readouterr()
    assert out == ""
    assert said in told.splitlines()[-1]


@pytest.mark.parametrize("ending", ["sys.exit()", "raise SystemExit(0)"])
def test_a_file_that_ends_the_process_is_no_success(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], ending: str
) -> None:
    assert exported(tmp_path, "makes", ending) == 2
    assert "cannot be imported: SystemExit" in capsys.readouterr().err


def test_a_file_that_reads_its_arguments_has_none_of_the_commands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parsing = "import argparse\nrate = argparse.ArgumentParser().parse_args()\n"
    assert exported(tmp_path, "makes", parsing) == 0
    assert json.loads(capsys.readouterr().out) == {"TrainingJobName": "a"}
