"""The fixture as a stranger has it: in a project of its own, from a process of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from airflow_spot.rehearsal import pytest_plugin
from tests.rehearsal.test_rehearsal import SCRIPTS

TEST = """
def test_mine(rehearse):
    report = rehearse("keeps_everything.py", source_dir="code", hyperparameters={"epochs": 12}, grace=5)
    assert [verdict.says for verdict in report.verdicts if verdict.fault] != []
    assert report.sound
"""


def test_pytest_finds_it() -> None:
    (entry,) = entry_points(group="pytest11", name="rehearsal")
    assert entry.load() is pytest_plugin


@pytest.mark.slow
def test_a_fault_is_found_through_the_fixture_and_is_shown(tmp_path: Path) -> None:
    shutil.copytree(SCRIPTS, tmp_path / "code")
    (tmp_path / "test_mine.py").write_text(TEST)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_mine.py"]
    done = subprocess.run(command, check=False, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert "1 failed" in done.stdout, done.stdout + done.stderr
    assert "assert report.sound" in done.stdout
    shown = done.stdout.partition("Captured rehearsal call")[2]
    assert "keeps_everything.py: 1 fault" in shown
    assert "keeps everything: 1.2 MB for 12 epochs are downloaded at each start" in shown


def test_loading_the_plugin_loads_nothing_else() -> None:
    code = """if True:
        import sys
        import airflow_spot.rehearsal.pytest_plugin
        heavy = [name for name in ("airflow", "boto3", "botocore", "moto", "airflow_spot.local") if name in sys.modules]
        assert not heavy, heavy
    """
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
