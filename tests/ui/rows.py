"""Rows as Airflow has them, on whichever version: DAGs, DAG runs, task instances, XComs. Run by the matrix too."""

from __future__ import annotations

import json
import uuid
from datetime import datetime, timezone
from typing import Any

from airflow import __version__ as airflow_version

AIRFLOW_2 = airflow_version.startswith("2.")
NOW = datetime.now(timezone.utc)


def migrate() -> None:
    """Make the database of this Airflow home, as `airflow db migrate` does."""
    from airflow.utils.db import initdb

    initdb()


class Database:
    """What tests put into Airflow's database."""

    def __init__(self) -> None:
        from airflow.utils.session import create_session

        self.session: Any = create_session

    def dag(self, dag_id: str, owners: str = "airflow", tags: tuple[str, ...] = ()) -> None:
        """Add a DAG that was parsed."""
        from airflow.models.dag import DagModel, DagTag

        more: dict[str, Any] = {}
        if AIRFLOW_2:
            more = {"is_subdag": False, "is_active": True, "max_active_tasks": 16, "max_consecutive_failed_dag_runs": 0}
        else:
            more = {"bundle_name": self._bundle(), "is_stale": False}
        with self.session() as session:
            _insert(session, DagModel, dag_id=dag_id, owners=owners, is_paused=False, fileloc="/x.py", **more)
            for tag in tags:
                _insert(session, DagTag, dag_id=dag_id, name=tag)

    def run(self, dag_id: str, run_id: str) -> None:
        """Add a DAG run."""
        from airflow.models.dagrun import DagRun

        more = {"execution_date": datetime.now(timezone.utc)} if AIRFLOW_2 else {"run_after": NOW}
        with self.session() as session:
            _insert(session, DagRun, dag_id=dag_id, run_id=run_id, state="running", run_type="manual", **more)

    def task(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1, state: str | None = "running") -> None:
        """Add a task instance."""
        from airflow.models.taskinstance import TaskInstance

        more: dict[str, Any] = {} if AIRFLOW_2 else {"id": _id(TaskInstance)}
        with self.session() as session:
            _insert(
                session,
                TaskInstance,
                dag_id=dag_id,
                run_id=run_id,
                task_id=task_id,
                map_index=map_index,
                state=state,
                try_number=1,
                pool="default_pool",
                **more,
            )

    def state(self, dag_id: str, run_id: str, task_id: str, state: str | None) -> None:
        """Have a task instance be in another state."""
        from airflow.models.taskinstance import TaskInstance

        model: Any = TaskInstance
        with self.session() as session:
            session.query(model).filter_by(dag_id=dag_id, run_id=run_id, task_id=task_id).update({"state": state})

    def xcom(
        self, place: tuple[str, str, str], key: str, value: Any, map_index: int = -1, written: datetime | None = None
    ) -> None:
        """
        Write an XCom over what is there, as the worker of this version has it written.

        :param place: DAG id, run id, task id.
        """
        from airflow.models.dagrun import DagRun

        dag_id, run_id, task_id = place
        model, run = xcom_model(), _any(DagRun)
        with self.session() as session:
            ids = {"dag_id": dag_id, "run_id": run_id, "task_id": task_id, "map_index": map_index, "key": key}
            session.query(model).filter_by(**ids).delete()
            number = session.query(run.id).filter_by(dag_id=dag_id, run_id=run_id).scalar()
            _insert(
                session,
                model,
                dag_run_id=number,
                value=value,
                timestamp=written or datetime.now(timezone.utc),
                **ids,
            )

    def delete_run(self, dag_id: str, run_id: str) -> None:
        """Delete a DAG run with all that is of it."""
        from airflow.models.dagrun import DagRun
        from airflow.models.taskinstance import TaskInstance

        with self.session() as session:
            for model in (xcom_model(), TaskInstance, DagRun):
                session.query(model).filter_by(dag_id=dag_id, run_id=run_id).delete()

    def audit(self) -> list[tuple[str, str, str, str, int | None, str]]:
        """Return event, DAG, run, task, map index and owner of the audit log's entries of this package."""
        from airflow.models.log import Log

        one: Any = Log
        with self.session() as session:
            found = session.query(one.event, one.dag_id, one.run_id, one.task_id, one.map_index, one.owner)
            return [tuple(row) for row in found.filter(one.event.like("airflow_spot%")).order_by(one.id)]

    def clear(self) -> None:
        """Delete everything that was added."""
        from airflow.models.dag import DagModel, DagTag
        from airflow.models.dagrun import DagRun
        from airflow.models.log import Log
        from airflow.models.taskinstance import TaskInstance

        with self.session() as session:
            for model in (xcom_model(), TaskInstance, DagRun, DagTag, DagModel, Log):
                session.query(model).delete()

    def _bundle(self) -> str:
        from airflow.models.dagbundle import DagBundleModel

        model: Any = DagBundleModel
        with self.session() as session:
            if session.query(model).filter_by(name="tests").first() is None:
                _insert(session, model, name="tests", active=True)
        return "tests"


def xcom_model() -> Any:
    """Return the model of XComs."""
    from airflow.models import xcom

    module: Any = xcom
    return module.BaseXCom if AIRFLOW_2 else module.XComModel


def insert_many(model: Any, rows: list[dict[str, Any]]) -> None:
    """Insert many rows that have the same columns."""
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session

    if model is DagRun:
        at = "execution_date" if AIRFLOW_2 else "run_after"
        rows = [{**row, at: row["at"], "state": "success", "run_type": "manual"} for row in rows]
        rows = [{name: value for name, value in row.items() if name != "at"} for row in rows]
    if model is TaskInstance:
        rows = [{"map_index": -1, "try_number": 1, "pool": "default_pool", **row} for row in rows]
        rows = [{name: value for name, value in row.items() if value is not None} for row in rows]
    table = model.__table__
    with create_session() as session:
        for start in range(0, len(rows), 1_000):
            filled = [_filled(table, row) for row in rows[start : start + 1_000]]
            session.execute(table.insert(), filled)


def task_id_of(model: Any) -> Any:
    """Return an id for a task instance, where this version has any."""
    return None if AIRFLOW_2 else _id(model)


def _id(model: Any) -> Any:
    made = uuid.uuid4()
    return made if "uuid" in type(model.__table__.c.id.type).__name__.lower() else str(made)


def _insert(session: Any, model: Any, **values: Any) -> None:
    """Insert a row with what it needs and has no default for."""
    table = model.__table__
    session.execute(table.insert().values(**_filled(table, values)))


def _filled(table: Any, values: dict[str, Any]) -> dict[str, Any]:
    values = dict(values)
    if AIRFLOW_2 and "value" in values and not isinstance(values["value"], (bytes, type(None))):
        values["value"] = json.dumps(values["value"]).encode()
    for column in table.c:
        is_needed = not column.nullable and column.default is None and column.server_default is None
        if is_needed and column.name not in values and not (column.primary_key and column.autoincrement is not False):
            kind = column.type.python_type if hasattr(column.type, "python_type") else str
            values[column.name] = {int: 0, str: "", bool: False, float: 0.0}.get(kind, NOW)
    return values


def _any(model: Any) -> Any:
    return model
