"""How far the script said that it was."""

from __future__ import annotations

from airflow_spot.render.ledger_format import Timeline


def reported(timeline: Timeline) -> tuple[float | None, float | None]:
    """Return step and total of the last report; None where it says none, and for a total that is none."""
    said = timeline["progress"] or {}
    step, total = said.get("step"), said.get("total")
    return (
        step if isinstance(step, (int, float)) and step >= 0 else None,
        total if isinstance(total, (int, float)) and total > 0 else None,
    )
