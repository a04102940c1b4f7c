"""The fault benchmark measures, judges what it measured, and its pages hold what it printed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench import fault_report, pages
from bench.fault_cases import CASES

ROOT = Path(__file__).parents[2]
WELL = {"state": "success", "jobs": 1, "at_once": 1, "left": 0, "completed": True, "paid_seconds": 15.0, "void": False}


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_lost_response_in_both_columns() -> None:
    """Two jobs of the stock operator at once, and one of ours."""
    # The stock operator's second job comes while the first one trains, also on a busy machine.
    command = [sys.executable, "bench/faults.py", "--only", "response lost", "--work", "40", "--json"]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=1000)
    found = json.loads(done.stdout)
    rows = {row["mode"]: row for row in found["faults"]}
    assert set(rows) == {"sync", "deferrable"}
    for mode, row in rows.items():
        assert (row["ours"]["state"], row["ours"]["jobs"], row["ours"]["left"]) == ("success", 1, 0)
        assert row["ours"]["as_due"]
        if mode == "sync" or found["stock_deferrable"]:
            assert (row["stock"]["jobs"], row["stock"]["at_once"]) == (2, 2)
            assert not row["stock"]["as_due"]
            assert row["stock"]["struck"] == row["ours"]["struck"] == ["cut during CreateTrainingJob"]


@pytest.mark.parametrize(
    ("cell", "due", "well"),
    [
        ({}, "success", True),
        ({}, "failed", False),
        ({"state": "failed", "completed": False}, "failed", True),
        ({"completed": False}, "success", False),
        ({"at_once": 2}, "success", False),
        ({"left": 1}, "success", False),
        ({"state": "stuck"}, "success", False),
    ],
)
def test_a_cell_is_judged(cell: dict[str, Any], due: str, well: bool) -> None:
    assert fault_report.as_due({**WELL, **cell}, due) is well


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        ({}, "success, 1 job; 15 s paid"),
        ({"jobs": 2, "at_once": 2, "left": 1}, "success, 2 jobs, 2 at once, 1 left running; 15 s paid"),
        ({"completed": False}, "success, but no job completed, 1 job; 15 s paid"),
        ({"void": True}, "success, 1 job; 15 s paid (void: the fault struck nothing)"),
    ],
)
def test_a_cell_is_told(cell: dict[str, Any], text: str) -> None:
    assert fault_report.say({**WELL, **cell}) == text


def test_what_did_not_run_is_not_counted() -> None:
    ran, not_run = {**WELL, "as_due": True}, {"state": "not run", "error": "no index"}
    totals = fault_report.totals([{"stock": ran, "ours": ran}, {"stock": not_run, "ours": ran}])
    assert totals["stock"]["cells"] == totals["ours"]["cells"] == 1
    assert totals["ours"]["as_due"] == totals["ours"]["success"] == 1
    assert fault_report.say(not_run) == "not run"


def test_the_pages_tables_are_one_run_of_the_rows_there_are() -> None:
    """The README's rows are some of docs/faults.md's, cell by cell, which are those of the benchmark."""
    whole, some = (_between(page) for page in ("docs/faults.md", "README.md"))
    assert [tuple(row[:2]) for row in whole] == [(case.fault, case.mode) for case in CASES]
    assert some == [row for row, case in zip(whole, CASES, strict=True) if case.telling]
    assert not any("void" in cell for row in whole for cell in row)


def _between(page: str) -> list[list[str]]:
    _, _, rest = (ROOT / page).read_text().partition(pages.begin(fault_report.BENCHMARK))
    table = rest.partition(pages.END)[0].strip().split("\n\n")[0]
    return [line.strip("| ").split(" | ") for line in table.splitlines()[2:]]


def test_a_page_without_markers_is_refused() -> None:
    begin = pages.begin("bench/one.py")
    page = f"a\n{begin}old\n{pages.END}b\n{pages.begin('bench/two.py')}kept\n{pages.END}"
    changed = pages.between(page, "bench/one.py", "new")
    assert changed == f"a\n{begin}\nnew\n\n{pages.END}b\n{pages.begin('bench/two.py')}kept\n{pages.END}"
    with pytest.raises(ValueError, match="no lines"):
        pages.between("a", "bench/one.py", "new")
