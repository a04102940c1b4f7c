"""Whatever ends the command, nothing is left: by itself after SIGTERM and SIGINT, by --clean after SIGKILL."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from airflow_spot.cli.main import main
from airflow_spot.local import LocalSageMaker
from tests.local.jobs import Jobs, until
from tests.verify.test_command import command, left_behind, live, only


@contextmanager
def training(local: LocalSageMaker, bucket: str, *options: str) -> Iterator[subprocess.Popen[str]]:
    """The command in a process of its own, once one of its jobs trains and has written."""
    arguments = command(bucket, "--yes", *options, *only("max-runtime"))
    process = subprocess.Popen(
        [sys.executable, "-m", "airflow_spot.cli.main", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **local.environ},
        start_new_session=True,
    )
    try:
        until(
            lambda: process.poll() is not None or [key for key in left_behind(local, bucket) if "/ck/" in key] or None,
            "a job of the experiments writes a checkpoint",
        )
        assert process.poll() is None, process.communicate()[0]
        yield process
    finally:
        process.kill()
        process.communicate()


def test_clean_removes_what_a_sigkill_left(
    local: LocalSageMaker, bucket: str, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = Jobs(local)
    # Of somebody else, though it is named alike: it has no tag of ours.
    foreign = jobs.request("import time; time.sleep(3600)")
    foreign["TrainingJobName"] = f"spotverify-{foreign['TrainingJobName']}"
    jobs.sagemaker.create_training_job(**foreign)
    local.client("s3").put_object(Bucket=bucket, Key="airflow-spot-verify-not", Body=b"theirs")
    with training(local, bucket) as process:
        process.kill()
        process.wait()
    ours = [name for name in live(local) if name != foreign["TrainingJobName"]]
    assert ours and left_behind(local, bucket) != ["airflow-spot-verify-not"]
    assert main(["verify-aws", "--bucket", bucket, "--clean"]) == 0
    assert f"{len(ours)} jobs stopped" in capsys.readouterr().out
    assert live(local) == [foreign["TrainingJobName"]]
    assert left_behind(local, bucket) == ["airflow-spot-verify-not"]
    # There is nothing to do a second time.
    assert main(["verify-aws", "--bucket", bucket, "--clean"]) == 0
    assert "0 jobs stopped, 0 objects deleted" in capsys.readouterr().out
    jobs.sagemaker.stop_training_job(TrainingJobName=foreign["TrainingJobName"])


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_signal_ends_it_and_leaves_nothing(
    local: LocalSageMaker, bucket: str, tmp_path: Path, number: signal.Signals
) -> None:
    report = tmp_path / "report.json"
    with training(local, bucket, "--report", str(report)) as process:
        process.send_signal(number)
        out, _ = process.communicate(timeout=120)
    assert process.returncode == 128 + number, out
    assert "not reached: interrupted" in out
    assert live(local) == [] and left_behind(local, bucket) == []
    made: dict[str, Any] = json.loads(report.read_text())
    assert made["complete"] is False
    assert {each["verdict"] for each in made["experiments"]} == {"not reached"}
