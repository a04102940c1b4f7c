"""The benchmark of the pages keeps its contract. What they take is for the benchmark to say."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "bench" / "pages_load.py"


@pytest.mark.slow
def test_the_benchmark_speaks_json() -> None:
    command = [sys.executable, str(SCRIPT), "--runs", "200", "--others", "300", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=280)
    told = json.loads(done.stdout.strip().rpartition("\n")[2])
    assert (told["database"], told["runs"], told["other_xcoms"]) == ("sqlite", 200, 300)
    for page in ("fleet_first", "fleet_again", "fleet_at_once", "csv", "run"):
        assert told[page]["seconds"] > 0
        assert told[page]["cpu_seconds"] >= 0
        assert 1 < told[page]["kb"] < 300
