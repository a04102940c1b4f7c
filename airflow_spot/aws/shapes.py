"""Botocore's service model as the data that the pure core checks requests against."""

from __future__ import annotations

from functools import cache, partial
from typing import Any

from airflow_spot.core.request_schema import Shape


def input_shape(client: Any, operation: str) -> Shape:
    """
    Read the input of an operation from a client's service model.

    :param client: a boto3 client.
    :param operation: such as ``"CreateTrainingJob"``.
    """
    return _convert(client.meta.service_model.operation_model(operation).input_shape)


@cache
def _convert(shape: Any) -> Shape:
    # Members are converted when they are asked for: shapes may contain themselves.
    limits = shape.metadata
    item = shape.member if shape.type_name == "list" else shape.value if shape.type_name == "map" else None
    members = shape.members if shape.type_name == "structure" else {}
    return Shape(
        kind=shape.type_name,
        members={name: partial(_convert, member) for name, member in members.items()},
        required=tuple(getattr(shape, "required_members", ())),
        min=limits.get("min"),
        max=limits.get("max"),
        pattern=limits.get("pattern"),
        enum=tuple(limits.get("enum", ())),
        **({"item": partial(_convert, item)} if item is not None else {}),
    )
