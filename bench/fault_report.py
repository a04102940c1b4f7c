"""The fault benchmark's findings, for people. Pure, but for ``write``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bench.pages import between, markdown_table

BENCHMARK = "bench/faults.py"
STOCK, OURS = "SageMakerTrainingOperator", "SageMakerSpotTrainingOperator"


def say(cell: Mapping[str, Any]) -> str:
    """One cell."""
    if cell["state"] == "not run":
        return "not run"
    state = cell["state"]
    if state == "success" and not cell["completed"]:
        state = "success, but no job completed"
    parts = [state, f"{cell['jobs']} job{'s' * (cell['jobs'] != 1)}"]
    if cell["at_once"] > 1:
        parts.append(f"{cell['at_once']} at once")
    if cell["left"]:
        parts.append(f"{cell['left']} left running")
    void = " (void: the fault struck nothing)" if cell["void"] else ""
    return f"{', '.join(parts)}; {cell['paid_seconds']:.0f} s paid{void}"


def as_due(cell: Mapping[str, Any], due: str) -> bool:
    """
    Judge one cell: the right state, no success without a model, one job at a time, and none left.

    :param due: the state that is right.
    """
    trained = bool(cell["completed"]) or due != "success"
    return cell["state"] == due and trained and cell["at_once"] <= 1 and not cell["left"]


def totals(rows: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Count over the rows that both have run: in how many cells each thing happened."""
    both = [row for row in rows if "not run" not in (row["stock"]["state"], row["ours"]["state"])]

    def count(kind: str) -> dict[str, Any]:
        cells = [row[kind] for row in both]
        return {
            "cells": len(cells),
            "as_due": sum(cell["as_due"] for cell in cells),
            "success": sum(cell["state"] == "success" and cell["completed"] for cell in cells),
            "false_success": sum(cell["state"] == "success" and not cell["completed"] for cell in cells),
            "failed": sum(cell["state"] == "failed" for cell in cells),
            "stuck": sum(cell["state"] == "stuck" for cell in cells),
            "two_at_once": sum(cell["at_once"] > 1 for cell in cells),
            "left_running": sum(cell["left"] > 0 for cell in cells),
        }

    # Not what was paid in all: who fails at once pays nothing.
    return {kind: count(kind) for kind in ("stock", "ours")}


_TOTALS = (
    ("ended as it should", "as_due"),
    ("success, and a job completed", "success"),
    ("success, but no job completed", "false_success"),
    ("failed", "failed"),
    ("never ended", "stuck"),
    ("more than one job at once", "two_at_once"),
    ("a job left running", "left_running"),
)


def table(found: Mapping[str, Any]) -> str:
    """Write all rows, the totals and what was compared, for a terminal."""
    lines = [f"{'what goes wrong':<56} {'mode':<11} {STOCK:<50} {OURS}"]
    lines += [
        f"{row['fault']:<56} {row['mode']:<11} {say(row['stock']):<50} {say(row['ours'])}" for row in found["faults"]
    ]
    lines.append("")
    for label, name in _TOTALS:
        counts = [found["totals"][kind][name] for kind in ("stock", "ours")]
        lines.append(f"{label:<68} {counts[0]:<50} {counts[1]}")
    return "\n".join([*lines, "", _about(found)])


def markdown(found: Mapping[str, Any], *, telling: bool = False) -> str:
    """
    Write the rows as a markdown table, and what was compared.

    :param telling: only the telling rows.
    """
    rows = [row for row in found["faults"] if row["telling"] or not telling]
    lines = markdown_table(
        ("what goes wrong", "mode", f"`{STOCK}`", f"`{OURS}`"),
        [(row["fault"], row["mode"], _bold(row["stock"]), _bold(row["ours"])) for row in rows],
    )
    cells = found["totals"]["ours"]["cells"]
    lines += ["", f"Bold: not as it should end. Of all {cells} rows, this many:", ""]
    lines += markdown_table(
        ("", "stock", "ours"),
        [(label, *(found["totals"][kind][name] for kind in ("stock", "ours"))) for label, name in _TOTALS],
    )
    return "\n".join([*lines, "", _about(found)])


def _bold(cell: Mapping[str, Any]) -> str:
    text = say(cell)
    return text if cell["state"] == "not run" or cell["as_due"] else f"**{text}**"


def write(found: Mapping[str, Any], root: Path) -> None:
    """Put the whole table into docs/faults.md, and the telling rows into the README, between their markers."""
    for page, telling in ((root / "docs" / "faults.md", False), (root / "README.md", True)):
        page.write_text(between(page.read_text(), BENCHMARK, markdown(found, telling=telling)))


def _about(found: Mapping[str, Any]) -> str:
    versions = found["versions"]
    names = {"apache-airflow": "Airflow", "apache-airflow-providers-amazon": "amazon provider", "botocore": "botocore"}

    def told(kind: str) -> str:
        return ", ".join(f"{label} {versions[kind].get(name, '?')}" for name, label in names.items())

    same = " (the stock operator cannot defer here)" if not found["stock_deferrable"] else ""
    ladder = "Where the first type has no capacity or no quota, ours has a second one, on a ladder."
    return (
        f"`python bench/faults.py`, {found['date']}; a training takes {found['work_seconds']:g} s. "
        f"Stock: {told('stock')}{same}; ours: {told('ours')}. What is left running is paid until it ends by itself. "
        f"{ladder}"
    )
