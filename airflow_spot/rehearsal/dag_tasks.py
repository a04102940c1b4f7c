"""A task in a DAG file: parsed by Airflow, and rendered as far as that goes without a DAG run."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from airflow_spot.core.parameter_errors import InvalidParameterError
from airflow_spot.rehearsal.subject import RehearsalError

_DATE = datetime(2026, 1, 1, tzinfo=timezone.utc)


def task_of(path: Path, task_id: str, dag_id: str | None = None) -> Any:
    """
    Return a task of a DAG file; of a mapped one its first member.

    :raises RehearsalError: there is none, or the file cannot be imported.
    """
    return unmapped(_task(dags_in(path), path, task_id, dag_id), task_id)


def dags_in(path: Path) -> list[Any]:
    """Return the DAGs of a file, which is run for it as Airflow does."""
    try:
        from airflow_spot.compat.dag_files import dags_of
    except ModuleNotFoundError as error:
        raise RehearsalError(
            f"a DAG file needs Airflow, and there is no module {error.name}: pip install apache-airflow. A script, or "
            "a request's JSON, needs none"
        ) from None
    spec = importlib.util.spec_from_file_location(f"rehearsed_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise RehearsalError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    loader, folder = spec.loader, str(path.absolute().parent)
    sys.modules[module.__name__] = module
    sys.path.insert(0, folder)
    try:
        return list(dags_of(module, lambda: loader.exec_module(module)))
    except Exception as error:
        raise RehearsalError(f"{path} cannot be imported: {type(error).__name__}: {error}") from error
    finally:
        sys.path.remove(folder)
        del sys.modules[module.__name__]


def _task(dags: list[Any], path: Path, task_id: str, dag_id: str | None) -> Any:
    chosen = [dag for dag in dags if dag_id in (None, dag.dag_id)]
    having = [dag for dag in chosen if task_id in dag.task_dict]
    if len(having) > 1:
        raise RehearsalError(f"--dag: one of {', '.join(sorted(dag.dag_id for dag in having))} has to be chosen")
    if not having:
        known = ", ".join(f"{dag.dag_id}: {', '.join(sorted(dag.task_dict))}" for dag in chosen)
        raise RehearsalError(f"{path}: no task {task_id!r}; there are {known or 'no DAGs'}")
    return having[0].task_dict[task_id]


def unmapped(task: Any, task_id: str) -> Any:
    """Return the first member of a mapped task, or the task itself."""
    if not hasattr(task, "expand_input"):
        return task
    of_function = getattr(task, "op_kwargs_expand_input", None)
    value = (of_function or task.expand_input).value
    try:
        first = {name: values[0] for name, values in value.items()} if isinstance(value, Mapping) else value[0]
        return task.unmap(first if of_function is None else {"op_kwargs": first})
    except InvalidParameterError as error:
        raise RehearsalError(f"task {task_id}: {error}") from None
    except Exception:
        # For each command that reads DAG files.
        why = f"task {task_id} is mapped over what is known only when it runs: give its config as a JSON file instead"
        raise RehearsalError(why) from None


class Rendering:
    """Renders values leaf by leaf. :ivar missing: what could not be rendered, and why."""

    def __init__(self, task: Any) -> None:
        self._task = task
        self._context = _context(task)
        self.missing: dict[str, str] = {}

    def value(self, value: Any, where: str) -> Any:
        if isinstance(value, Mapping):
            return {key: self.value(inner, f"{where}.{key}") for key, inner in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.value(inner, f"{where}.{index}") for index, inner in enumerate(value)]
        if isinstance(value, str) and not ("{{" in value or "{%" in value):
            return value
        if not isinstance(value, str) and not hasattr(value, "resolve"):
            return value
        try:
            return self._task.render_template(value, self._context)
        except Exception as error:
            self.missing[where] = str(error) or type(error).__name__
            return value if isinstance(value, str) else ""


class _NothingPushed:
    """A task instance in a run in which no task has pushed anything."""

    def __init__(self, task: Any) -> None:
        self.task_id, self.dag_id = task.task_id, task.dag_id
        self.run_id, self.try_number, self.map_index = "rehearsal", 1, -1

    def xcom_pull(self, task_ids: Any = None, **_: Any) -> Any:
        raise LookupError(f"it is an XCom of {task_ids}")


def _context(task: Any) -> dict[str, Any]:
    dag = task.get_dag()
    ti = _NothingPushed(task)
    params = dag.params.dump() if dag is not None else {}
    own: Any = getattr(task, "params", None)
    return {
        "ti": ti,
        "task_instance": ti,
        "task": task,
        "dag": dag,
        "params": {**params, **(own.dump() if hasattr(own, "dump") else {})},
        "run_id": ti.run_id,
        "logical_date": _DATE,
        "execution_date": _DATE,
        "data_interval_start": _DATE,
        "data_interval_end": _DATE,
        "ds": _DATE.date().isoformat(),
        "ds_nodash": _DATE.strftime("%Y%m%d"),
        "ts": _DATE.isoformat(),
        "ts_nodash": _DATE.strftime("%Y%m%dT%H%M%S"),
        "dag_run": SimpleNamespace(run_id=ti.run_id, run_after=_DATE, logical_date=_DATE, start_date=None, conf={}),
    }
