"""What waiting costs, for people. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench.pages import markdown_table

BENCHMARK = "bench/watch.py"
_NAMES = {"stock": "`SageMakerTrigger`", "ours": "`SageMakerSpotTrainingTrigger`"}

_HEADS = (
    "deferred jobs",
    "trigger",
    "calls an hour",
    "KB a job",
    "CPU s, first minute",
    "longest lag of the loop, s",
    "end noticed after, s (p50, p99)",
)

Results = Sequence[Mapping[str, Any]]


def table(results: Results) -> list[str]:
    """Write the figures for a terminal."""
    heads = ("jobs", "", "calls an hour", "KB a job", "CPU s", "loop lag s", "noticed after, s (p50, p99)")
    lines = [f"{heads[0]:>6} {heads[1]:6}{heads[2]:>14}{heads[3]:>10}{heads[4]:>8}{heads[5]:>12}  {heads[6]}"]
    for jobs, kind, each in _rows(results):
        lines.append(
            f"{jobs:6} {kind:6}{each['calls_per_hour']:14,}{each['kb_per_job']:10.1f}"
            f"{each['cpu_seconds']:8.1f}{each['loop_lag_seconds']:12.2f}  {_logged_transitions(each)}"
        )
    return lines


def markdown(results: Results, about: str) -> str:
    """
    Write the figures as a markdown table.

    :param about: where, when and with what they were taken.
    """
    lines = markdown_table(
        _HEADS,
        [
            (
                f"{jobs:,}",
                _NAMES[kind],
                f"{each['calls_per_hour']:,}",
                f"{each['kb_per_job']:,.1f}",
                f"{each['cpu_seconds']:.1f}",
                f"{each['loop_lag_seconds']:.2f}",
                _logged_transitions(each),
            )
            for jobs, kind, each in _rows(results)
        ],
    )  # fmt: skip
    first = [f"{each['shared_mb']:.0f}" for _, kind, each in _rows(results) if kind == "ours"]
    shared = (
        f"KB a job: beside one such trigger, which adds {first[0]} MB to an idle triggerer, once. " if first else ""
    )
    return "\n".join([*lines, "", f"{shared}{about}"])


def _rows(results: Results) -> Iterator[tuple[int, str, Mapping[str, Any]]]:
    for result in results:
        for kind in ("stock", "ours"):
            if kind in result:
                yield result["jobs"], kind, result[kind]


def _logged_transitions(each: Mapping[str, Any]) -> str:
    soon = each["detection_seconds"]
    missed = f", {soon['missed']} not at all" if soon["missed"] else ""
    return f"{soon['p50']}, {soon['p99']}{missed}"
