"""The wait for one job in the triggerer: until there is something to decide about it."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

from airflow_spot.core.events import CapacityAwaited, Observer, Transitioned
from airflow_spot.core.log_messages import label_of
from airflow_spot.core.run_state import WatchedJob
from airflow_spot.core.starts import Start
from airflow_spot.core.waits import WaitStory
from airflow_spot.triggers.folder_watch import FolderWatch
from airflow_spot.triggers.report_watch import ReportWatch
from airflow_spot.watch.observe import waits_longer_than
from airflow_spot.watch.subscription import JobUpdate, Subscription


class JobWait:
    """
    Waits for one job, and for its limits of time.

    :param until: the moment at which it ends in any case, in seconds since 1970; None for none.
    :param observe: hears of the job's transitions.
    :param log: the trigger's.
    :param clock: AWS's time, in seconds since 1970: what the job's own times are of.
    :param folder: looks whether the job leaves checkpoints; None where nothing is looked at.
    :param reports: reads how far its script is; None likewise.
    """

    def __init__(
        self,
        job: WatchedJob,
        until: float | None,
        observe: Observer,
        log: Any,
        clock: Callable[[], float] | None = None,
        folder: FolderWatch | None = None,
        reports: ReportWatch | None = None,
    ) -> None:
        self._now = clock or now
        self._job = job
        self._folder = folder
        self._reports = reports
        self._until = until
        self._observe = observe
        self._log = log
        # Since when the job waits for capacity, or may: until the first look, since this wait began.
        self._waits = self._now()
        self._asked = False
        self._story = WaitStory()
        self._last: tuple[datetime | None, str] = (None, "")

    async def event(self, subscription: Subscription) -> dict[str, Any]:
        """Wait until there is something to decide; what, for the trigger's event."""
        while True:
            found = await self._next(subscription)
            if found is not None:
                return {"job_name": self._job.name, **found}

    async def _next(self, subscription: Subscription) -> dict[str, Any] | None:
        """Wait for an update, or for the end of a limit; None if there is nothing to decide."""
        left = self._left()
        update = None if left == 0 else await subscription.next(left)
        if update is not None:
            found = self._read(update)
            return found if found is not None else await self._look(update.starts)
        self._tell_wait()
        if self._until is not None and self._now() >= self._until:
            return {"status": "timeout"}
        if not self._asked and self._capacity_time_left() == 0:
            # What is known of the job may be as old as the last sweep, or nothing yet.
            self._asked = True
            subscription.ask()
        return await self._look()

    async def _look(self, starts: tuple[Start, ...] = ()) -> dict[str, Any] | None:
        """Look at what the job leaves, where it is time to; return what there is to decide, or None."""
        if self._reports is not None:
            self._reports.take(starts)
            await self._reports.look(self._moment())
        if self._folder is None:
            return None
        self._folder.take(starts)
        return {"status": "no_progress"} if await self._folder.look(self._moment()) else None

    def _read(self, update: JobUpdate) -> dict[str, Any] | None:
        """Report what is new; return what there is to decide, or None."""
        if update.refused is not None:
            return {"status": "access_denied", "message": update.refused}
        if update.trouble is not None:
            self._log.warning("Describe of %s failed, will retry: %s", self._job.name, update.trouble)
            return None
        self._asked = False
        for transition in update.new:
            keeps = self._job.keeps_checkpoints
            self._observe(
                Transitioned.of(
                    self._job.name,
                    label_of(self._job.name),
                    transition,
                    keeps_checkpoints=keeps,
                    heard=self._moment(),
                    starts=update.starts,
                )
            )
        if update.gone or update.ended:
            return {"status": "not_found" if update.gone else "terminal"}
        self._last = (update.waiting_since, update.wait_message)
        self._tell_wait()
        self._waits = update.waiting_since.timestamp() if update.waiting_since else math.inf
        over = waits_longer_than(update.waiting_since, self._job.capacity_timeout, self._moment())
        return {"status": "timeout"} if over else None

    def _tell_wait(self) -> None:
        (since, message), at = self._last, self._moment()
        if self._story.is_news(since, message, at) and since is not None:
            self._observe(CapacityAwaited(self._job.name, label_of(self._job.name), since, at, message))

    def _moment(self) -> datetime:
        return datetime.fromtimestamp(self._now(), timezone.utc)

    def _left(self) -> float | None:
        """Return the seconds until there is something to do without any update; None for ever."""
        ends = [] if self._until is None else [max(0.0, self._until - self._now())]
        if not self._asked and (left := self._capacity_time_left()) is not None:
            ends.append(left)
        for each in (self._folder, self._reports):
            if each is not None and (look := each.next) is not None:
                ends.append(max(0.0, look.timestamp() - self._now()))
        if (reminder := self._story.seconds_left(self._moment())) is not None:
            ends.append(reminder)
        return min(ends, default=None)

    def _capacity_time_left(self) -> float | None:
        """Return the seconds until the job has waited for as long as it may, if it waits; None where it does not."""
        if self._job.capacity_timeout is None or self._waits == math.inf:
            return None
        return max(0.0, self._waits + self._job.capacity_timeout - self._now())


def now() -> float:
    """Return the time in seconds since 1970."""
    return datetime.now(timezone.utc).timestamp()
