"""
An account's quota of ListTrainingJobs, as the watchers of a process share it.

SageMaker grants an account two ListTrainingJobs a second, in each region, and does not raise that. All watchers of an
account together take half of it at most, and are the first to give way: whoever else lists (a start, a person, another
tool) waits for an answer, and a watcher does not. Other calls have quotas of their own, and are not slowed down.
"""

from __future__ import annotations

import asyncio
from weakref import WeakKeyDictionary

from airflow_spot.watch.pace import LIST_SECONDS

#: Lists that are throttled, one after the other, before jobs are described one by one for a while: after a minute.
GIVES_WAY_AFTER = 6
#: Seconds of the longest pause after a list that was throttled.
_LONGEST_PAUSE = 60.0
#: By these the interval between sweeps is stretched with each list that is throttled, and shortened with each that is
#: answered. One list in ten that is throttled is borne; where it is one in six, others want the quota, and get it.
_SLOWER, _FASTER, _SLOWEST = 1.4, 0.93, 8.0


class ListQuota:
    """
    When to list next. Times are the event loop's, in seconds.

    :ivar free_at: no list before it.
    :ivar factor: by how much the interval between sweeps is stretched.
    :ivar refusals: lists that were throttled since one was answered.
    """

    __slots__ = ("factor", "free_at", "refusals")

    def __init__(self) -> None:
        self.free_at = 0.0
        self.factor = 1.0
        self.refusals = 0

    def take(self, now: float) -> None:
        """Take note of a list that is about to be asked for, whoever asks."""
        self.free_at = max(self.free_at, now + LIST_SECONDS)

    def throttled(self, now: float, jitter: float) -> None:
        """
        Give way: no list for a pause that grows.

        :param jitter: from 0 up to 1, which shortens it by up to a half.
        """
        pause = min(_LONGEST_PAUSE, 2 * LIST_SECONDS * 2.0 ** min(self.refusals, 10)) * (1 - jitter / 2)
        self.refusals += 1
        self.factor = min(_SLOWEST, self.factor * _SLOWER)
        self.free_at = max(self.free_at, now + pause)

    def answered(self) -> None:
        """Take note of a list that was answered: a little faster again."""
        self.refusals = 0
        self.factor = max(1.0, self.factor * _FASTER)


class ListQuotas:
    """The quotas of a process, on each event loop."""

    def __init__(self) -> None:
        self._by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, ListQuota]] = WeakKeyDictionary()

    def of(self, account: str) -> ListQuota:
        """
        Return the quota of an account in a region, on the running event loop.

        :param account: as :attr:`~airflow_spot.watch.service.Service.account` names it.
        """
        quotas = self._by_loop.setdefault(asyncio.get_running_loop(), {})
        return quotas.setdefault(account, ListQuota())
