"""AddTags, ListTags, DeleteTags."""

from __future__ import annotations

from typing import Any

from airflow_spot.local.api.call import Call
from airflow_spot.local.api.pagination import page
from airflow_spot.local.api.tagging import to_dict, to_list
from airflow_spot.local.backend import Backend, Operations
from airflow_spot.local.errors import not_found, validation

MAX_TAGS = 50


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
