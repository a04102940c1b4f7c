"""The differences between Airflow versions that a triggerer meets; each entry says when it can go."""

from __future__ import annotations

from typing import Any

from airflow.triggers.base import BaseTrigger

from airflow_spot.compat.task_states import state_in_task
from airflow_spot.core.identity import RunIdentity

#: Whether Airflow tells a trigger of a user's hand on its task; below 3.3 the trigger has to find out, see
#: ``triggers/cancelled.py``: goes, with ``task_state``, when Airflow 3.2 is no longer supported.
TRIGGER_HAS_ON_KILL = hasattr(BaseTrigger, "on_kill")


def task_state(task_instance: Any) -> str | None:
    """
    Ask, in a triggerer below Airflow 3.3, for the state that a trigger's task has now. It blocks.

    :param task_instance: as the triggerer set it on the trigger.
    :return: the state; None for a task without one, and for one that is gone.
    """
    map_index = -1 if task_instance.map_index is None else task_instance.map_index
    # Of whichever namespace: it is asked for by its ids.
    run = RunIdentity("", task_instance.dag_id, task_instance.run_id, task_instance.task_id, map_index)
    return state_in_task(run).state
