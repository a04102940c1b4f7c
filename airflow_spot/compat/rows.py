"""
Rows of Airflow's database that pages are made of, by version of Airflow; each entry says when it can go.

For a process that has the database: the API server, or Airflow 2's webserver. Values of XComs come as they are kept,
whatever XCom backend there is: JSON as objects, and what is none as it is.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, NamedTuple

from airflow import __version__ as airflow_version

#: A value of more characters is none of ours, and is not read.
_LARGEST = 1_000_000
#: How many ids one statement asks for: SQLite takes 999 values at most where it is old.
_CHUNK = 400


class TaskPlace(NamedTuple):
    """One task instance."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1


class XComRow(NamedTuple):
    """
    One XCom, and the state of its task instance.

    :param value: as the database has it.
    :param state: Airflow's; empty where there is none.
    """

    place: TaskPlace
    key: str
    written: float
    value: Any
    state: str


class TaskRow(NamedTuple):
    """One task instance, with its state and its newest try."""

    place: TaskPlace
    state: str
    try_number: int


@contextmanager
def session() -> Iterator[Any]:
    """Open a session of Airflow's own for reading."""
    from airflow.utils.session import create_session

    with create_session() as opened:
        yield opened


def xcoms_since(opened: Any, key: str, since: datetime, most: int) -> list[XComRow]:
    """Return the XComs of one key that were written since a moment, the newest first."""
    xcom, task = _models()
    found = (
        _xcoms(opened, xcom, task)
        .filter(xcom.key == key, xcom.timestamp >= since)
        .order_by(xcom.timestamp.desc())
        .limit(most)
    )
    return [_xcom_row(row) for row in found]


def places_with_xcoms(opened: Any, keys: Collection[str], dag_id: str, run_id: str) -> list[TaskPlace]:
    """Return the task instances of a DAG run that have an XCom of some keys, in order."""
    xcom, _ = _models()
    found = opened.query(xcom.task_id, xcom.map_index).filter(
        xcom.dag_id == dag_id, xcom.run_id == run_id, xcom.key.in_(list(keys))
    )
    return sorted(TaskPlace(dag_id, run_id, *one) for one in found.distinct())


def xcoms_of_run(
    opened: Any, keys: Collection[str], dag_id: str, run_id: str, places: Collection[TaskPlace]
) -> list[XComRow]:
    """Return the XComs of some keys of task instances of a DAG run: of a few hundred at most."""
    xcom, task = _models()
    found = _xcoms(opened, xcom, task).filter(
        xcom.dag_id == dag_id,
        xcom.run_id == run_id,
        xcom.key.in_(list(keys)),
        xcom.task_id.in_(sorted({place.task_id for place in places})),
        xcom.map_index.in_(sorted({place.map_index for place in places})),
    )
    return [row for row in map(_xcom_row, found) if row.place in places] if places else []


def tasks_of_run(opened: Any, dag_id: str, run_id: str, task_id: str) -> list[TaskRow]:
    """Return the instances of a task in a DAG run: one for each map index."""
    _, task = _models()
    found = opened.query(task.map_index, task.state, task.try_number).filter(
        task.dag_id == dag_id, task.run_id == run_id, task.task_id == task_id
    )
    return [
        TaskRow(TaskPlace(dag_id, run_id, task_id, index), _text(state), int(number or 0))
        for index, state, number in found
    ]


def tasks(opened: Any, places: Iterable[TaskPlace]) -> dict[TaskPlace, TaskRow]:
    """Return the task instances of those places that there are."""
    _, task = _models()
    wanted = set(places)
    runs = sorted({(place.dag_id, place.run_id) for place in wanted})
    rows: dict[TaskPlace, TaskRow] = {}
    for start in range(0, len(runs), _CHUNK):
        chunk = runs[start : start + _CHUNK]
        found = opened.query(
            task.dag_id, task.run_id, task.task_id, task.map_index, task.state, task.try_number
        ).filter(task.dag_id.in_(sorted({dag for dag, _ in chunk})), task.run_id.in_(sorted({run for _, run in chunk})))
        names = sorted({place.task_id for place in wanted})
        if len(names) <= _CHUNK:  # else the others of these runs are read with them
            found = found.filter(task.task_id.in_(names))
        for dag_id, run_id, task_id, index, state, number in found:
            place = TaskPlace(dag_id, run_id, task_id, index)
            if place in wanted:
                rows[place] = TaskRow(place, _text(state), int(number or 0))
    return rows


