"""What a request asks for and one machine cannot give: accepted, described, and said once."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any

from airflow_spot.local.storage.audit import Audit

log = logging.getLogger(__name__)


def tell_inert(audit: Audit, kind: str, name: str, members: Sequence[str]) -> None:
    """Say in the log and in the audit log which members of a request have no effect here, if there are any.

    :param kind: what the request made, as in ``training job``.
    :param name: its name.
    :param members: the members' paths, see :func:`airflow_spot.local.training.rules.inert`.
    """
    if members:
        audit.write("inert", job=name, members=list(members))
        log.warning("%s %s: accepted, and without effect here: %s", kind, name, ", ".join(members))


def ignored(request: dict[str, Any], paths: Iterable[str]) -> list[str]:
    """Members of a request that one machine cannot give a meaning: accepted, described, and without effect.

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
