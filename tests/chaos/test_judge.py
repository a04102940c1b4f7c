"""The judge sees each defect that it is there for."""

from __future__ import annotations

from typing import Any

import pytest

from tests.chaos.judge import Ending, judge
from tests.chaos.scenario import KINDS, draw

GOOD = Ending("success", work=10.0, trained={"a-1": 10.0})
URI = "s3://bucket/run"


def state(job: str, status: str, time: float) -> dict[str, Any]:
    """A change of a job's status."""
    return {"event": "state", "job": job, "status": status, "time": time}


def progress(job: str, action: str, seconds: float, start: int = 1) -> dict[str, Any]:
    """A checkpoint that was written, or gone on from."""
    return {"event": "progress", "job": job, "action": action, "start": start, "uri": URI, "seconds": seconds}


def started(job: str, start: int) -> dict[str, Any]:
    """A process that began."""
    return {"event": "process", "action": "started", "job": job, "start": start}


FINE = [state("a-1", "InProgress", 1), started("a-1", 1), progress("a-1", "saved", 10), state("a-1", "Completed", 9)]


def test_a_run_without_a_defect_is_clean() -> None:
    assert judge(FINE, GOOD).clean


def test_a_run_that_was_cleared_trains_once_more() -> None:
    again = [*FINE, state("a-2", "InProgress", 20), state("a-2", "Completed", 30)]
    cleared = Ending("success", 10.0, clears=(15.0,), trained={"a-1": 10.0, "a-2": 10.0})
    assert judge(again, cleared).clean
    assert judge(again, Ending("success", 10.0, trained={"a-1": 10.0, "a-2": 10.0})).duplicate_jobs


@pytest.mark.parametrize(
    ("events", "ending", "column"),
    [
        ([state("a-1", "InProgress", 1), state("a-2", "InProgress", 2), *FINE[3:]], GOOD, "duplicate_jobs"),
        (
            [state("a-1", "InProgress", 1), state("a-1", "Stopping", 2), state("a-2", "InProgress", 3)],
            GOOD,
            "duplicate_jobs",
        ),
        ([FINE[0], progress("a-1", "saved", 5), progress("a-1", "saved", 4), FINE[3]], GOOD, "lost_checkpoints"),
        ([FINE[0], progress("a-1", "saved", 5), started("a-1", 2), FINE[3]], GOOD, "lost_checkpoints"),
        (
            [FINE[0], progress("a-1", "saved", 5), progress("a-1", "resumed", 3, 2), started("a-1", 2), FINE[3]],
            GOOD,
            "lost_checkpoints",
        ),
        ([FINE[0], state("a-1", "Failed", 9)], GOOD, "false_success"),
        (FINE, Ending("stuck", 10.0, trained={"a-1": 10.0}), "stuck"),
        (FINE[:3], Ending("failed", 10.0), "abandoned"),
        (FINE, Ending("failed", 10.0, trained={"a-1": 10.0}), "not_survived"),
        (FINE, Ending("success", 10.0, trained={"a-1": 9.0}), "not_survived"),
    ],
)
def test_each_defect_is_seen(events: list[dict[str, Any]], ending: Ending, column: str) -> None:
    verdict = judge(events, ending)
    assert getattr(verdict, column)
    assert not verdict.survived


@pytest.mark.parametrize("engine", ["simulated", "process"])
def test_a_seed_is_a_scenario_and_every_stretch_of_seeds_has_every_fault(engine: str) -> None:
    drawn = [draw(seed, engine) for seed in range(len(KINDS))]
    assert drawn == [draw(seed, engine) for seed in range(len(KINDS))]
    assert {scenario.faults[0] for scenario in drawn} == set(KINDS)
    assert all(scenario.strikes or scenario.blows or scenario.clears or scenario.operator for scenario in drawn)
