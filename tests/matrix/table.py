"""The matrix as people read it."""

from __future__ import annotations

from collections.abc import Sequence

from tests.matrix.scenarios import Row


def table(rows: Sequence[Row]) -> str:
    """One line a version, one column a scenario; what failed is named below with its log."""
    scenarios = list(dict.fromkeys(name for row in rows for name in row.results))
    lines = [["airflow", "python", "resolved in", *scenarios]]
    for row in rows:
        cells = [row.results[name].cell if name in row.results else "-" for name in scenarios]
        lines.append([row.airflow, row.target.python, f"{row.install_seconds:.1f} s", *cells])
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    failed = [
        f"{row.target} {name}: {result.error} (see {result.log})"
        for row in rows
        for name, result in row.results.items()
        if result.error is not None
    ]
    return "\n".join([*text, *failed])
