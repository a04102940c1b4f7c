"""Checks a request against botocore's own model of the operation, and reports what is wrong in AWS's words.

botocore itself checks required members, types and minima before it sends; not maxima, patterns or enums.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import botocore.session
from botocore.model import OperationModel, ServiceModel, Shape

from airflow_spot.local.errors import ServiceError, not_implemented, validation

_JAVA_CLASSES = {r"\p{L}": r"\w", r"\p{N}": r"\d", r"\p{Z}": r"\s", r"\p{Alnum}": "a-zA-Z0-9"}
"""Java's character classes that SageMaker's patterns use, in Python's terms."""

_JSON_NAMES = {
    bool: "boolean",
    int: "Integer",
    float: "Double",
    str: "String",
    list: "List",
    dict: "Map",
    type(None): "null",
}


@lru_cache(maxsize=4)
def model(service: str = "sagemaker") -> ServiceModel:
    """Return botocore's model of a service."""
    return botocore.session.Session().get_service_model(service)


def operation_model(operation: str, service: str = "sagemaker") -> OperationModel:
    """Return the model of one operation.

    :raises ServiceError: if the service has no such operation.
    """
    if operation not in model(service).operation_names:
        raise not_implemented(operation)
    return model(service).operation_model(operation)


def validate(operation: str, params: dict[str, Any], service: str = "sagemaker") -> None:
    """Check a request.

    :param service: as botocore calls it, such as ``service-quotas``.
    :raises ServiceError: SerializationException for a value of a wrong type, ValidationException for all others,
        which are listed together, each with its member's path.
    """
    shape = operation_model(operation, service).input_shape
    errors = [] if shape is None else problems(shape, params)
    if errors:
        count = f"{len(errors)} validation error{'s' if len(errors) > 1 else ''} detected"
        raise validation(f"{count}: {'; '.join(errors)}")


def without_nulls(value: Any) -> Any:
    """Return a request as if what is null in it were absent, which is what null means in AWS's JSON.

    Of one that :func:`validate` has let pass: there null stands for absent members alone.
    """
    if isinstance(value, dict):
        return {name: without_nulls(item) for name, item in value.items() if item is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value


def problems(shape: Shape, value: dict[str, Any]) -> list[str]:
    """Return what is wrong with a request or an answer, by its shape; nothing if the list is empty.

    :raises ServiceError: SerializationException for a value of a wrong type.
    """
    return list(_structure(shape, value, ""))


def _check(shape: Any, value: Any, path: str) -> Iterator[str]:
    kind = shape.type_name
    if kind == "structure":
        yield from _structure(shape, _typed(value, dict, path, "Structure"), path)
    elif kind == "list":
        yield from _size(shape, _typed(value, list, path, "List"), path)
        for index, item in enumerate(value, 1):
            yield from _check(shape.member, item, f"{path}.{index}.member")
    elif kind == "map":
        yield from _map(shape, _typed(value, dict, path, "Map"), path)
    elif kind == "string":
        yield from _string(shape, _typed(value, str, path, "String"), path)
    elif kind == "boolean":
        _typed(value, bool, path, "Boolean")
    elif kind in ("integer", "long"):
        yield from _number(shape, _typed(value, int, path, "Integer" if kind == "integer" else "Long"), path)
    elif kind in ("float", "double", "timestamp"):
        _typed(value, (int, float, str) if kind == "timestamp" else (int, float), path, kind.capitalize())


def _typed(value: Any, kinds: type | tuple[type, ...], path: str, wanted: str) -> Any:
    # In Python a bool is an int; in JSON it is not a number.
    if not isinstance(value, kinds) or (isinstance(value, bool) and kinds is not bool):
        found = _JSON_NAMES.get(type(value), type(value).__name__)
        raise ServiceError("SerializationException", f"{found} can not be converted to {wanted} at '{path}'")
    return value


def _structure(shape: Any, value: dict[str, Any], path: str) -> Iterator[str]:
    prefix = f"{path}." if path else ""
    for name in shape.required_members:
        if value.get(name) is None:
            yield _failure("null", f"{prefix}{_lower(name)}", "Member must not be null", quoted=False)
    for name, item in value.items():
        if name not in shape.members:
            # AWS may ignore what it does not know. Here that would be a setting lost in silence.
            yield f"Unknown member '{prefix}{_lower(name)}'; Local SageMaker knows those of the installed botocore"
        elif item is not None:
            yield from _check(shape.members[name], item, f"{prefix}{_lower(name)}")


def _map(shape: Any, value: dict[str, Any], path: str) -> Iterator[str]:
    yield from _size(shape, value, path)
    for key, item in value.items():
        if item is None:
            yield _failure("null", f"{path}.{key}.member", "Member must not be null", quoted=False)
            continue
        for member, inner, what in ((shape.key, key, "key"), (shape.value, item, "value")):
            problems = [text.partition("constraint: ")[2] for text in _check(member, inner, path)]
            if problems:
                # The value itself may be a secret: name its key only.
                where = f"Map {what} of '{key}'"
                yield f"{where} at '{path}' failed to satisfy constraint: [{', '.join(problems)}]"


def _size(shape: Shape, value: Any, path: str) -> Iterator[str]:
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    shown = f"[{len(value)} members]"
    if least is not None and len(value) < least:
        yield _failure(shown, path, f"Member must have length greater than or equal to {least}")
    if most is not None and len(value) > most:
        yield _failure(shown, path, f"Member must have length less than or equal to {most}")


def _string(shape: Shape, value: str, path: str) -> Iterator[str]:
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    pattern, choices = shape.metadata.get("pattern"), shape.metadata.get("enum")
    if least is not None and len(value) < least:
        yield _failure(value, path, f"Member must have length greater than or equal to {least}")
    if most is not None and len(value) > most:
        # Not also matched against the pattern: some take long on long texts.
        yield _failure(value[:most] + "...", path, f"Member must have length less than or equal to {most}")
    elif pattern is not None and (known := compiled(pattern)) is not None and not known.fullmatch(value):
        yield _failure(value, path, f"Member must satisfy regular expression pattern: {pattern}")
    if choices and value not in choices:
        yield _failure(value, path, f"Member must satisfy enum value set: [{', '.join(choices)}]")


def _number(shape: Shape, value: int, path: str) -> Iterator[str]:
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if least is not None and value < least:
        yield _failure(str(value), path, f"Member must have value greater than or equal to {least}")
    if most is not None and value > most:
        yield _failure(str(value), path, f"Member must have value less than or equal to {most}")


def _failure(value: str, path: str, constraint: str, *, quoted: bool = True) -> str:
    shown = f"'{value}'" if quoted else value
    return f"Value {shown} at '{path}' failed to satisfy constraint: {constraint}"


@lru_cache(maxsize=1024)
def compiled(pattern: str) -> re.Pattern[str] | None:
    """Return a pattern of the model, or None for the few that only Java can read: they match everything."""
    for java, python in _JAVA_CLASSES.items():
        pattern = pattern.replace(java, python)
    try:
        return re.compile(pattern)
    except re.error:
        return None


def _lower(name: str) -> str:
    return name[:1].lower() + name[1:]
