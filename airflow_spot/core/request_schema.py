"""Checks and coerces a request against the shape of an AWS API, which comes in as data."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from airflow_spot.core.parameter_errors import Described, InvalidParameterError


@dataclass(frozen=True)
class Shape:
    """One type of an AWS API, as the hook reads it from botocore's service model."""

    kind: str
    members: Mapping[str, Callable[[], Shape]] = field(default_factory=dict)
    item: Callable[[], Shape] = lambda: Shape("any")
    required: Sequence[str] = ()
    min: float | None = None
    max: float | None = None
    pattern: str | None = None
    enum: Sequence[str] = ()


def coerce(value: Any, shape: Shape, path: str = "") -> Any:
    """
    Coerce a value to the types that the API wants: ``"20"`` becomes 20, ``"True"`` becomes True.

    Templates render to text, and botocore refuses text where it wants a number; a number where the API wants
    text (a hyperparameter) is as common.

    :param value: a request or a part of one. It is not changed.
    :param shape: its shape.
    :param path: where in the request it stands, for errors.
    :return: a new value.
    :raises InvalidParameterError: naming the field, the value and the fix.
    """
    return _COERCERS.get(shape.kind, _as_is)(value, shape, path)


def _structure(value: Any, shape: Shape, path: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidParameterError(path or "config", value, "must be a mapping")
    result = {}
    for name, inner in value.items():
        where = f"{path}.{name}" if path else str(name)
        if name not in shape.members:
            near = difflib.get_close_matches(str(name), list(shape.members), n=1)
            hint = (
                f"did you mean {near[0]}?"
                if near
                else "this version of botocore does not know it; remove it or upgrade boto3"
            )
            raise InvalidParameterError(where, Described("an unknown field"), hint)
        if inner is not None:
            result[name] = coerce(inner, shape.members[name](), where)
    for name in shape.required:
        if name not in result:
            raise InvalidParameterError(
                f"{path}.{name}" if path else name, Described("missing"), "SageMaker requires it"
            )
    return result


def _list(value: Any, shape: Shape, path: str) -> list[Any]:
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Sequence):
        raise InvalidParameterError(path, value, "must be a list")
    _check_bounds(len(value), shape, path, value, "items")
    return [coerce(inner, shape.item(), f"{path}[{i}]") for i, inner in enumerate(value)]


def _map(value: Any, shape: Shape, path: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidParameterError(path, value, "must be a mapping")
    _check_bounds(len(value), shape, path, Described(f"{len(value)} entries"), "entries")
    return {str(name): coerce(inner, shape.item(), f"{path}.{name}") for name, inner in value.items()}


def _string(value: Any, shape: Shape, path: str) -> str:
    if not isinstance(value, (str, bool, int, float)):
        raise InvalidParameterError(path, value, "must be text")
    text = str(value)
    if shape.enum and text not in shape.enum:
        same = [known for known in shape.enum if known.lower() == text.lower()]
        if same:
            raise InvalidParameterError(path, text, f"did you mean {same[0]!r}? (case-sensitive)")
        # Any other value may be newer than the installed botocore: SageMaker judges it.
    _check_bounds(len(text), shape, path, text, "characters")
    if shape.pattern is not None and not _matches(shape.pattern, text):
        raise InvalidParameterError(path, text, f"must match {shape.pattern}")
    return text


def _integer(value: Any, shape: Shape, path: str) -> int:
    number: int | None = None
    if isinstance(value, int) and not isinstance(value, bool):
        number = value
    elif isinstance(value, float) and value.is_integer():
        number = int(value)
    elif isinstance(value, str) and re.fullmatch(r"\s*[+-]?\d+(\.0+)?\s*", value):
        number = int(value.split(".")[0])
    if number is None:
        raise InvalidParameterError(path, value, "must be a whole number")
    _check_bounds(number, shape, path, value, "")
    return number


def _float(value: Any, shape: Shape, path: str) -> float:
    try:
        if isinstance(value, bool):
            raise ValueError
        number = float(value)
    except (TypeError, ValueError):
        raise InvalidParameterError(path, value, "must be a number") from None
    _check_bounds(number, shape, path, value, "")
    return number


def _boolean(value: Any, shape: Shape, path: str) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in ("true", "false"):
        return value.strip().lower() == "true"
    raise InvalidParameterError(path, value, "must be true or false")


def _as_is(value: Any, shape: Shape, path: str) -> Any:
    return value


_COERCERS: dict[str, Callable[[Any, Shape, str], Any]] = {
    "structure": _structure,
    "list": _list,
    "map": _map,
    "string": _string,
    "integer": _integer,
    "long": _integer,
    "float": _float,
    "double": _float,
    "boolean": _boolean,
}


def _check_bounds(size: float, shape: Shape, path: str, value: Any, unit: str) -> None:
    unit = f" {unit}" if unit else ""
    if shape.min is not None and size < shape.min:
        raise InvalidParameterError(path, value, f"must be at least {shape.min:g}{unit}")
    if shape.max is not None and size > shape.max:
        raise InvalidParameterError(path, value, f"must be at most {shape.max:g}{unit}, not {size:g}")


def _matches(pattern: str, text: str) -> bool:
    try:
        return re.fullmatch(pattern, text) is not None
    except re.error:  # Java's \p{L} and the like: SageMaker judges it.
        return True
