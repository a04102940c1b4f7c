"""What an interrupted job's times say, by transitions such as were recorded or are assumed."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from airflow_spot.verify.setups.spot import _note_counting, nearest, stays_of

BEGIN = datetime(2026, 1, 1, tzinfo=timezone.utc)


def job(*steps: tuple[str, float], **members: Any) -> dict[str, Any]:
    """A description whose transitions begin at these seconds, each ending where the next begins."""
    ends = [at for _, at in steps[1:]] + [steps[-1][1]]
    transitions = [
        {"Status": status, "StartTime": BEGIN + timedelta(seconds=at), "EndTime": BEGIN + timedelta(seconds=end)}
        for (status, at), end in zip(steps, ends, strict=True)
    ]
    return {"SecondaryStatusTransitions": transitions, "SecondaryStatus": steps[-1][0], **members}


INTERRUPTED = (
    ("Starting", 0.0),
    ("Downloading", 100.0),
    ("Training", 130.0),
    ("Interrupted", 300.0),
    ("Starting", 310.0),
    ("Downloading", 450.0),
    ("Training", 470.0),
    ("Stopping", 800.0),
    ("Uploading", 900.0),
    ("MaxRuntimeExceeded", 910.0),
)


def test_each_stay_on_instances_is_measured() -> None:
    assert stays_of(job(*INTERRUPTED)) == ([200.0, 350.0], 700.0)
    assert stays_of(job(("Starting", 0), ("Stopping", 5), ("Stopped", 6))) == ([], 0.0)


@pytest.mark.parametrize(
    ("training", "counts"),
    [
        (550, "all stays"),
        (556, "all stays"),
        (350, "the last stay"),
        (650, "all stays and Stopping"),
        (700, "the gaps too"),
    ],
)
def test_what_the_training_time_counts(training: int, counts: str) -> None:
    facts: dict[str, Any] = {}
    _note_counting(facts, job(*INTERRUPTED, TrainingTimeInSeconds=training), 600)
    assert facts["training_time_counts"] == counts


@pytest.mark.parametrize(("limit", "counts"), [(550, "all stays"), (350, "the last stay"), (700, "the gaps too")])
def test_what_the_limit_counts(limit: int, counts: str) -> None:
    facts: dict[str, Any] = {}
    _note_counting(facts, job(*INTERRUPTED), limit)
    assert facts["max_runtime_counts"] == counts
    assert "training_time_counts" not in facts


def test_a_limit_that_did_not_end_the_job_says_nothing() -> None:
    facts: dict[str, Any] = {}
    _note_counting(facts, job(*INTERRUPTED[:-1], ("Stopped", 910.0), TrainingTimeInSeconds=600), 600)
    assert "max_runtime_counts" not in facts


def test_the_nearest_number() -> None:
    assert nearest(5, {"a": 1, "b": 6, "c": 40}) == "b"
