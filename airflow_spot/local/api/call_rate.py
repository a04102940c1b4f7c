"""How many calls of an operation SageMaker answers: ListTrainingJobs twice a second for the whole account [T]."""

from __future__ import annotations

import threading

from airflow_spot.local.clock import Clock
from airflow_spot.local.errors import ServiceError

LIMITED = "ListTrainingJobs"


class CallRate:
    """Counts the calls of each region; what was not used of a second is there for the next one. Thread-safe.

    :param per_second: how many calls a second of the service's time; None: as many as come.
    """

    def __init__(self, clock: Clock, per_second: float | None) -> None:
        self._clock = clock
        self._per_second = per_second
        self._lock = threading.Lock()
        self._left: dict[str, tuple[float, float]] = {}

    def check(self, operation: str, region: str) -> None:
        """Count a call.

        :raises ServiceError: ThrottlingException, if it is one too many. It does not count then.
        """
        if self._per_second is None or operation != LIMITED:
            return
        most = max(1.0, self._per_second)
        with self._lock:
            now = self._clock.now()
            left, since = self._left.get(region, (most, now))
            left = min(most, left + (now - since) * self._per_second)
            self._left[region] = (left - 1 if left >= 1 else left, now)
        if left < 1:
            raise ServiceError("ThrottlingException", "Rate exceeded")
