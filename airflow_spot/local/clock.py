"""One clock for every time that the service reports."""

from __future__ import annotations

import time


class Clock:
    """Service time, in seconds since the epoch.

    With ``scale`` K, a second of the machine is K seconds of the service: everything it reports and every
    duration it waits for goes by this clock. Real processes cannot be hurried, so a scale other than 1 is for the
    simulated engine only.

    :param scale: service seconds per machine second, above 0.
    :param not_before: where an earlier service's clock had got to, which may be ahead of the machine's.
    """

    def __init__(self, scale: float = 1.0, not_before: float = 0.0) -> None:
        self.scale = scale
        self._epoch = max(time.time(), not_before)
        self._start = time.monotonic()

    def now(self) -> float:
        """Return the present service time. Never goes backwards, whatever happens to the machine's clock."""
        return self._epoch + (time.monotonic() - self._start) * self.scale

    def machine_seconds(self, service_seconds: float) -> float:
        """Return how long the machine has to wait for ``service_seconds`` to pass; never below 0."""
        return max(0.0, service_seconds / self.scale)
