"""Old checkpoints go after a success: ``checkpoint_retention``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from airflow_spot.core.durations import human, seconds
from airflow_spot.core.plan import Plan
from airflow_spot.runs.stopping import Log

if TYPE_CHECKING:
    from airflow_spot.hooks.training import SageMakerSpotTrainingHook


def apply_retention(
    hook: SageMakerSpotTrainingHook, plan: Plan, description: Mapping[str, Any], retention: Any, log: Log
) -> None:
    """
    Delete old checkpoints. The result is delivered by then: what fails here is said, and fails nothing.

    :param description: of the job that completed, whose folder stays.
    :param retention: a duration: a folder that has not changed for so long goes.
    """
    if plan.checkpoint_scope == "exact":
        return
    from airflow_spot.aws.checkpoint_store import sweep

    try:
        own = str((description.get("CheckpointConfig") or {}).get("S3Uri"))
        age = timedelta(seconds=seconds("checkpoint_retention", retention))
        now = datetime.now(timezone.utc)
        for folder in sweep(hook.conn, hook.s3_hook.get_conn(), plan.checkpoint_base, own, age, now):
            log.info("Deleted the checkpoints in %s: unchanged for %s", folder.uri, human(age.total_seconds()))
    except Exception as error:
        log.warning("Old checkpoints could not be deleted: %s", error)