def has_run(opened: Any, dag_id: str, run_id: str) -> bool:
    """Return whether there is such a DAG run."""
    from airflow.models.dagrun import DagRun

    model: Any = DagRun
    return opened.query(model.id).filter(model.dag_id == dag_id, model.run_id == run_id).first() is not None


def owners_and_tags(
    opened: Any, dag_ids: Collection[str]
) -> tuple[dict[str, tuple[str, ...]], dict[str, tuple[str, ...]]]:
    """Return the owners and the tags of DAGs, by DAG id."""
    from airflow.models.dag import DagModel, DagTag

    dag, tag = _any(DagModel), _any(DagTag)
    owners: dict[str, tuple[str, ...]] = {}
    tags: dict[str, tuple[str, ...]] = {}
    wanted = sorted(dag_ids)
    for start in range(0, len(wanted), _CHUNK):
        chunk = wanted[start : start + _CHUNK]
        for dag_id, names in opened.query(dag.dag_id, dag.owners).filter(dag.dag_id.in_(chunk)):
            owners[dag_id] = tuple(sorted({name.strip() for name in (names or "").split(",")} - {""}))
        for dag_id, name in opened.query(tag.dag_id, tag.name).filter(tag.dag_id.in_(chunk)):
            tags[dag_id] = tuple(sorted({*tags.get(dag_id, ()), name}))
    return owners, tags


def keeps_values_elsewhere() -> bool:
    """Return whether this deployment has an XCom backend of its own, which may keep values outside of the database."""
    from airflow.configuration import conf

    backend = conf.get("core", "xcom_backend", fallback="") or ""
    return bool(backend) and not backend.endswith(".BaseXCom")


def as_json(value: Any) -> Any:
    """
    Return a kept value as JSON has it.

    :raises ValueError: it is no JSON, such as the pickles of an old Airflow 2.
    """
    try:
        return json.loads(value) if isinstance(value, (str, bytes)) else value
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def add_audit(opened: Any, event: str, place: TaskPlace, user: str, facts: dict[str, Any]) -> None:
    """Write into Airflow's audit log what a user asks of a task instance."""
    from airflow.models.log import Log

    entry: Any = Log(
        event=event,
        task_instance=None,
        owner=user,
        owner_display_name=user,
        extra=json.dumps(facts),
        dag_id=place.dag_id,
        run_id=place.run_id,
        task_id=place.task_id,
    )
    entry.run_id, entry.map_index = place.run_id, place.map_index
    opened.add(entry)


def _models() -> tuple[Any, Any]:
    from airflow.models.taskinstance import TaskInstance

    if airflow_version.startswith("2."):  # goes when 2.11 is no longer supported
        from airflow.models.xcom import BaseXCom as Model
    else:
        from airflow.models.xcom import XComModel as Model
    return Model, TaskInstance


def _xcoms(opened: Any, xcom: Any, task: Any) -> Any:
    from sqlalchemy import Text, and_, cast

    # As text where the database has JSON: one value that cannot be decoded must not be the end of all rows.
    value = xcom.value if airflow_version.startswith("2.") else cast(xcom.value, Text)
    return opened.query(
        xcom.dag_id, xcom.run_id, xcom.task_id, xcom.map_index, xcom.key, xcom.timestamp, value, task.state
    ).outerjoin(
        task,
        and_(
            task.dag_id == xcom.dag_id,
            task.run_id == xcom.run_id,
            task.task_id == xcom.task_id,
            task.map_index == xcom.map_index,
        ),
    )


def _xcom_row(row: Any) -> XComRow:
    dag_id, run_id, task_id, index, key, written, value, state = row
    return XComRow(TaskPlace(dag_id, run_id, task_id, index), key, written.timestamp(), _read(value), _text(state))


def _read(value: Any) -> Any:
    if isinstance(value, (memoryview, bytearray)):  # PostgreSQL's bytes
        value = bytes(value)
    if isinstance(value, (str, bytes)) and len(value) > _LARGEST:
        return ""
    try:
        return as_json(value)
    except ValueError:
        return value


def _text(state: Any) -> str:
    return "" if state is None else str(getattr(state, "value", state))


def _any(model: Any) -> Any:
    return model
