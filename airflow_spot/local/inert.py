"""What a request asks for and one machine cannot give: accepted, described, and said once."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from airflow_spot.local.backend import Backend

log = logging.getLogger(__name__)


def tell_inert(backend: Backend, kind: str, name: str, members: Sequence[str]) -> None:
    """Say in the log and in the audit log which members of a request have no effect here, if there are any.

    :param kind: what the request made, as in ``training job``.
    :param name: its name.
    :param members: the members' paths, see :func:`airflow_spot.local.rules.inert`.
    """
    if members:
        backend.audit.write("inert", job=name, members=list(members))
        log.warning("%s %s: accepted, and without effect here: %s", kind, name, ", ".join(members))
