"""What an IAM policy document allows, as far as the package's own documents go: no denials, wildcards in resources."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any


def allows(document: Mapping[str, Any], action: str, resource: str) -> bool:
    """Return whether a statement allows an action on a resource."""
    return any(
        action in statement["Action"] and any(fnmatchcase(resource, pattern) for pattern in statement["Resource"])
        for statement in document["Statement"]
    )
