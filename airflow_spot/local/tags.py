"""AddTags, ListTags, DeleteTags."""

from __future__ import annotations

from typing import Any

from airflow_spot.local.api import Call, Operations
from airflow_spot.local.backend import Backend
from airflow_spot.local.errors import not_found, validation
from airflow_spot.local.listing import page

MAX_TAGS = 50


def to_dict(tags: list[dict[str, str]]) -> dict[str, str]:
    """Tags as SageMaker writes them, as a dict.

    :raises ServiceError: ValidationException for a key that comes twice, or one that AWS keeps for itself.
    """
    result: dict[str, str] = {}
    for tag in tags:
        if tag["Key"] in result:
            raise validation(
                f"Duplicate tag keys found: '{tag['Key']}'. Please note that tag keys are case insensitive."
            )
        if tag["Key"].lower().startswith("aws:"):
            raise validation(
                f"Tag key '{tag['Key']}' is invalid: aws: prefixed tag key names are not allowed for external use."
            )
        result[tag["Key"]] = tag["Value"]
    return result


def to_list(tags: dict[str, str]) -> list[dict[str, str]]:
    """The reverse of :func:`to_dict`."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def add_tags(backend: Backend, call: Call) -> dict[str, Any]:
    arn = _resource(backend, call)
    tags = {**backend.store.tags.get(arn, {}), **to_dict(call.params["Tags"])}
    if len(tags) > MAX_TAGS:
        raise validation(f"{arn} would have {len(tags)} tags, and a resource can have {MAX_TAGS}")
    backend.store.tags[arn] = tags
    backend.journal.tagged(arn, tags)
    return {"Tags": to_list(tags)}


def list_tags(backend: Backend, call: Call) -> dict[str, Any]:
    tags = to_list(backend.store.tags.get(_resource(backend, call), {}))
    items, token = page(tags, call.params, lambda tag: (tag["Key"],), default_size=100)
    return {"Tags": items, **token}


def delete_tags(backend: Backend, call: Call) -> dict[str, Any]:
    arn = _resource(backend, call)
    gone = set(call.params["TagKeys"])
    tags = {key: value for key, value in backend.store.tags.get(arn, {}).items() if key not in gone}
    backend.store.tags[arn] = tags
    backend.journal.tagged(arn, tags)
    return {}


def _resource(backend: Backend, call: Call) -> str:
    arn: str = call.params["ResourceArn"]
    if not backend.store.exists(arn):
        raise not_found(f"Requested resource not found. ({arn})")
    return arn


OPERATIONS: Operations = {"AddTags": add_tags, "ListTags": list_tags, "DeleteTags": delete_tags}
