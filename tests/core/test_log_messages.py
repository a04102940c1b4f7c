"""The log's lines tell what happened and no secret."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from airflow_spot.core.history import Attempt, History
from airflow_spot.core.log_messages import attempt_line, closing_lines, transition_line, transition_lines
from airflow_spot.core.outcomes import Outcome
from tests.core.cases import NOW, attempt, description, history


@pytest.mark.parametrize(
    ("transition", "line"),
    [
        ({"Status": "Training", "StartTime": NOW}, "2026-01-02 03:04:05 job: Training"),
        (
            {"Status": "Training", "StartTime": NOW, "StatusMessage": " Training image download completed. "},
            "2026-01-02 03:04:05 job: Training (Training image download completed.)",
        ),
        ({"Status": "Starting", "StatusMessage": ""}, "--:--:-- job: Starting"),
        (
            {"Status": "Training", "StartTime": NOW.astimezone(timezone(timedelta(hours=9)))},
            "2026-01-02 03:04:05 job: Training",
        ),
    ],
)
def test_a_transition_is_told_with_its_time(transition: dict[str, Any], line: str) -> None:
    assert transition_line("job", transition) == line


@pytest.mark.parametrize(
    ("status", "says"),
    [
        ("Interrupted", "took the spot instance back"),
        ("MaxWaitTimeExceeded", "no spot capacity within max_wait"),
        ("MaxRuntimeExceeded", "max_run is used up"),
    ],
)
def test_what_matters_is_explained_whatever_the_message(status: str, says: str) -> None:
    assert says in transition_line("job", {"Status": status, "StatusMessage": "", "StartTime": NOW})
    assert says in transition_line("job", {"Status": status, "StatusMessage": "Other words", "StartTime": NOW})


def test_only_what_is_new_is_told_in_order() -> None:
    transitions = [{"Status": status, "StartTime": NOW} for status in ("Starting", "Training", "Interrupted")]
    assert [line.split(": ")[1] for line in transition_lines("job", transitions, 1)] == [
        "Training",
        "Interrupted (SageMaker took the spot instance back; it restarts the job from the newest checkpoint)",
    ]
    assert transition_lines("job", transitions, 3) == transition_lines("job", transitions, 9) == []


@pytest.mark.parametrize(
    ("told", "parts"),
    [
        (attempt(1, None), ["attempt 1", "on ml.g5.xlarge spot: in progress"]),
        (attempt(2, Outcome.COMPLETED, interruptions=1), ["completed; 1 interruption"]),
        (attempt(2, Outcome.COMPLETED, interruptions=2), ["2 interruptions"]),
        (
            attempt(2, Outcome.COMPLETED, training_seconds=3_600, billable_seconds=90),
            ["trained 60 min 00 s, billed 90 s"],
        ),
        (attempt(1, Outcome.NO_CAPACITY, failure_reason="CapacityError: none"), ["no capacity; CapacityError: none"]),
    ],
)
def test_an_attempt_is_told_in_one_line(told: Attempt, parts: list[str]) -> None:
    line = attempt_line(told)
    assert "\n" not in line
    assert all(part in line for part in parts)


def test_the_end_adds_everything_up() -> None:
    past = History(
        1,
        (
            attempt(1, Outcome.CAPACITY_TIMEOUT, training_seconds=100, billable_seconds=40, interruptions=2),
            attempt(2, Outcome.COMPLETED, training_seconds=100, billable_seconds=20, interruptions=1),
        ),
    )
    *attempts, whole = closing_lines(past)
    assert attempts == [attempt_line(each) for each in past.attempts]
    assert whole == "2 attempts, 3 interruptions; trained 3 min 20 s, billed 60 s: 70.0 % saved against on-demand"


def test_the_end_of_a_run_that_never_trained() -> None:
    assert (
        list(closing_lines(history(Outcome.NO_CAPACITY)))[-1] == "1 attempt, 0 interruptions; trained 0 s, billed 0 s"
    )


def test_no_line_holds_a_secret() -> None:
    """The description that the lines are made from has both, and the script's own words may hold them."""
    for status, reason in (("Completed", ""), ("Failed", "AlgorithmError: login with hunter2 and s3cr3t failed")):
        said = Attempt.from_description(
            description(
                TrainingJobStatus=status,
                FailureReason=reason,
                SecondaryStatusTransitions=[{"Status": "Training", "StartTime": datetime.now(timezone.utc)}],
            ),
            {},
        )
        told = "\n".join([attempt_line(said), *closing_lines(History(1, (said,)))])
        assert "hunter2" not in told
        assert "s3cr3t" not in told
