"""The demo: its story and its table from given facts, and once as a user runs it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from airflow_spot.cli.demo_report import Report, Start
from airflow_spot.cli.demo_story import Story
from airflow_spot.cli.main import main

# A shell's background jobs ignore SIGINT, and so would a demo that such a pytest starts.
BOOT = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); " + (
    "from airflow_spot.cli.main import main; sys.exit(main(sys.argv[1:]))"
)
AIRFLOW_SPOT = [sys.executable, "-c", BOOT]


def state(job: str, secondary: str | None, status: str = "InProgress", message: str | None = None) -> dict[str, Any]:
    return {"event": "state", "job": job, "status": status, "secondary": secondary, "message": message}


def test_the_story_tells_each_thing_once(capsys: pytest.CaptureFixture[str]) -> None:
    story = Story()
    events = [
        {"event": "call", "operation": "CreateTrainingJob"},
        state("job", "Training"),
        {"event": "checkpoint", "action": "upload", "job": "job", "key": "round-000005-0123456789abcdef.ubj"},
        {"event": "checkpoint", "action": "delete", "job": "job", "key": "round-000005-0123456789abcdef.ubj"},
        {"event": "capacity", "action": "reclaimed", "job": "job"},
        state("job", "Failed", "Failed", "CapacityError: none\nmore of it"),
        state("served", None, "InService"),
    ]
    for known in (3, 7, 7):
        story.audit(events[:known])
    for tasks in ({"train": None}, {"train": "running"}, {"train": "running"}):
        story.tasks(tasks)
    decision = "Attempt 2 on ml.m5.large spot (attempt 1: no capacity; same checkpoint): creating training job job-2"
    for lines in (["::group::", decision], [decision, "something else"]):
        story.decisions(lines)
    told = [line.split(" s  ", 1)[1].split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
    assert told == [
        ["sagemaker", "job: Training"],
        ["sagemaker", "job: checkpoint of round 5 is in S3"],
        ["sagemaker", "job: the spot instance is taken back"],
        ["sagemaker", "job: Failed (CapacityError: none)"],
        ["sagemaker", "served: InService"],
        ["airflow", "train: running"],
        ["operator", decision],
    ]


def test_the_table_counts_what_was_trained_twice() -> None:
    attempt = {
        "job_name": "digits-1",
        "instance_type": "ml.m5.large",
        "instance_count": 1,
        "spot": True,
        "outcome": "completed",
        "interruptions": 2,
        "training_seconds": 30,
        "billable_seconds": 12,
        "savings_percent": 60.0,
    }
    spot = {**attempt, "attempts": [attempt]}
    starts = (Start(0, (1, 2, 3, 4)), Start(2, (3, 4, 5)), Start(5, (6,)))
    report = Report(spot, starts, 0.959)
    assert report.trained_twice == 2
    text = str(report)
    for line in (
        "rounds at each resume  2, 5",
        "rounds of the model    6",
        "rounds trained twice   2",
        "savings                60.0 %",
        "accuracy               95.9 % of the test digits, asked of the endpoint",
    ):
        assert line in text.splitlines()


def test_a_folder_without_the_dag_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--dags", str(tmp_path)]) == 2
    assert "--dags" in capsys.readouterr().err


def leftovers(scratch: Path) -> list[str]:
    """Processes that have the folder in their environment or command line."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            text = (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if str(scratch).encode() in text and int(entry.name) != os.getpid():
            found.append(f"{entry.name}: {(entry / 'cmdline').read_bytes()!r}")
    return found


@pytest.mark.slow
@pytest.mark.airflow
@pytest.mark.timeout(600)
def test_the_demo_shows_what_it_promises_and_leaves_nothing(tmp_path: Path) -> None:
    result = subprocess.run(
        [*AIRFLOW_SPOT, "demo"],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    figures = {line[:21].strip(): line[23:].strip() for line in result.stdout.splitlines()[-10:]}
    assert int(figures["interruptions"]) >= 2
    assert int(figures["attempts"]) >= 2
    assert len(figures["rounds at each resume"].split(",")) >= 2
    assert figures["rounds of the model"] == "60"
    assert float(figures["savings"].rstrip(" %")) > 30
    assert list(tmp_path.iterdir()) == []
    assert leftovers(tmp_path) == []


@pytest.mark.slow
@pytest.mark.airflow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_demo_ends_with_all_that_it_started_when_it_is_interrupted(tmp_path: Path, number: int) -> None:
    process = subprocess.Popen(
        [*AIRFLOW_SPOT, "demo", "--ui"],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "Airflow is ready" in line:
            break
    else:
        pytest.fail(f"the demo ended with exit code {process.wait()} before Airflow was ready")
    time.sleep(2)
    assert leftovers(tmp_path)
    process.send_signal(number)
    assert process.wait(60) == 130
    process.stdout.close()
    assert list(tmp_path.iterdir()) == []
    assert leftovers(tmp_path) == []
