"""Jobs with the name, tags and Environment that the operator gives them, created without it."""

from __future__ import annotations

from typing import Any

from airflow_spot.core.identity import JobName, RunIdentity, checkpoint_prefix
from airflow_spot.core.marks import ENV_RUN, ENV_TRY, run_tags
from tests.local.jobs import BUCKET, Jobs

SLEEPS = "import time; print('asleep', flush=True); time.sleep(3600)"
BASE = f"s3://{BUCKET}/ours"


def start_ours(jobs: Jobs, run: RunIdentity, *, generation: int = 1, attempt: int = 1, **overrides: Any) -> str:
    """Create a job of a run, one that sleeps unless there is another ``script``; returns its name."""
    return jobs.start(
        overrides.pop("script", SLEEPS),
        TrainingJobName=str(JobName("digits", run.key, generation, attempt)),
        Environment={ENV_RUN: run.key, ENV_TRY: "1 0", "SECRET": "swordfish"},
        Tags=run_tags(run, 1),
        **{"CheckpointConfig": {"S3Uri": checkpoint_prefix(BASE, run, generation)}, **overrides},
    )
