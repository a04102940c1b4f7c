"""How fast a watcher may go. Pure: jitter comes in as a number from 0 up to 1."""

from __future__ import annotations

#: Seconds between two lists, at least: an account is said to be granted two a second.
LIST_SECONDS = 1.0
#: Seconds between two describes that nobody waits for: first looks and those for safety.
QUIET_DESCRIBE_SECONDS = 0.2
#: Seconds between two describes, at least, where jobs are described in every sweep since no list shows them.
SWEPT_DESCRIBE_SECONDS = 0.5
#: Seconds from one describe of a job to the next one for safety, if nothing else asks for one.
SAFETY_SECONDS = (1860.0, 2400.0)

_PAUSES = (1.0, 60.0)
_SLOWEST = 16.0
#: One throttled call in five is borne without slowing down for long; one in two is not.
_SLOWER, _FASTER = 1.25, 0.9


class Pace:
    """
    The pauses of one watcher: longer with each call that fails, and back again.

    :ivar factor: by how much the interval between sweeps is stretched since calls were throttled.
    """

    __slots__ = ("_failures", "factor")

    def __init__(self) -> None:
        self.factor = 1.0
        self._failures = 0

    @property
    def is_failing(self) -> bool:
        """Whether the last call failed."""
        return self._failures > 0

    def throttled(self, jitter: float) -> float:
        """
        Slow down for all.

        :return: seconds in which to call nothing.
        """
        self.factor = min(_SLOWEST, self.factor * _SLOWER)
        return self.failed(jitter)

    def failed(self, jitter: float) -> float:
        """Return the seconds in which to call nothing after a call that failed, half of them by jitter."""
        pause = min(_PAUSES[1], _PAUSES[0] * 2.0 ** min(self._failures, 10))
        self._failures += 1
        return pause * (1 - jitter / 2)

    def answered(self) -> None:
        """Take note of a call that went well: a little faster again."""
        self._failures = 0
        self.factor = max(1.0, self.factor * _FASTER)

    def interval(self, wanted: float, pages: int, describes: int) -> float:
        """
        Return how many seconds there are from the beginning of a sweep to that of the next.

        :param wanted: what the most impatient subscriber asks for.
        :param pages: that a sweep takes.
        :param describes: of jobs that no list shows, in each sweep.
        """
        return max(wanted * self.factor, pages * LIST_SECONDS, (describes - 1) * SWEPT_DESCRIBE_SECONDS)


def safety_delay(jitter: float) -> float:
    """Return in how many seconds a job is described for safety: spread, so that those of one moment part."""
    return SAFETY_SECONDS[0] + jitter * (SAFETY_SECONDS[1] - SAFETY_SECONDS[0])


def retry_delay(failures: int, jitter: float) -> float:
    """
    Return in how many seconds a job is described again whose own describe failed.

    :param failures: one after the other, at least one.
    """
    return min(300.0, 5.0 * 2.0 ** min(failures - 1, 10)) * (1 - jitter / 4)
