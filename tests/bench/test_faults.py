"""The fault benchmark measures: a lost response is two jobs of the stock operator and one of ours."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_a_lost_response_in_both_columns() -> None:
    command = [sys.executable, "bench/faults.py", "--only", "response lost", "--json"]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=300)
    rows = {row["mode"]: row for row in json.loads(done.stdout)["faults"]}
    assert set(rows) == {"sync", "deferrable"}
    assert rows["sync"]["stock"]["jobs"] == 2
    assert rows["sync"]["stock"]["at_once"] == 2
    for row in rows.values():
        assert (row["ours"]["state"], row["ours"]["jobs"], row["ours"]["left"]) == ("success", 1, 0)
