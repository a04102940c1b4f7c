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
from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_spot.core.decide import Pause, decide
from airflow_spot.core.outcomes import Outcome
from airflow_spot.operators.training import SageMakerSpotTrainingOperator
from demo.__main__ import main
from demo.report import Report, Start
from demo.story import DECISIONS, Story
from tests.core.cases import NOW, history, limits
from tests.operators.test_endings import operator, ti
from tests.support.sagemaker import DictionarySageMaker

ROOT = Path(__file__).parents[2]
# A shell's background jobs ignore SIGINT, and so would a demo that such a pytest starts.
BOOT = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); " + (
    "from demo.__main__ import main; sys.exit(main(sys.argv[1:]))"
)
DEMO = [sys.executable, "-c", BOOT]


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
    decision = "Attempt 2 on ml.m5.large spot (why): creating training job job-2"
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


def told_of(lines: list[str], capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Which decisions the story tells of a task's log, by name."""
    capsys.readouterr()
    Story().decisions(lines)
    told = [line.split("operator  ", 1)[1] for line in capsys.readouterr().out.splitlines()]
    return [name for line in told for name, pattern in DECISIONS.items() if pattern.match(line)]


def test_the_operators_decisions_are_told_and_nothing_else_that_it_logs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the lines that the operator itself logs: a try creates a job, the next one attaches to it and is killed."""
    lines: list[str] = []

    class Log:
        def info(self, message: str, *args: Any) -> None:
            lines.append(message % args)

        warning = error = info

    monkeypatch.setattr(SageMakerSpotTrainingOperator, "log", Log())
    service, told = DictionarySageMaker(), []
    for number in (1, 2):
        context: Any = {"ti": ti(number, retries=3)}
        task = operator(service)
        with pytest.raises(TaskDeferred):
            task.execute(context)
        told.append(told_of(lines, capsys))
        assert len(lines) > len(told[-1])
        lines.clear()
    task.on_kill()
    told.append(told_of(lines, capsys))
    assert told == [["attempt"], ["attach"], ["stop"]]


@pytest.mark.parametrize("outcome", [Outcome.NO_CAPACITY, Outcome.QUOTA])
def test_a_pause_is_told(outcome: Outcome, capsys: pytest.CaptureFixture[str]) -> None:
    """The operator logs why it pauses, word for word."""
    action = decide(limits(), history(outcome), NOW, key="aaaaaaaaaa")
    assert isinstance(action, Pause)
    assert told_of([action.why], capsys) == ["pause"]


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
        "accuracy               95.9 % of the test digits, predicted by the endpoint",
    ):
        assert line in text.splitlines()


def test_it_runs_as_a_module_of_the_checkout() -> None:
    told = subprocess.run(
        [sys.executable, "-m", "demo", "--help"], check=True, cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert told.stdout.startswith("usage: python -m demo")


def test_a_folder_without_the_dag_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--dags", str(tmp_path)]) == 2
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
        DEMO,
        cwd=ROOT,
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
    told = [line.split(" s  operator  ", 1)[1] for line in result.stdout.splitlines() if " s  operator  " in line]
    kinds = [name for line in told for name, pattern in DECISIONS.items() if pattern.match(line)]
    assert kinds == ["attempt", "pause", "attempt"], told
    assert list(tmp_path.iterdir()) == []
    assert leftovers(tmp_path) == []


@pytest.mark.slow
@pytest.mark.airflow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_demo_ends_with_all_that_it_started_when_it_is_interrupted(tmp_path: Path, number: int) -> None:
    process = subprocess.Popen(
        [*DEMO, "--ui"],
        cwd=ROOT,
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
