"""EC2's protocol: a request is a form with numbered names, an answer is XML.

Read and written without botocore's model of EC2, which takes half a second to load: each operation says which members
it takes, and any other is refused rather than lost.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timezone
from typing import Any
from xml.sax.saxutils import escape

from botocore.utils import parse_timestamp

from airflow_spot.local.errors import ServiceError

NAMESPACE = "http://ec2.amazonaws.com/doc/2016-11-15/"


def parse_form(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Return a form's members: ``Filter.1.Name=a`` as ``{"Filter": [{"Name": "a"}]}``.

    :raises ServiceError: MalformedQueryString, where one name is both a value and a list.
    """
    tree: dict[str, Any] = {}
    for name, value in pairs:
        if name in ("Action", "Version"):
            continue
        *parents, last = name.split(".")
        place: Any = tree
        for parent in parents:
            place = place.setdefault(parent, {})
            if not isinstance(place, dict):
                raise ServiceError("MalformedQueryString", f"{name} is both a value and a list")
        if isinstance(place.get(last), dict):
            raise ServiceError("MalformedQueryString", f"{name} is both a value and a list")
        place[last] = value
    return {name: _lists(value) for name, value in tree.items()}


def _lists(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if value and all(name.isascii() and name.isdigit() for name in value):
        return [_lists(value[name]) for name in sorted(value, key=int)]
    return {name: _lists(item) for name, item in value.items()}


def check_members(params: Mapping[str, Any], known: Collection[str]) -> None:
    """Refuse what is not known, and a dry run, which is an error on AWS too [D].

    :raises ServiceError: UnknownParameter, or DryRunOperation.
    """
    for name in params:
        if name not in known and name != "DryRun":
            raise ServiceError("UnknownParameter", f"The parameter {name} is not recognized by Local SageMaker")
    if params.get("DryRun") == "true":
        raise ServiceError("DryRunOperation", "Request would have succeeded, but DryRun flag is set.", 412)


def texts(params: Mapping[str, Any], name: str) -> list[str]:
    """Return a list of texts; empty if it is not there."""
    value = params.get(name, [])
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise invalid(name, value)
    return value


def whole(params: Mapping[str, Any], name: str, default: int, *, least: int, most: int) -> int:
    """Return a whole number.

    :raises ServiceError: InvalidParameterValue, if it is none or out of range.
    """
    value = params.get(name)
    if value is None:
        return default
    try:
        number = int(value)
    except (TypeError, ValueError):
        raise invalid(name, value) from None
    if not least <= number <= most:
        raise ServiceError("InvalidParameterValue", f"{name} is {number}; it must be from {least} to {most}")
    return number


def instant(params: Mapping[str, Any], name: str, default: float) -> float:
    """Return a time in seconds since the epoch; one without a zone is UTC.

    :raises ServiceError: InvalidParameterValue, if it is none.
    """
    value = params.get(name)
    if value is None:
        return default
    try:
        moment = parse_timestamp(value)
    except (TypeError, ValueError, OverflowError):
        raise invalid(name, value) from None
    return float((moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp())


def iso(seconds: float) -> str:
    """Return a time as EC2 writes it: ``2026-11-28T12:00:00.000Z``."""
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def filters(params: Mapping[str, Any], known: Collection[str]) -> dict[str, list[str]]:
    """Return the filters of a request: values by name.

    :param known: the names that are understood.
    :raises ServiceError: InvalidParameterValue for another one.
    """
    found: dict[str, list[str]] = {}
    given = params.get("Filter", [])
    if not isinstance(given, list) or not all(isinstance(one, dict) and "Name" in one for one in given):
        raise invalid("Filter", given)
    for one in given:
        if one["Name"] not in known:
            raise ServiceError("InvalidParameterValue", f"The filter '{one['Name']}' is invalid")
        found.setdefault(one["Name"], []).extend(texts(one, "Value"))
    return found


def invalid(name: str, value: Any) -> ServiceError:
    """Return the error for a value that cannot be read."""
    return ServiceError("InvalidParameterValue", f"Value ({value}) for parameter {name} is invalid.")


def answer_xml(action: str, content: Mapping[str, Any], request_id: str) -> str:
    """Return an answer: members by their names on the wire, lists as ``<item>``."""
    body = _xml({"requestId": request_id, **content})
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<{action}Response xmlns="{NAMESPACE}">{body}</{action}Response>'


def error_xml(error: ServiceError, request_id: str) -> str:
    """Return an error answer."""
    body = _xml({"Errors": {"Error": {"Code": error.code, "Message": error.message}}, "RequestID": request_id})
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<Response>{body}</Response>'


def _xml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "".join(f"<{name}>{_xml(item)}</{name}>" for name, item in value.items())
    if isinstance(value, (list, tuple)):
        return "".join(f"<item>{_xml(item)}</item>" for item in value)
    return escape(str(value))
