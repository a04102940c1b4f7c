"""``S3Operations`` of a config: the buckets and uploads that the stock operator does before it creates a job."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_spot.core.parameter_errors import Described, InvalidParameterError, kind_of
from airflow_spot.core.request_schema import Shape, coerce
from airflow_spot.core.templates import gives_nothing

_FIELDS = {"S3CreateBucket": ("Bucket",), "S3Upload": ("Path", "Bucket", "Key")}


@dataclass(frozen=True)
class Upload:
    """
    A local file, or folder, that goes to S3.

    :param tar: whether it is packed into a gzipped tar first.
    """

    path: str
    bucket: str
    key: str
    tar: bool = False


@dataclass(frozen=True)
class S3Operations:
    """What is to be done."""

    buckets: tuple[str, ...] = ()
    uploads: tuple[Upload, ...] = ()


def read_s3_operations(value: Any) -> S3Operations:
    """
    Read what the config says; nothing where it says nothing. ``Tar`` may be left out: then it is False.

    :raises InvalidParameterError: naming the operation, its field and the fix.
    """
    if gives_nothing(value):
        return S3Operations()
    _check_fields("S3Operations", value, _FIELDS)
    buckets = [item["Bucket"] for _, item in _items(value, "S3CreateBucket")]
    uploads = [
        Upload(item["Path"], item["Bucket"], item["Key"], _tar(where, item))
        for where, item in _items(value, "S3Upload")
    ]
    return S3Operations(tuple(buckets), tuple(uploads))


def _items(value: Mapping[str, Any], name: str) -> list[tuple[str, Mapping[str, Any]]]:
    listed = value.get(name)
    if gives_nothing(listed):
        return []
    if not isinstance(listed, (list, tuple)):
        raise InvalidParameterError(f"S3Operations.{name}", kind_of(listed), "must be a list")
    found = []
    for i, item in enumerate(listed):
        where, fields = f"S3Operations.{name}[{i}]", _FIELDS[name]
        _check_fields(where, item, (*fields, "Tar") if name == "S3Upload" else fields)
        for field in fields:
            if not isinstance(given := item.get(field), str) or not given:
                shown = Described("missing") if gives_nothing(given) else given
                raise InvalidParameterError(
                    f"{where}.{field}", shown, f"{name} needs {', '.join(fields)}, each as text"
                )
        found.append((where, item))
    return found


def _tar(where: str, item: Mapping[str, Any]) -> bool:
    given = item.get("Tar")
    return False if gives_nothing(given) else bool(coerce(given, Shape("boolean"), f"{where}.Tar"))


def _check_fields(where: str, value: Any, known: Any) -> None:
    if not isinstance(value, Mapping):
        raise InvalidParameterError(where, kind_of(value), "must be a mapping")
    for name in value:
        if name not in known:
            near = difflib.get_close_matches(str(name), list(known), n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(known)}"
            raise InvalidParameterError(f"{where}.{name}", Described("an unknown field"), hint)
