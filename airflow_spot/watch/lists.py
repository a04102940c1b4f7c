"""When to list, and with or without the filter LastModifiedTimeAfter. Pure: the calls are made by the watcher."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from airflow_spot.watch.list_quota import ListQuota
from airflow_spot.watch.sweep import FILTER_MARGIN, Summary, Sweep, most_pages
from airflow_spot.watch.watched_jobs import WatchedJobs

#: Seconds between two sweeps without the filter, while it holds: they see what it hides.
WHOLE_SECONDS = 1800.0
#: Seconds for which the filter is not used after it failed, and no list is asked for after one was not permitted.
SHUNNED_SECONDS = 3600.0
#: Pages that fail, one after the other, before their sweep is given up.
_FAILURES = 3


class ListScheduler:
    """
    The sweeps of one watcher: one with the filter at each interval, beside one without at times; or those alone.

    Times are the event loop's, in seconds.

    :ivar quota: what its lists are taken from.
    :ivar pages: that the last whole sweep took.
    """

    def __init__(self, quota: ListQuota) -> None:
        self.quota = quota
        self.pages = 1
        #: A moment of the service's clock, and the loop's time when it had come at the latest.
        self._moment: tuple[datetime, float] | None = None
        self._complete_at = 0.0
        self._filtered_at = 0.0
        self._filtered: Sweep | None = None
        self._whole: Sweep | None = None
        self._whole_at = 0.0
        self._beside = False
        self._no_filter_until = 0.0
        self._denied_until = 0.0
        self._failures = 0

    def cost(self, now: float) -> int:
        """Return how many pages the sweep at each interval takes."""
        return 1 if self._uses_filter(now) else self.pages

    def is_worth_it(self, jobs: int, now: float) -> bool:
        """Return whether to list for so many jobs is cheaper than to describe each of them."""
        return jobs > self.cost(now) and now >= self._denied_until

    @property
    def is_busy(self) -> bool:
        """Return whether the sweep of the last interval is still under way."""
        return self._filtered is not None or (self._whole is not None and not self._beside)

    def begin(self, watched: WatchedJobs, now: float) -> None:
        """Begin the sweep of an interval."""
        jobs, _ = watched.counts
        if self._uses_filter(now) and self._moment is not None:
            # What a list showed then was so at that moment or later: no clock but the service's own is asked.
            known, at = self._moment
            after = known + timedelta(seconds=self._complete_at - at) - FILTER_MARGIN
            wanted = {job.name: None for job in watched.listable}
            self._filtered_at, self._beside = now, True
            self._filtered = Sweep(wanted, after=after, most_pages=max(2, self.pages))
            if now < self._whole_at:
                return
        else:
            self._beside = False
            self._complete_at = now
        if self._whole is None:
            self._whole_at = now + WHOLE_SECONDS
            created = {job.name: job.created for job in watched.listable}
            self._whole = Sweep(created, after=None, most_pages=most_pages(jobs))

    def next_page(self) -> tuple[float, Sweep] | None:
        """Return when which sweep reads its next page; None if none is under way."""
        sweep = self._filtered or self._whole
        return None if sweep is None else (self.quota.free_at, sweep)

    def took(self, sweep: Sweep, page: Mapping[str, Any], asked: float, now: float) -> dict[str, Summary]:
        """
        Take in a page.

        :param asked: when it was asked for.
        :return: what it says of watched jobs. The sweep is over where :meth:`is_over` says so.
        """
        self._failures = 0
        goes_on = sweep.read(page)
        if sweep.newest is not None and sweep.newest > self._service_time(asked):
            self._moment = (sweep.newest, now)
        if goes_on:
            self.pages = max(self.pages, 2)  # so the filter is of use, before a long sweep comes to its end
            return sweep.found
        if sweep.after is None:
            self.pages = sweep.pages
        elif sweep.filter_failed:
            self.disable_modified_filter(now)
        else:
            self._complete_at = self._filtered_at
        self.drop(sweep)
        return sweep.found

    def _service_time(self, at: float) -> datetime:
        """Return what the service's clock had come to by then, at least."""
        if self._moment is None:
            return datetime.min.replace(tzinfo=timezone.utc)
        known, then = self._moment
        return known + timedelta(seconds=at - then)

    def failed(self, sweep: Sweep, now: float, *, will_pass: bool) -> bool:
        """
        Take note of a page that failed.

        :param will_pass: the same page is worth asking for again.
        :return: whether lists are done without for a while.
        """
        self.quota.take(now)
        self._failures += 1
        if not will_pass or self._failures % _FAILURES == 0:
            self._whole_at = self._whole_at if sweep is self._filtered else 0.0
            self.drop(sweep)
        if will_pass or self._failures < _FAILURES:
            return False
        self.deny(now, 600.0)
        return True

    def is_over(self, sweep: Sweep) -> bool:
        """Return whether a sweep has come to its end."""
        return sweep is not self._filtered and sweep is not self._whole

    def drop(self, sweep: Sweep) -> None:
        """End a sweep, whether it came to its end or not."""
        if sweep is self._filtered:
            self._filtered = None
        elif sweep is self._whole:
            self._whole = None

    def disable_modified_filter(self, now: float) -> bool:
        """
        Do without the filter for an hour.

        :return: whether it was in use.
        """
        used = self._uses_filter(now)
        self._no_filter_until = now + SHUNNED_SECONDS
        self._whole_at = 0.0
        return used

    def deny(self, now: float, seconds: float = SHUNNED_SECONDS) -> None:
        """Do without lists for a while."""
        self._denied_until = now + seconds
        self._filtered = self._whole = None

    def _uses_filter(self, now: float) -> bool:
        return self.pages > 1 and self._moment is not None and now >= self._no_filter_until
