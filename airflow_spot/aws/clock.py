"""
AWS's time, by the Date of its answers.

What a job's times are compared with has to be of the clock that wrote them: a worker that is ahead by more than a
rung's wait would give up each job at once, and pay for the next.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Any

#: A Date has whole seconds, and an answer takes its time: a difference up to this is none.
TOLERANCE_SECONDS = 3.0


class AwsClock:
    """
    Knows by how much this machine's clock differs from AWS's.

    :param clock: this machine's, in seconds since 1970.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self.offset = 0.0

    def now(self) -> float:
        """Return AWS's time in seconds since 1970; this machine's, until an answer has come."""
        return self._clock() + self.offset

    def listen(self, client: Any) -> None:
        """Read the Date of each answer of a boto3 client."""
        service = client.meta.service_model.service_id.hyphenize()
        client.meta.events.register(f"after-call.{service}", self._hear)

    def _hear(self, http_response: Any, **_: Any) -> None:
        self.heard((getattr(http_response, "headers", None) or {}).get("Date"))

    def heard(self, date: str | None) -> None:
        """Read the Date of an answer that has just come; None and what is no date are ignored."""
        try:
            theirs = parsedate_to_datetime(date or "").timestamp()
        except (TypeError, ValueError):
            return
        # In the middle of its second.
        ahead = theirs + 0.5 - self._clock()
        self.offset = ahead if abs(ahead) > TOLERANCE_SECONDS else 0.0
