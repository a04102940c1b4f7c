"""A training task in a DAG file, as far as it matters to its script."""

from __future__ import annotations

import inspect
import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from airflow_spot.core.plan import DEFAULT_CHECKPOINT_PATH
from airflow_spot.rehearsal.dag_tasks import Rendering, task_of
from airflow_spot.rehearsal.subject import RehearsalError, Subject, from_request

#: What of a config matters to a script: the rest need not be known.
_WANTED = ("AlgorithmSpecification", "HyperParameters", "Environment", "InputDataConfig", "CheckpointConfig")


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
    task = task_of(path, task_id, dag_id)
    rendering = Rendering(task)
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


def _of_function(task: Any, rendering: Rendering, given: Mapping[str, Any], request: Mapping[str, Any]) -> Any:
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


def _uploaded(config: Mapping[str, Any]) -> str | None:
    """Return the folder that the stock operator would send to where the config says its code is."""
    where = str((config.get("HyperParameters") or {}).get("sagemaker_submit_directory", "")).strip('"')
    for upload in (config.get("S3Operations") or {}).get("S3Upload") or ():
        if where == f"s3://{upload.get('Bucket')}/{upload.get('Key')}" and Path(str(upload.get("Path"))).is_dir():
            return str(upload["Path"])
    return None
