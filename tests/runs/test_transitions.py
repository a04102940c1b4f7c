"""What is told again of a job at a resume."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from airflow_spot.aws.clock import AwsClock
from airflow_spot.core.attempt import Attempt
from airflow_spot.core.events import Event, Transitioned
from airflow_spot.runs.transitions import REPEATED_TRANSITIONS, TransitionLog

JOB = "train-afspot-abcdefghij-1-1"
BEGIN = datetime(2026, 11, 1, tzinfo=timezone.utc)


class Log:
    """A task's log."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, message: str, *args: Any) -> None:
        self.lines.append(message % args)

    warning = info


def job(interruptions: int) -> dict[str, Any]:
    """A job that was interrupted so often."""
    statuses = ["Starting", "Downloading", "Training"] + ["Interrupted", "Starting", "Training"] * interruptions
    times = (BEGIN + timedelta(minutes=minute) for minute in range(len(statuses)))
    return {
        "TrainingJobName": JOB,
        "TrainingJobStatus": "InProgress",
        "SecondaryStatus": statuses[-1],
        "SecondaryStatusTransitions": [
            {"Status": status, "StartTime": at, "StatusMessage": ""} for status, at in zip(statuses, times, strict=True)
        ],
    }


def repeated(interruptions: int) -> tuple[list[Event], list[str], int]:
    """What is told, what the log says beside, and how many transitions count as told."""
    description, told, log = job(interruptions), list[Event](), Log()

    class Hook:
        clock = AwsClock()

        def find(self, name: str) -> dict[str, Any]:
            return description

    story = TransitionLog(Hook(), told.append, log, print_log=False)  # type: ignore[arg-type]
    story.repeat(Attempt.from_description(description, {}))
    return told, log.lines, story.seen(JOB)


def test_all_of_a_job_with_few() -> None:
    told, lines, seen = repeated(2)
    assert len(told) == seen == 9
    assert all(isinstance(event, Transitioned) and event.repeated for event in told)
    assert lines == []


def test_the_newest_of_a_job_with_many() -> None:
    told, lines, seen = repeated(87)
    assert (len(told), seen) == (REPEATED_TRANSITIONS, 3 + 3 * 87)
    assert isinstance(told[-1], Transitioned) and told[-1].status == "Training"
    assert lines == ["attempt 1: 224 earlier transitions are not shown again"]
