"""Pauses between attempts that were refused, or that fail at once."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from airflow_spot.core.history import PastEvent, Refusal


@dataclass(frozen=True)
class Backoff:
    """
    How long the pauses are: doubled each time up to the cap, less up to half by a hash of the run.

    So a hundred tasks do not come back at once, and every look at the same history gives the same moment.

    :param key: the run key, the seed.
    :param base: and ``cap``: seconds.
    """

    key: str = ""
    base: float = 15.0
    cap: float = 900.0

    def until(self, last: PastEvent, step: int) -> datetime | None:
        """
        Return when the pause after the newest event is over.

        :param step: how many pauses in a row have gone before.
        :return: None where it is not known since when it counts, or where the pause was skipped.
        """
        since = last.at if isinstance(last, Refusal) else last.ended
        if since is None or (isinstance(last, Refusal) and last.backoff_skipped):
            return None
        pause = min(self.cap, self.base * 2.0 ** min(step, 30))
        share = hashlib.sha256(f"{self.key}-{last.number}-{step}".encode()).digest()[0] / 255
        return since + timedelta(seconds=pause * (1 - share / 2))
