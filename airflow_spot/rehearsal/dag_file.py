"""A training task in a DAG file, as far as it matters to its script: parsed by Airflow, and rendered."""

from __future__ import annotations

import importlib.util
import inspect
import json
import sys
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from airflow_spot.core.parameter_errors import InvalidParameterError
from airflow_spot.core.plan import DEFAULT_CHECKPOINT_PATH
from airflow_spot.rehearsal.subject import RehearsalError, Subject, from_request

#: What of a config matters to a script: the rest need not be known.
_WANTED = ("AlgorithmSpecification", "HyperParameters", "Environment", "InputDataConfig", "CheckpointConfig")
_DATE = datetime(2026, 1, 1, tzinfo=timezone.utc)


def from_dag_file(
    path: Path,
    task_id: str,
    dag_id: str | None = None,
    *,
    source_dir: str | Path | None = None,
    requirements: str | Path | None = None,
    channels: Mapping[str, str | Path] | None = None,
    hyperparameters: Mapping[str, Any] | None = None,
) -> Subject:
    """
    Return what a training task of a DAG file runs.

    What its templates need and nobody here knows (XComs, Variables, connections) may be missing, unless it is a
    hyperparameter that ``hyperparameters`` does not give.

    :param hyperparameters: these go before the task's own.
    :raises RehearsalError: there is no such task, or what its script needs is not known.
    """
    task = _unmapped(_task(_dags(path), path, task_id, dag_id), task_id)
    rendering = _Rendering(task)
    config = rendering.value(getattr(task, "config", None), "config")
    if isinstance(config, str):
        try:
            config = json.loads(config)
        except ValueError:
            raise RehearsalError(f"task {task_id}: its config is a template that cannot be rendered here") from None
    if not isinstance(config, Mapping):
        raise RehearsalError(f"task {task_id} has no config of a training job")
    given = dict(hyperparameters or {})
    for where, why in rendering.missing.items():
        section, _, name = where.removeprefix("config.").partition(".")
        if section == "HyperParameters" and name not in given:
            raise RehearsalError(
                f"hyperparameter {name} cannot be rendered here ({why}): give --hyperparameter {name}="
            )
        if section in ("AlgorithmSpecification", "CheckpointConfig", "Environment"):
            raise RehearsalError(f"{where} of task {task_id} cannot be rendered here: {why}")
    request = {name: config[name] for name in (*_WANTED, "ResourceConfig") if config.get(name)}
    local_path = rendering.value(getattr(task, "checkpoint_local_path", None), "checkpoint_local_path")
    if local_path:
        request["CheckpointConfig"] = {**request.get("CheckpointConfig", {}), "LocalPath": local_path}
    program = rendering.value(getattr(task, "entry_point", None), "entry_point")
    folder = source_dir or rendering.value(getattr(task, "source_dir", None), "source_dir") or _uploaded(config)
    if folder is not None and str(folder).startswith("s3://"):
        raise RehearsalError(f"its code is in S3, {folder}: give --source-dir DIR, where it is on this machine")
    subject = from_request(
        request,
        task_id,
        source_dir=None if folder is None else Path(folder).absolute() if source_dir else folder,
        requirements=requirements,
        channels=channels,
        hyperparameters=given,
        program=program,
        base=path.absolute().parent,
    )
    if hasattr(task, "made_files"):
        subject = replace(
            subject, name=task.python_callable.__name__, made=_of_function(task, rendering, given, request)
        )
    if str(getattr(task, "use_checkpoints", True)).lower() == "false":
        note = "use_checkpoints is False: SageMaker would keep no checkpoints for it; here it does"
        subject = replace(subject, notes=(*subject.notes, note))
    return subject


def _of_function(task: Any, rendering: _Rendering, given: Mapping[str, Any], request: Mapping[str, Any]) -> Any:
    """
    Return what is made of a task that is a function.

    :param given: arguments by name, which go before the task's own, as hyperparameters do.
    :raises RehearsalError: an argument is not known here.
    """
    signature = inspect.signature(task.python_callable)
    arguments = dict(signature.bind_partial(*task.op_args, **task.op_kwargs).arguments)
    arguments.update((name, _as_json(value)) for name, value in given.items() if name in signature.parameters)
    before = set(rendering.missing)
    bound = inspect.BoundArguments(signature, OrderedDict())
    bound.arguments.update(
        (name, rendering.value(arguments[name], name)) for name in signature.parameters if name in arguments
    )
    for name in sorted(set(rendering.missing) - before):
        raise RehearsalError(
            f"argument {name} of {task.python_callable.__name__} cannot be rendered here ({rendering.missing[name]}): "
            f"give --hyperparameter {name.partition('.')[0]}="
        )
    folder = (request.get("CheckpointConfig") or {}).get("LocalPath") or DEFAULT_CHECKPOINT_PATH
    try:
        return task.made_files(bound.args, bound.kwargs, folder)
    except (ValueError, TypeError) as error:
        raise RehearsalError(str(error)) from error


def _as_json(value: Any) -> Any:
    """Return what a text is as JSON, as which a command line gives arguments; else the text."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _dags(path: Path) -> list[Any]:
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


def _unmapped(task: Any, task_id: str) -> Any:
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
        raise RehearsalError(f"task {task_id} is mapped over what is not known here: rehearse its script") from None


def _uploaded(config: Mapping[str, Any]) -> str | None:
    """Return the folder that the stock operator would send to where the config says its code is."""
    where = str((config.get("HyperParameters") or {}).get("sagemaker_submit_directory", "")).strip('"')
    for upload in (config.get("S3Operations") or {}).get("S3Upload") or ():
        if where == f"s3://{upload.get('Bucket')}/{upload.get('Key')}" and Path(str(upload.get("Path"))).is_dir():
            return str(upload["Path"])
    return None


class _Rendering:
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
