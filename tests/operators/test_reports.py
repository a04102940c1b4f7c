"""A script that uses the library says how far it is: in the log, in the result and where it fails. For real."""

from __future__ import annotations

import time
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from airflow_spot.core import script_progress
from airflow_spot.errors import ScriptError
from airflow_spot.operators.training import SageMakerSpotTrainingOperator
from tests.support.service import Task
from tests.support.task import TaskInstance, run_task

SCRIPT = """
import argparse, json, os, time
from airflow_spot.checkpoint import Checkpointer

parser = argparse.ArgumentParser()
parser.add_argument("--fail-at", type=int, default=-1)
parser.add_argument("--wait-for", default="/")  # at step 4, until that file is there
arguments, _ = parser.parse_known_args()
checkpoints = Checkpointer()
found = checkpoints.load(lambda path: json.load(open(path)))
for step in range(found.step if found else 0, 8):
    time.sleep(0.25)
    checkpoints.save(step + 1, lambda path: open(path, "w").write("{}"))
    checkpoints._progress_at = -1e9  # a training of hours in two seconds
    checkpoints.progress(step + 1, 8, {"loss": 1 / (step + 1)})
    assert step != arguments.fail_at, "this is the end"
    while step == 3 and not os.path.exists(arguments.wait_for):
        time.sleep(0.1)
"""


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr(script_progress, "PAUSE_LEAST", 0.2)
    monkeypatch.setattr(script_progress, "PAUSE_MOST", 0.5)
    (tmp_path / "train.py").write_text(SCRIPT)
    return {"entry_point": "train.py", "source_dir": str(tmp_path), "check_interval": 0.2}


@pytest.mark.slow
def test_it_is_told_on_the_way_and_stands_in_the_result(
    task: Task, ti: TaskInstance, source: dict[str, Any], said: list[str], tmp_path: Path
) -> None:
    seen = tmp_path / "seen"
    if task.deferrable:  # the trigger tells it, in its own log
        seen.touch()
    else:  # However slow this machine is, the script continues when its first four steps have been told.
        Thread(target=_touch_once_told, args=(said, seen), daemon=True).start()
    result = run_task(task.operator(**source, hyperparameters={"wait-for": str(seen)}), ti)
    progress = result["Spot"]["progress"]
    assert (progress["step"], progress["total"], progress["percent"]) == (8, 8, 100.0)
    assert progress["metrics"] == {"loss": 0.125}
    if task.deferrable:
        return
    told = [line for line in said if line.startswith("attempt 1: step")]
    assert told[-1] == "attempt 1: step 8 of 8 (100 %), loss 0.125"
    assert len(told) > 1


def _touch_once_told(said: list[str], seen: Path) -> None:
    for _ in range(2400):
        if any(line.startswith("attempt 1: step 4 of 8") for line in said):
            break
        time.sleep(0.1)
    seen.touch()


@pytest.mark.slow
def test_an_error_says_how_far_it_was(task: Task, ti: TaskInstance, source: dict[str, Any]) -> None:
    with pytest.raises(ScriptError, match=r"Its script reported last, at 2.* UTC: step 4 of 8 \(50 %\), loss 0\.25"):
        run_task(task.operator(**source, hyperparameters={"fail-at": 3}), ti)


def test_a_script_without_it_reports_nothing(task: Task, ti: TaskInstance, local: Any) -> None:
    begun = len(local.audit)
    made: SageMakerSpotTrainingOperator = task.operator()
    assert run_task(made, ti)["Spot"]["progress"] is None
    reads = [line for line in local.audit[begun:] if "airflow-spot-progress" in str(line)]
    assert reads == []
