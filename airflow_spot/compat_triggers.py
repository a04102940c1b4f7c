"""The differences between Airflow versions that a triggerer meets; each entry says when it can go."""

from __future__ import annotations

from typing import Any

from airflow import __version__ as airflow_version
from airflow.triggers.base import BaseTrigger

#: Whether Airflow tells a trigger of a user's hand on its task; below 3.3 the trigger has to find out, see
#: ``triggers/cancelled.py``: goes, with ``task_state``, when Airflow 3.2 is no longer supported.
TRIGGER_HAS_ON_KILL = hasattr(BaseTrigger, "on_kill")


def task_state(task_instance: Any) -> str | None:
    """
    Ask, in a triggerer below Airflow 3.3, for the state that a trigger's task has now. It blocks.

    :param task_instance: as the triggerer set it on the trigger.
    :return: the state; None for a task without one, and for one that is gone.
    """
    dag_id, run_id, task_id = task_instance.dag_id, task_instance.run_id, task_instance.task_id
    map_index = -1 if task_instance.map_index is None else task_instance.map_index
    if airflow_version.startswith("2."):  # a triggerer has the metadata database; goes when 2.11 is no longer supported
        from airflow.models.taskinstance import TaskInstance
        from airflow.utils.session import create_session
        from sqlalchemy import select

        which = (
            TaskInstance.dag_id == dag_id,
            TaskInstance.run_id == run_id,
            TaskInstance.task_id == task_id,
            TaskInstance.map_index == map_index,
        )
        with create_session() as session:
            found = session.scalar(select(TaskInstance.state).where(*which))
    else:
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

        states = RuntimeTaskInstance.get_task_states(
            dag_id=dag_id, run_ids=[run_id], task_ids=[task_id], map_index=map_index
        )
        found = (states.get(run_id) or {}).get(task_id if map_index < 0 else f"{task_id}_{map_index}")
    return None if found is None else str(getattr(found, "value", found))
