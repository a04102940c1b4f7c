"""The arguments of a function that runs in a job: JSON, bound to its parameters, without the one that is injected."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Collection, Mapping, Sequence
from datetime import date, timedelta
from pathlib import PurePath
from types import FunctionType
from typing import Any

from airflow_spot.compat.decorators import KNOWN_CONTEXT_KEYS
from airflow_spot.core.parameter_errors import Described, InvalidParameterError, kind_of

#: The parameter that gets the run's checkpoints, where a function names it.
CHECKPOINT = "checkpoint"
_JSON = "only JSON gets into the job: pass text, numbers, true or false, None, lists, or dicts whose keys are text"
#: What is often passed and no JSON, and what to pass instead.
_INSTEAD: tuple[tuple[Any, str], ...] = (
    (PurePath, "str() of it"),
    (date, "its isoformat()"),
    (timedelta, "its total_seconds()"),
    ((set, frozenset, range), "a list of it"),
    ((bytes, bytearray), "text, such as base64"),
)


def wants_checkpoint(function: Any) -> bool:
    """Return whether a function names the parameter that is injected."""
    code = function.__code__
    return CHECKPOINT in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]


def without_checkpoint(function: Any) -> Any:
    """
    Return a function as its callers see it: the parameter that is injected in the job is none of theirs.

    The function itself is not changed.

    :raises InvalidParameterError: the parameter cannot be given by name.
    """
    if not wants_checkpoint(function):
        return function
    signature = inspect.signature(function)
    own = signature.parameters[CHECKPOINT]
    kinds = {each.kind for each in signature.parameters.values()}
    if own.kind is own.POSITIONAL_ONLY or (own.kind is own.POSITIONAL_OR_KEYWORD and own.VAR_POSITIONAL in kinds):
        raise InvalidParameterError(
            f"@task.sagemaker_spot: {function.__name__}({CHECKPOINT})",
            Described("not accepted by keyword"),
            f"write it as a keyword, behind a `*`: def {function.__name__}(..., *, {CHECKPOINT})",
        )
    made: Any = FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )
    functools.update_wrapper(made, function)
    del made.__wrapped__
    made.__kwdefaults__ = function.__kwdefaults__
    rest = [each for name, each in signature.parameters.items() if name != CHECKPOINT]
    made.__signature__ = signature.replace(parameters=rest)
    return made


def bind(function: Any, args: Collection[Any], kwargs: Mapping[str, Any], *, rendered: bool = True) -> dict[str, Any]:
    """
    Return how the job calls a function: ``{"args": [...], "kwargs": {...}}``, of JSON's types.

    :param function: as its callers see it.
    :param rendered: False leaves what is known at run time alone: templates, and results of other tasks.
    :raises InvalidParameterError: an argument is no JSON, or is one that only a task in a worker is given.
    """
    name = function.__name__
    signature = inspect.signature(function)
    given = signature.bind_partial(*args, **kwargs).arguments
    for key, parameter in signature.parameters.items():
        if key in KNOWN_CONTEXT_KEYS and key not in given and parameter.kind is not parameter.VAR_KEYWORD:
            raise InvalidParameterError(
                f"@task.sagemaker_spot: {name}({key})",
                Described("of Airflow's context, which is not in the job"),
                f"give it another name, and pass what you need of it: {name}(day='{{{{ ds }}}}')",
            )
    bound = signature.bind(*args, **kwargs).arguments
    call: dict[str, Any] = {"args": [], "kwargs": {}}
    rest = any(bound.get(key) for key, each in signature.parameters.items() if each.kind is each.VAR_POSITIONAL)
    for key, value in bound.items():
        plain = functools.partial(_plain, rendered=rendered)
        kind = signature.parameters[key].kind
        where = f"@task.sagemaker_spot: {name}({key})"
        if kind is inspect.Parameter.VAR_POSITIONAL:
            call["args"] += plain(value, where)
        elif kind is inspect.Parameter.VAR_KEYWORD:
            call["kwargs"].update(
                {more: plain(v, f"@task.sagemaker_spot: {name}({more})") for more, v in value.items()}
            )
        elif kind is inspect.Parameter.POSITIONAL_ONLY or (kind is inspect.Parameter.POSITIONAL_OR_KEYWORD and rest):
            call["args"].append(plain(value, where))
        else:
            call["kwargs"][key] = plain(value, where)
    return call


def is_resolved_later(value: Any) -> bool:
    """Return whether Airflow puts something else in a value's place when the task runs: a result of another task."""
    return any(base.__name__ == "ResolveMixin" for base in type(value).__mro__)


def _plain(value: Any, where: str, *, rendered: bool) -> Any:
    if value is None or isinstance(value, (bool, int, str)) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, float):
        raise InvalidParameterError(where, value, "JSON has no such number: pass None, or text")
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise InvalidParameterError(
                    f"{where}: the key {key!r}", kind_of(key), "JSON's keys are text: str() of it"
                )
        return {key: _plain(inner, f"{where}[{key!r}]", rendered=rendered) for key, inner in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray, memoryview, range)):
        # Also what Airflow makes of the results of a mapped task, which is no list.
        return [_plain(inner, f"{where}[{index}]", rendered=rendered) for index, inner in enumerate(value)]
    if not rendered and is_resolved_later(value):
        return None
    better = next((f"{_JSON}; here {instead}" for kind, instead in _INSTEAD if isinstance(value, kind)), _JSON)
    raise InvalidParameterError(where, kind_of(value), better)
