"""Tables of the benchmarks in the pages of the documentation, each between two lines of its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

END = "<!-- end -->\n"


def begin(benchmark: str) -> str:
    """Give the line that a benchmark's tables follow."""
    return f"<!-- what {benchmark} --write printed -->\n"


def between(page: str, benchmark: str, text: str) -> str:
    """
    Give a page with another text between a benchmark's markers.

    :raises ValueError: if it has no markers.
    """
    before, _, rest = page.partition(begin(benchmark))
    _, found, after = rest.partition(END)
    if not found:
        raise ValueError(f"no lines {begin(benchmark).strip()} and {END.strip()}")
    return f"{before}{begin(benchmark)}\n{text}\n\n{END}{after}"


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    """Write a table."""
    return [f"| {' | '.join(str(part) for part in row)} |" for row in (head, ["---"] * len(head), *rows)]
