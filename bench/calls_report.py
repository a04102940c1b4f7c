"""How many calls a run needs, for people. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench.pages import markdown_table

BENCHMARK = "bench/calls.py"
ACTS = ("create", "start", "resume", "success", "reaper", "orphans", "gc")
#: What SageMaker grants an account of ListTrainingJobs, in calls a second.
LISTS_A_SECOND = 2.0
_LIST = "ListTrainingJobs"

Results = Sequence[Mapping[str, Any]]


def table(results: Results) -> list[str]:
    """Write the figures for a terminal: all calls, and of these the lists."""
    lines = [f"{'jobs of the account':34}{'attempts':>9} {'':7}" + "".join(f"{act:>14}" for act in ACTS)]
    for result, kind, calls in _rows(results):
        cells = "".join(f"{f'{_all(calls, act):,} ({_lists(calls, act):,})':>14}" for act in ACTS)
        lines.append(f"{_past(result):34}{result['attempts']:>9,} {kind:7}{cells}")
    return [*lines, "in brackets: of these, ListTrainingJobs"]


def markdown(results: Results, about: str) -> str:
    """
    Write the figures as a markdown table.

    :param about: when and with what they were taken.
    """
    head = ("jobs of the account", "attempts of the run", "", *ACTS)
    rows = [
        (_past(result), f"{result['attempts']:,}", kind, *(f"{_all(calls, act):,}" for act in ACTS))
        for result, kind, calls in _rows(results)
    ]
    carried = max(result["now"]["state_bytes"] for result in results) / 1000
    notes = f"All calls of SageMaker. {_lists_take(results)}A deferral carries at most {carried:.1f} kB. {about}"
    return "\n".join([*markdown_table(head, rows), "", notes])


def _lists_take(results: Results) -> str:
    """Say how long the lists of a create take at least, where the account has had the most jobs."""
    most: dict[str, tuple[int, str]] = {}
    for result, kind, calls in _rows(results):
        seconds = _lists(calls, "create") / LISTS_A_SECOND
        jobs = result["old"] + result["recent"]
        if jobs >= most.get(kind, (0, ""))[0]:
            most[kind] = jobs, f"{kind}, beside {_past(result)}, {seconds:,.1f} s"
    return f"The lists of a create alone, at two a second: {'; '.join(text for _, text in most.values())}. "


def _past(result: Mapping[str, Any]) -> str:
    words = [f"{result[kind]:,} {kind}" for kind in ("old", "recent") if result[kind]]
    return (", ".join(words) or "none") + (", filters late" if result["late"] else "")


def _rows(results: Results) -> Iterator[tuple[Mapping[str, Any], str, Mapping[str, Any]]]:
    for result in results:
        for kind in ("before", "now"):
            if kind in result:
                yield result, kind, result[kind]["calls"]


def _all(calls: Mapping[str, Any], act: str) -> int:
    return sum(calls[act].values())


def _lists(calls: Mapping[str, Any], act: str) -> int:
    return int(calls[act].get(_LIST, 0))
