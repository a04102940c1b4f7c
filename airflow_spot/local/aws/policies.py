"""IAM policies: whether they allow an action. Pure: documents in, decisions out.

What AWS's simulator does of it: an explicit Deny wins over every Allow, and what nothing allows is denied [D].
Wildcards in actions and resources count, NotAction and NotResource too. Conditions are not looked at: a statement
counts as if its own held. Policy variables are texts like any other. Resource policies, permissions boundaries and
organizations have no part.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

ALLOWED, DENIED, NOT_ALLOWED = "allowed", "explicitDeny", "implicitDeny"


def decide(policies: Iterable[Any], action: str, resource: str) -> str:
    """Return ``allowed``, ``explicitDeny`` or ``implicitDeny``.

    :param policies: documents as JSON has them; what is no policy allows nothing.
    :param action: e.g. ``sagemaker:CreateTrainingJob``.
    :param resource: an ARN, or ``*``, which only ``*`` matches.
    """
    effects = {
        statement.get("Effect")
        for document in policies
        for statement in _statements(document)
        if _covers(statement, "Action", action, ignore_case=True) and _covers(statement, "Resource", resource)
    }
    return DENIED if "Deny" in effects else ALLOWED if "Allow" in effects else NOT_ALLOWED


def _statements(document: Any) -> list[dict[str, Any]]:
    found = document.get("Statement", []) if isinstance(document, dict) else []
    return [each for each in (found if isinstance(found, list) else [found]) if isinstance(each, dict)]


def _covers(statement: dict[str, Any], member: str, value: str, *, ignore_case: bool = False) -> bool:
    if member in statement:
        return _any(statement[member], value, ignore_case)
    if f"Not{member}" in statement:
        return not _any(statement[f"Not{member}"], value, ignore_case)
    return False


def _any(patterns: Any, value: str, ignore_case: bool) -> bool:
    texts = patterns if isinstance(patterns, list) else [patterns]
    return any(isinstance(text, str) and _pattern(text, ignore_case).fullmatch(value) for text in texts)


@lru_cache(maxsize=4096)
def _pattern(text: str, ignore_case: bool) -> re.Pattern[str]:
    """Return a pattern in IAM's language, where ``*`` and ``?`` alone have a meaning."""
    parts = (".*" if part == "*" else "." if part == "?" else re.escape(part) for part in re.split(r"([*?])", text))
    return re.compile("".join(parts), re.DOTALL | (re.IGNORECASE if ignore_case else 0))
