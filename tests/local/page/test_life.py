"""A job's life, as the renderer draws it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from airflow_spot.local.page import life


def transitions(*steps: tuple[str, float]) -> list[dict[str, Any]]:
    """Statuses one after the other, each with the second at which it began; the last one goes on."""
    ends = [begun for _, begun in steps[1:]]
    found: list[dict[str, Any]] = [{"Status": status, "StartTime": 100.0 + begun} for status, begun in steps]
    for one, end in zip(found, ends, strict=False):
        one["EndTime"] = 100.0 + end
    return found


@pytest.mark.parametrize(
    ("steps", "starts"),
    [
        ([], [[0.0, None, None, None, None]]),
        ([("Starting", 0.0), ("Pending", 1.0)], [[0.0, None, None, None, None]]),
        ([("Starting", 0.0), ("Downloading", 5.0), ("Training", 8.0)], [[0.0, 5.0, 8.0, None, None]]),
        (
            [("Starting", 0.0), ("Downloading", 5.0), ("Training", 8.0), ("Interrupted", 20.0), ("Starting", 22.0)],
            [[0.0, 5.0, 8.0, 20.0, 20.0], [20.0, None, None, None, None]],
        ),
        (
            [("Starting", 0.0), ("Training", 8.0), ("Uploading", 30.0), ("Completed", 33.0)],
            [[0.0, 8.0, 8.0, None, 33.0]],
        ),
        (
            [("Starting", 0.0), ("Training", 8.0), ("Restarting", 30.0), ("Downloading", 33.0)],
            [[0.0, 8.0, 8.0, None, 30.0], [30.0, 33.0, None, None, None]],
        ),
    ],
)
def test_starts_are_read_from_transitions(steps: list[tuple[str, float]], starts: list[Any]) -> None:
    assert life.starts(transitions(*steps), 100.0) == starts


def test_files_that_are_uploaded_together_are_one_checkpoint(tmp_path: Path) -> None:
    lines: list[dict[str, Any]] = [
        {"time": 110.0, "event": "checkpoint", "action": "upload", "job": "a", "key": "1/model"},
        {"time": 110.4, "event": "checkpoint", "action": "upload", "job": "a", "key": "1/state"},
        {"time": 115.0, "event": "checkpoint", "action": "upload", "job": "a-2", "key": "1/model"},
        {"time": 120.0, "event": "checkpoint", "action": "delete", "job": "a", "key": "1/model"},
        {"time": 130.0, "event": "checkpoint", "action": "upload", "job": "a", "key": "2/model"},
        {"time": 140.0, "event": "state", "job": "a", "status": "checkpoint"},
    ]
    path = tmp_path / "audit.jsonl"
    path.write_text('{"cut": "checkpoint" "a"\n' + "".join(json.dumps(line) + "\n" for line in lines))
    assert life.checkpoints(path, "a", 100.0) == [[10.0, None], [30.0, None]]
    assert life.checkpoints(tmp_path / "none", "a", 100.0) == []
