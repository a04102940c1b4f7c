"""
Taking turns where a quota is used up.

Fifty mapped tasks on a quota of four: when a job ends, one of those that wait in the same triggerer is let through to
ask for its share, in the order in which they came. Nobody else asks until its pause is over, so that the creates go
with the jobs that end and not with the tasks that wait.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict


class QuotaQueue:
    """Queues by quota, on one event loop. A wait that is cancelled gives its place up."""

    def __init__(self) -> None:
        self._queues: dict[str, OrderedDict[asyncio.Future[None], None]] = {}

    async def wait(self, quota: str, timeout: float) -> bool:
        """
        Wait for a turn.

        :param quota: what is shared.
        :param timeout: seconds after which to go without one.
        :return: whether it is this one's turn.
        """
        queue: OrderedDict[asyncio.Future[None], None] = self._queues.setdefault(quota, OrderedDict())
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue[turn] = None
        try:
            await asyncio.wait_for(turn, timeout)
        except (asyncio.TimeoutError, TimeoutError):
            return False
        finally:
            queue.pop(turn, None)
            if not queue:
                self._queues.pop(quota, None)
        return True

    def release(self, quota: str) -> None:
        """Wake the next in line: a share of the quota is free."""
        queue: OrderedDict[asyncio.Future[None], None] = self._queues.get(quota, OrderedDict())
        for turn in queue:
            if not turn.done():
                turn.set_result(None)
                return

    def waiting(self, quota: str) -> int:
        """Count those that wait."""
        return len(self._queues.get(quota, ()))


#: The triggerer's: all its triggers run on one event loop.
QUOTA_QUEUE = QuotaQueue()
