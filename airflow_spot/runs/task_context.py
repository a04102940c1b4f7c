"""What Airflow's context says of a task instance: which run it is, and which try."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from airflow_spot.compat.dag_runs import began, not_before
from airflow_spot.core.identity import RunIdentity, short_hash
from airflow_spot.core.job_window import run_since
from airflow_spot.core.templates import is_template
from airflow_spot.core.try_marks import TryMark

if TYPE_CHECKING:
    from airflow_spot.compat.sdk import Context


def identity_of(context: Context, namespace: str) -> RunIdentity:
    """Return which run a task instance is."""
    ti = context["ti"]
    map_index = -1 if ti.map_index is None else ti.map_index
    since = run_since(ti.run_id, not_before(context.get("dag_run")), datetime.now(timezone.utc))
    return RunIdentity(namespace, ti.dag_id, ti.run_id, ti.task_id, map_index, since)


def try_of(context: Context, retries: int | None = None) -> TryMark:
    """
    Return which of its tries is under way.

    :param retries: the task's.
    """
    ti, dag_run = context["ti"], context.get("dag_run")
    clear_number = getattr(dag_run, "clear_number", None)
    return TryMark(
        ti.try_number,
        ti.max_tries,
        retries if isinstance(retries, int) else None,
        clear_number if isinstance(clear_number, int) else None,
        began(dag_run, datetime.now(timezone.utc)),
    )


def member_of(operator: Any, context: Context) -> str:
    """
    Return what tells the member of a mapped task: a hash of what ``map_index_template`` renders to.

    :return: empty where the task is not mapped, has no such template, or it renders only once the task has run.
    """
    template = getattr(operator, "map_index_template", None)
    if not template or (context["ti"].map_index or 0) < 0:
        return ""
    try:
        rendered = operator.render_template(template, context)
    except Exception:  # it names what the task itself puts into its context
        return ""
    return "" if not rendered or is_template(rendered) else short_hash(str(rendered))
