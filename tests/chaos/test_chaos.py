"""A bounded form of the chaos suite: every run survives, and every column is zero."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos.judge import COLUMNS

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("engine", "runs"), [("simulated", 48), ("process", 12)])
def test_every_run_survives(engine: str, runs: int, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.chaos", "--runs", str(runs), "--engine", engine, "--json"]
    done = subprocess.run(
        [*command, "--logs", str(tmp_path / "logs")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=1500,
        check=False,
    )
    assert done.stdout, done.stderr[-4000:]
    counts = json.loads(done.stdout)
    assert counts["runs"] == runs
    assert {column: counts[column] for column in COLUMNS} == dict.fromkeys(COLUMNS, 0), done.stderr[-4000:]
    assert counts["survived"] == runs, done.stderr[-4000:]
