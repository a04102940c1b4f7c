"""The operator tells what the lint finds in a script: once, before a generation's first job, and never as a failure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_spot.core.parameter_errors import InvalidParameterError
from airflow_spot.core.script_lint import RULES
from airflow_spot.runs import script_faults
from tests.operators.scene import Hook, deferred, operator, resume, ti
from tests.support.sagemaker import DictionarySageMaker

pytestmark = pytest.mark.usefixtures("short_pauses")

IN_PLACE = """
import torch
state = torch.load("/opt/ml/checkpoints/last.pt")
for step in range(state, 10):
    torch.save(step, "/opt/ml/checkpoints/last.pt")
"""


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The parameters of script mode; nothing is sent to S3."""
    monkeypatch.setattr(Hook, "upload_source", lambda *_: "")
    script_faults._lint.cache_clear()
    (tmp_path / "train.py").write_text(IN_PLACE)
    return {"entry_point": "train.py", "source_dir": str(tmp_path)}


def told(said: list[str]) -> list[str]:
    """Return what the log says of the script."""
    return [line for line in said if "train.py" in line or "a fault" in line]


def write(source: dict[str, Any], script: str) -> None:
    (Path(source["source_dir"]) / "train.py").write_text(script)


def test_a_fault_is_told_with_its_line_and_the_fix(
    service: DictionarySageMaker, source: dict[str, Any], said: list[str]
) -> None:
    deferred(service, ti(), **source)
    assert service.jobs
    first, last = told(said)
    assert first.startswith("train.py:5: writes-in-place: ")
    assert "os.replace" in first
    assert "lint=False" in last


def test_it_is_told_once_a_generation(service: DictionarySageMaker, source: dict[str, Any], said: list[str]) -> None:
    trigger = deferred(service, ti(1, 5), **source)
    said.clear()
    service.put(trigger.job_name, "Stopped", "MaxWaitTimeExceeded")
    with pytest.raises(TaskDeferred):
        resume(operator(service, **source), ti(1, 5), trigger)
    assert len(service.jobs) == 2
    deferred(service, ti(2, 5), **source)
    assert told(said) == []


@pytest.mark.parametrize("more", [{"lint": False}, {"use_checkpoints": False}])
def test_it_is_silent_where_it_is_asked_to_be_or_airflow_knows_of_no_checkpoint(
    service: DictionarySageMaker, source: dict[str, Any], said: list[str], more: dict[str, Any]
) -> None:
    deferred(service, ti(), **source, **more)
    assert service.jobs
    assert told(said) == []


def test_many_faults_are_five_lines(service: DictionarySageMaker, source: dict[str, Any], said: list[str]) -> None:
    write(source, IN_PLACE + "    torch.save(step, '/opt/ml/checkpoints/last.pt')\n" * 20)
    deferred(service, ti(), **source)
    lines = told(said)
    assert len(lines) == 5
    assert "and 17 more of them" in lines[-1]


@pytest.mark.parametrize("script", ["print 'Python 2'\n", "\x00"])
def test_what_cannot_be_read_is_said_and_no_failure(
    service: DictionarySageMaker, source: dict[str, Any], said: list[str], script: str
) -> None:
    write(source, script)
    deferred(service, ti(), **source)
    assert service.jobs
    (line,) = told(said)
    assert line.startswith("train.py was not checked for what an interruption would show: ")


def test_a_fault_of_the_lint_itself_is_no_failure(
    service: DictionarySageMaker, source: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise KeyError("a fault")

    monkeypatch.setattr(script_faults, "lint", broken)
    deferred(service, ti(), **source)
    assert service.jobs


def test_a_shell_script_is_passed_over(service: DictionarySageMaker, source: dict[str, Any], said: list[str]) -> None:
    (Path(source["source_dir"]) / "train.sh").write_text("python train.py\n")
    deferred(service, ti(), **{**source, "entry_point": "train.sh"})
    assert told(said) == []


@pytest.mark.parametrize(("value", "told_of"), [("/opt/ml/checkpoints", False), ("/tmp/x", True)])
def test_an_argument_that_names_the_folder_counts(
    service: DictionarySageMaker, source: dict[str, Any], said: list[str], value: str, told_of: bool
) -> None:
    write(
        source,
        """
import argparse, os
from transformers import Trainer, TrainingArguments
parser = argparse.ArgumentParser()
parser.add_argument("--where", default="/opt/ml/model")
args = parser.parse_args()
trainer = Trainer(model, TrainingArguments(args.where))
trainer.train(resume_from_checkpoint=os.path.isdir(args.where))
""",
    )
    deferred(service, ti(), **source, config={"HyperParameters": {"where": json.dumps(value)}})
    assert bool(told(said)) == told_of
    assert all(value not in line for line in told(said)) or value == "/opt/ml/checkpoints"


def test_the_folder_is_that_of_the_job(service: DictionarySageMaker, source: dict[str, Any], said: list[str]) -> None:
    write(source, IN_PLACE.replace("/opt/ml/checkpoints", "/mnt/kept"))
    deferred(service, ti(), **source, checkpoint_local_path="/mnt/kept")
    assert [line.split(": ")[1] for line in told(said) if line.startswith("train.py:")] == ["writes-in-place"]


def test_lint_is_true_or_false(service: DictionarySageMaker, source: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameterError, match="lint is 'perhaps'"):
        operator(service, **source, lint="perhaps")


def test_every_rule_says_what_to_do() -> None:
    assert all(rule.fix and rule.what for rule in RULES.values())
