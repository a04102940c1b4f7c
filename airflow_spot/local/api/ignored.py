"""Members of a request that have no effect on one machine: accepted, described, and logged once."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any

from airflow_spot.local.storage.audit import Audit

log = logging.getLogger(__name__)


def log_ignored(audit: Audit, kind: str, name: str, members: Sequence[str]) -> None:
    """Log, also in the audit log, which members of a request have no effect here, if there are any.

    :param kind: what the request made, as in ``training job``.
    :param name: its name.
    :param members: the members' paths, see :func:`ignored_members`.
    """
    if members:
        audit.write("ignored", job=name, members=list(members))
        log.warning("%s %s: accepted, but ignored here: %s", kind, name, ", ".join(members))


def ignored_members(request: dict[str, Any], paths: Iterable[str]) -> list[str]:
    """Return the members of a request that have no effect on one machine.

    :param paths: where they may be.
    """
    found = []
    for path in paths:
        place: Any = request
        for name in path.split("."):
            place = place.get(name) if isinstance(place, dict) else None
        if place:
            found.append(path)
    return found
