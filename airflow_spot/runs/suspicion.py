"""Which checkpoint may be damaged, where a script failed straight after a restore: told in the task's error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_spot.aws.set_aside import find_newest
from airflow_spot.core.attempt import Attempt
from airflow_spot.core.durations import human
from airflow_spot.core.history import History
from airflow_spot.core.log_messages import clock
from airflow_spot.core.outcomes import Outcome
from airflow_spot.core.suspect import is_suspect, restored_start
from airflow_spot.runs.checkpoint_folder import PAGES

if TYPE_CHECKING:
    from airflow_spot.hooks.training import SageMakerSpotTrainingHook


def suspicion_of(hook: SageMakerSpotTrainingHook, history: History, attempt: Attempt, kind: Outcome | None) -> str:
    """
    Return which object is suspected, and the command that sets it aside; empty where nothing is.

    It fails nothing: a folder that cannot be seen has no suspects.
    """
    start = restored_start(history, attempt) if kind is Outcome.SCRIPT_ERROR else None
    uri = attempt.checkpoint_s3_uri
    if start is None or not uri:
        return ""
    try:
        found = find_newest(hook.s3_hook.get_conn(), uri, PAGES)
    except Exception:
        return ""
    if found is None or not is_suspect(found, start):
        return ""
    bucket = uri.removeprefix("s3://").partition("/")[0]
    return (
        f"It failed {human(start.trained(attempt.ended))} after it had started from its checkpoints, and wrote nothing "
        f"new. The newest of them may be damaged: s3://{bucket}/{found.newest.key}, of {clock(found.newest.written)}. "
        f"To resume from the one before it: airflow-spot checkpoints set-aside {uri}, and clear the task"
    )
