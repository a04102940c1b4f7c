"""Ledgers as a worker writes them. Run by the matrix too."""

from __future__ import annotations

import time
from typing import Any

JOB = "train-afspot-abcdefghij-1-1"


def summary(**changes: Any) -> dict[str, Any]:
    """Return the summary of a run that trains."""
    now = int(time.time())
    return {
        "v": 1,
        "key": "abcdefghij",
        "state": "training",
        "since": now - 60,
        "began": now - 120,
        "updated": now,
        "ended": None,
        "job": JOB,
        "type": "ml.m5.large",
        "count": 1,
        "spot": True,
        "generation": 1,
        "attempts": 1,
        "interruptions": 0,
        "interrupted": [],
        "waited": 10,
        "trained": 60,
        "billed": None,
        "twice": None,
        "cost": None,
        "on_demand_cost": None,
        "saved": None,
        "progress": [3, 10],
        "deadline": None,
        "forecast": None,
        **changes,
    }


def attempt(**changes: Any) -> dict[str, Any]:
    """Return an attempt that trains."""
    return {
        "generation": 1,
        "number": 1,
        "role": "attempt",
        "job": JOB,
        "type": "ml.m5.large",
        "count": 1,
        "spot": True,
        "rung": "ml.m5.large spot",
        "why": "first attempt",
        "tried_by": 1,
        "created": 0.0,
        "ended": None,
        "status": "InProgress",
        "secondary_status": "Training",
        "outcome": None,
        "label": "training",
        "reason": "",
        "exit_code": None,
        "interruptions": 0,
        "training_seconds": 60,
        "billable_seconds": None,
        "cost": None,
        "checkpoint_s3_uri": "s3://bucket/checkpoints",
        "starts": [[0.0, 10.0, 20.0, None, None]],
        "uploading": None,
        "ticks": [[30.0, 3]],
        "again": [],
        "more_starts": 0,
        "more_ticks": 0,
        **changes,
    }


def timeline(dag_id: str, run_id: str, task_id: str, map_index: int = -1, **changes: Any) -> dict[str, Any]:
    """Return the timeline of a run that trains."""
    return {
        "v": 1,
        "key": "abcdefghij",
        "dag_id": dag_id,
        "run_id": run_id,
        "task_id": task_id,
        "map_index": map_index,
        "try_number": 1,
        "region": "eu-west-1",
        "partition": "aws",
        "t0": time.time() - 120,
        "updated": 120.0,
        "state": "training",
        "since": 60.0,
        "reason": "",
        "generation": 1,
        "attempts": [attempt()],
        "decisions": [[0.0, "attempt 1 on ml.m5.large spot", "first attempt"]],
        "more_decisions": 0,
        "more_attempts": 0,
        "progress": None,
        "points": [],
        "model": None,
        "deadline": None,
        "forecast": None,
        "totals": {"attempts": 1},
        **changes,
    }
