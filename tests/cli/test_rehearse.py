"""`airflow-spot rehearse`: what it takes, and what its exit code says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from airflow_spot.cli.main import main
from airflow_spot.cli.rehearse import _SCENARIOS
from airflow_spot.rehearsal.observations import INTERRUPTED
from airflow_spot.rehearsal.running import Options
from tests.rehearsal.test_rehearsal import SCRIPTS

SOUND = [str(SCRIPTS / "sound.py"), "--source-dir", str(SCRIPTS), "--hyperparameter", "epochs=15"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["none.py"], "there is no file"),
        (["none.py", "--task", "train"], "none.py: there is no such file"),
        ([*SOUND, "--dag", "a"], "--dag names a DAG of a DAG file: give --task, too"),
        ([*SOUND, "--channel", "train"], "--channel train: give NAME=DIR"),
        ([*SOUND, "--hyperparameter", "epochs"], "--hyperparameter epochs: give NAME=VALUE"),
        ([*SOUND, "--metric", "loss=loss"], "--metric loss: it has no group"),
        ([*SOUND, "--step", "("], "--step (: "),
        ([*SOUND, "--interruptions", "0"], "--interruptions 0: give at least 1"),
        ([*SOUND, "--max-run", "long"], "--max-run"),
        ([*SOUND, "--allow", "everything"], "--allow everything: it can be fails-uninterrupted, "),
        ([*SOUND, "--image", "pytorch"], "is not PATTERN=COMMAND"),
        ([__file__.replace("test_rehearse.py", "__init__.py"), "--task", "train"], "no task 'train'"),
    ],
)
def test_what_is_wrong_is_said_in_a_line_and_exits_with_2(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["rehearse", *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("airflow-spot rehearse: ")
    assert said in error
    assert error.count("\n") == 1


def test_a_request_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for text, said in (("{", "is not JSON"), ("[]", "is not a CreateTrainingJob request")):
        (tmp_path / "request.json").write_text(text)
        assert main(["rehearse", str(tmp_path / "request.json")]) == 2
        assert said in capsys.readouterr().err


def test_every_interruption_can_be_chosen() -> None:
    assert {scenario.name for scenario in INTERRUPTED} == set(_SCENARIOS.values())
    assert Options().scenarios == INTERRUPTED


#: An interpreter that finds no such module, as where it was not installed.
HIDE = """if True:
    import importlib.machinery, sys
    whole = importlib.machinery.PathFinder.find_spec
    class Finder(importlib.machinery.PathFinder):
        @classmethod
        def find_spec(cls, name, path=None, target=None):
            return None if name == {module!r} else whole(name, path, target)
    sys.meta_path[-1] = Finder
    from airflow_spot.cli.main import main
    sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("module", "words", "said"),
    [
        ("moto", SOUND, "airflow-spot rehearse needs moto: pip install 'airflow-spot[local]'"),
        ("airflow", ["dag.py", "--task", "train"], "a DAG file needs Airflow, and there is no module airflow"),
    ],
)
def test_what_is_not_installed_is_said(module: str, words: list[str], said: str, tmp_path: Path) -> None:
    (tmp_path / "dag.py").touch()
    command = [sys.executable, "-c", HIDE.format(module=module), "rehearse", *words]
    done = subprocess.run(command, check=False, cwd=tmp_path, capture_output=True, text=True, timeout=250)
    assert (done.returncode, said in done.stderr, "Traceback" in done.stderr) == (2, True, False), done.stderr


@pytest.mark.slow
def test_without_airflow_a_script_is_rehearsed_all_the_same(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HIDE.format(module="airflow"), "rehearse", *SOUND, "--only", "sigterm", "--json"]
    done = subprocess.run(command, check=False, cwd=tmp_path, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["sound"] is True
    assert [run["scenario"] for run in report["runs"]] == ["uninterrupted", "terminated"]
    assert "interrupted with SIGTERM: " in done.stderr


@pytest.mark.slow
def test_a_fault_exits_with_1_unless_it_is_allowed(capsys: pytest.CaptureFixture[str]) -> None:
    words = [str(SCRIPTS / "keeps_everything.py"), "--source-dir", str(SCRIPTS), "--only", "killed"]
    assert main(["rehearse", *words]) == 1
    assert "keeps_everything.py: 1 fault\n" in capsys.readouterr().out
    assert main(["rehearse", *words, "--allow", "keeps-everything"]) == 0


@pytest.mark.slow
def test_a_request_is_rehearsed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An entrypoint of its own, which finds the script in a channel."""
    request = {
        "TrainingJobName": "mine",
        "AlgorithmSpecification": {"ContainerEntrypoint": ["python3", "/opt/ml/input/data/code/no_checkpoint.py"]},
        "Environment": {"SM_HP_EPOCHS": "12"},
        "InputDataConfig": [{"ChannelName": "code", "DataSource": {"S3DataSource": {"S3Uri": "s3://bucket/code"}}}],
    }
    (tmp_path / "request.json").write_text(json.dumps(request))
    words = [str(tmp_path / "request.json"), "--channel", f"code={SCRIPTS}", "--only", "killed"]
    assert main(["rehearse", *words]) == 1
    assert "no checkpoint within" in capsys.readouterr().out
