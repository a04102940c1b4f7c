"""The judge sees each defect that it is there for."""

from __future__ import annotations

from dataclasses import replace
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
    """A checkpoint that was written, or resumed from."""
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


# ---- roles

ONE, TWO, STANDBY = (f"a-afspot-{'a' * 10}-1-{number}" for number in ("1", "2", "s1"))
PROBE, SECOND_PROBE = (f"a-afspot-{'a' * 10}-1-p{number}" for number in (1, 2))
NEXT, OTHERS = f"a-afspot-{'a' * 10}-2-1", f"b-afspot-{'b' * 10}-1-1"


def life(job: str, begun: float, ended: float, end: str = "Completed") -> list[dict[str, Any]]:
    """A job from its create to its end."""
    return [state(job, "InProgress", begun), state(job, end, ended)]


def in_order(*lives: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Several lives, as the audit log has them."""
    return sorted((event for each in lives for event in each), key=lambda event: event["time"])


def test_one_probe_beside_the_attempt_is_no_second_attempt() -> None:
    events = in_order(life(ONE, 1, 9), life(PROBE, 2, 3), life(SECOND_PROBE, 4, 5))
    assert judge(events, Ending("success", 10.0, trained={ONE: 10.0})).clean


def test_two_live_attempts_are_seen() -> None:
    events = in_order(life(ONE, 1, 9, "Stopped"), life(TWO, 2, 10))
    (found,) = judge(events, Ending("success", 10.0, trained={TWO: 10.0})).duplicate_jobs
    assert "two live attempts" in found


def test_two_live_probes_are_seen() -> None:
    events = in_order(life(ONE, 1, 9), life(PROBE, 2, 5, "Stopped"), life(SECOND_PROBE, 3, 4, "Stopped"))
    (found,) = judge(events, Ending("success", 10.0, trained={ONE: 10.0})).duplicate_jobs
    assert "two live probes" in found


@pytest.mark.parametrize("other", [PROBE, STANDBY])
def test_two_live_jobs_of_one_checkpoint_folder_are_seen_whatever_their_roles(other: str) -> None:
    events = in_order(life(ONE, 1, 9), life(other, 2, 5, "Stopped"))
    apart = Ending("success", 10.0, trained={ONE: 10.0}, folders={ONE: URI, other: f"{URI}s"})
    assert judge(events, apart).clean
    (found,) = judge(events, replace(apart, folders={ONE: URI, other: URI})).duplicate_jobs
    assert "both write to" in found


def test_one_job_after_the_other_may_write_to_a_folder() -> None:
    events = in_order(life(ONE, 1, 3, "Stopped"), life(TWO, 4, 9))
    assert judge(events, Ending("success", 10.0, trained={TWO: 10.0}, folders={ONE: URI, TWO: URI})).clean


def test_a_run_that_keeps_its_own_checkpoints_has_no_folder_and_begins_with_nothing() -> None:
    events = in_order(life(ONE, 1, 3, "Stopped"), life(TWO, 4, 9))
    started = {"event": "process", "action": "started", "start": 1}
    events += [{**started, "job": job, "time": time} for job, time in ((ONE, 1), (TWO, 4))]
    fine = Ending("success", 10.0, trained={TWO: 10.0}, own=True)
    assert judge(events, fine).clean
    (found,) = judge(events, replace(fine, folders={TWO: URI})).lost_checkpoints
    assert "keeps its checkpoints in" in found


def test_a_probe_that_completed_is_no_result() -> None:
    events = in_order(life(ONE, 1, 9, "Failed"), life(PROBE, 2, 5))
    verdict = judge(events, Ending("success", 10.0))
    assert verdict.false_success
    assert not verdict.duplicate_jobs


def test_a_probe_after_the_result_is_none_too_many_and_one_that_is_left_is_abandoned() -> None:
    events = [*life(ONE, 1, 9), state(PROBE, "InProgress", 10)]
    verdict = judge(events, Ending("success", 10.0, trained={ONE: 10.0}))
    assert verdict.abandoned
    assert not verdict.duplicate_jobs


# ---- clears, and whose a checkpoint is


def test_a_clear_that_trains_anew_needs_a_job_of_its_own() -> None:
    events = in_order(life(ONE, 1, 9), life(NEXT, 20, 30))
    ending = Ending("success", 10.0, (15.0,), {ONE: 10.0, NEXT: 10.0}, restarts=(15.0,))
    assert judge(events, ending).clean
    assert judge(events[:2], replace(ending, wanted=1)).false_success


def test_a_run_that_was_cleared_before_its_result_has_one_result() -> None:
    events = in_order(life(ONE, 1, 5, "Stopped"), life(NEXT, 20, 30))
    assert judge(events, Ending("success", 10.0, (4.0,), {NEXT: 10.0}, wanted=1, restarts=(4.0,))).clean


@pytest.mark.parametrize("other", [NEXT, OTHERS])
def test_a_folder_of_two_generations_or_runs_is_seen(other: str) -> None:
    events = in_order(life(ONE, 1, 9), life(other, 20, 30))
    ending = Ending("success", 10.0, (15.0,), {ONE: 10.0, other: 10.0}, folders={ONE: URI, other: URI})
    assert judge(events, ending).lost_checkpoints
    assert judge(events, replace(ending, shared=True)).clean


def test_a_start_from_more_than_its_own_folder_held_is_seen() -> None:
    events = [FINE[0], progress("a-1", "resumed", 3), started("a-1", 1), FINE[3]]
    assert judge(events, GOOD).lost_checkpoints
    assert judge(events, replace(GOOD, seed=("s3://bucket/seed", 3.0))).clean


def test_a_start_without_its_seed_is_seen() -> None:
    assert judge(FINE, replace(GOOD, seed=("s3://bucket/seed", 3.0))).lost_checkpoints


def test_a_job_that_writes_into_its_seed_is_seen() -> None:
    events = [FINE[0], progress("a-1", "resumed", 3), started("a-1", 1), FINE[3]]
    assert judge(events, replace(GOOD, seed=(URI, 3.0), folders={"a-1": URI})).lost_checkpoints


@pytest.mark.parametrize(("kept", "lost"), [({URI: 10.0}, False), ({URI: 4.0}, True), ({"s3://bucket/b": 1.0}, True)])
def test_a_folder_that_holds_less_in_the_end_is_seen(kept: dict[str, float], lost: bool) -> None:
    assert bool(judge(FINE, replace(GOOD, kept=kept)).lost_checkpoints) == lost


@pytest.mark.parametrize("engine", ["simulated", "process"])
def test_a_seed_is_a_scenario_and_every_stretch_of_seeds_has_every_fault(engine: str) -> None:
    drawn = [draw(seed, engine) for seed in range(len(KINDS))]
    assert drawn == [draw(seed, engine) for seed in range(len(KINDS))]
    assert {scenario.faults[0] for scenario in drawn} == set(KINDS)
    assert all(scenario.strikes or scenario.blows or scenario.clears or scenario.operator for scenario in drawn)
