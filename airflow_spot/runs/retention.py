"""Old checkpoints go after a success: ``checkpoint_retention``."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from airflow_spot.aws.checkpoint_store import sweep
from airflow_spot.core.durations import human
from airflow_spot.core.identity import checkpoint_base
from airflow_spot.core.plan import Plan
from airflow_spot.observers import Log

if TYPE_CHECKING:
    from airflow_spot.hooks.training import SageMakerSpotTrainingHook


#: Seconds after which no further folder is begun with: the result waits meanwhile.
LONGEST_SECONDS = 60.0


def apply_retention(
    hook: SageMakerSpotTrainingHook, plan: Plan, description: Mapping[str, Any], retention: int, log: Log
) -> None:
    """
    Delete old checkpoints, before the result is delivered. What fails here is said, and fails nothing.

    :param description: of the job that completed, whose folder stays.
    :param retention: seconds: a folder that has not changed for so long goes.
    """
    try:
        own = str((description.get("CheckpointConfig") or {}).get("S3Uri"))
        base = checkpoint_base(own, plan.run)
        if base is None:
            return
        age = timedelta(seconds=retention)
        now = datetime.now(timezone.utc)
        until = time.monotonic() + LONGEST_SECONDS
        for folder in sweep(hook.conn, hook.s3_hook.get_conn(), base, own, age, now):
            log.info("Deleted the checkpoints in %s: unchanged for %s", folder.uri, human(age.total_seconds()))
            if time.monotonic() >= until:
                log.info("Old checkpoints that are left are deleted after the task's next success")
                return
    except Exception as error:
        log.warning("Old checkpoints could not be deleted: %s", error)
