"""Values that may still be templates: what is known only when the task runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def is_template(value: Any) -> bool:
    """Return whether a value is known only at run time: Jinja text, or an Airflow object such as an XComArg."""
    if isinstance(value, str):
        return "{{" in value or "{%" in value
    # A timedelta is no JSON type, but it is a value.
    known = value is None or isinstance(value, (bool, int, float, Mapping, Sequence)) or hasattr(value, "total_seconds")
    return not known


def gives_nothing(value: Any) -> bool:
    """Return whether a value says nothing: None, or what Jinja makes of None or of a name that is not there."""
    return value is None or (isinstance(value, str) and value.strip() in ("", "None"))


def plain_copy(value: Any) -> Any:
    """Copy mappings and lists all the way down, and nothing else: an XComArg in them drags its DAG along."""
    if isinstance(value, Mapping):
        return {key: plain_copy(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_copy(inner) for inner in value]
    return value
