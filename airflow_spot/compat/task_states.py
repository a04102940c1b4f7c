"""How the state of a task instance is asked for, by version of Airflow; each entry says when it can go."""

from __future__ import annotations

from dataclasses import replace

from airflow import __version__ as airflow_version

from airflow_spot.core.identity import RunIdentity
from airflow_spot.core.orphans import TaskState


def in_database(run: RunIdentity) -> TaskState:
    """Ask the metadata database: where a command runs beside it, and everywhere in Airflow 2."""
    from airflow.models.dag import DagModel
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session

    with create_session() as session:
        found = (
            session.query(TaskInstance.state, TaskInstance.end_date, TaskInstance.try_number)
            .filter_by(dag_id=run.dag_id, run_id=run.run_id, task_id=run.task_id, map_index=run.map_index)
            .one_or_none()
        )
        known = found is not None or session.get(DagModel, run.dag_id) is not None
    if found is None:
        return TaskState(False, dag_known=known)
    return TaskState(True, str(found[0]) if found[0] else None, found[1], int(found[2] or 0))


def in_task(run: RunIdentity) -> TaskState:
    """
    Ask from within a worker. It blocks.

    Airflow 3's API for tasks says neither when a task instance ended nor which DAGs there are: a DAG that has no
    run left is one that is not known.
    """
    found = state_in_task(run)
    if found.exists or airflow_version.startswith("2."):
        return found
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    return replace(found, dag_known=RuntimeTaskInstance.get_dr_count(dag_id=run.dag_id) > 0)


def state_in_task(run: RunIdentity) -> TaskState:
    """Ask from within a worker or a triggerer for the state alone. It blocks."""
    if airflow_version.startswith("2."):  # they have the database; goes when 2.11 is no longer supported
        return in_database(run)
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    found = RuntimeTaskInstance.get_task_states(
        dag_id=run.dag_id, run_ids=[run.run_id], task_ids=[run.task_id], map_index=run.map_index
    )
    of_run, key = found.get(run.run_id) or {}, run.task_id if run.map_index < 0 else f"{run.task_id}_{run.map_index}"
    if key not in of_run:
        return TaskState(False)
    state = of_run[key]
    return TaskState(True, None if state is None else str(getattr(state, "value", state)))
