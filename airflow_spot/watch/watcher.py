"""
One watcher for all jobs of a connection and region.

A single task makes the calls, in threads: the next page of a sweep where one is due, else a describe of a
job that changed, else one that is due for safety. So the calls grow with the changes and not with the jobs, and
whatever makes one of them fail is answered in one place.
"""

from __future__ import annotations

import asyncio
import contextvars
import random
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timezone
from functools import partial
from typing import Any

from airflow_spot.core.folder_look import FolderLook
from airflow_spot.core.outcomes import ENDED_STATUSES
from airflow_spot.core.script_progress import ScriptProgress
from airflow_spot.watch import observe
from airflow_spot.watch.list_quota import GIVES_WAY_AFTER, ListQuota
from airflow_spot.watch.lists import ListScheduler
from airflow_spot.watch.pace import QUIET_DESCRIBE_SECONDS, Pace, retry_delay, safety_delay
from airflow_spot.watch.push import SWEEP_SECONDS, EventQueue, Listener
from airflow_spot.watch.service import ErrorKind, Service
from airflow_spot.watch.subscription import JobUpdate, Subscription
from airflow_spot.watch.sweep import Summary, Sweep, contradicts_filter, is_news, status_of
from airflow_spot.watch.threads import in_thread
from airflow_spot.watch.watched_jobs import Job, WatchedJobs

#: Seconds for which an ended job's last transitions are waited for; then its end is told without them.
ENDED_SECONDS = 0.8
#: Describes of one job that fail, one after the other, before a worker is asked to find out why: about two hours.
BLIND_LOOKS = 30
#: Seconds for which a denial is not believed: policies and roles are changed in steps.
DENIED_SECONDS = 300.0
#: Looks that find no such job before it is taken for gone, and the seconds between them.
GONE_LOOKS, GONE_PAUSE = 3, 2.0
#: And seconds in which no call at all is answered.
BLIND_SECONDS = 7200.0
#: Seconds in which no call is answered before everybody who waits is told.
TOLD_SECONDS = 60.0
#: A watcher that crashes restarts after so many seconds.
RESTART_SECONDS = 5.0
#: ListScheduler are done without for so long after one that nobody foresaw.
UNREADABLE_SECONDS = 600.0
_REMINDER_SECONDS = 600.0
#: Subscribers that are told at a time, before others have their turn on the loop.
_SLICE = 50
_AT_ONCE = 2
#: Describes made at once, where jobs wait to be described; and looks at checkpoint folders.
TOGETHER = 4
#: While events come, it is looked so often whether they still do.
SILENCE_SEEN_SECONDS = 30.0
#: A clock may show a moment before the one that was waited for.
_LEAST_REST = 0.001


class Watcher:
    """
    Watches jobs for as long as somebody waits for one.

    :param service: makes the calls.
    :param name: of what is watched, for the log.
    :param log: the triggerer's.
    :param event_queue: a queue that SageMaker's events come to; sweeps are rare while it answers.
    :param quota_of: returns what is known of an account's ListTrainingJobs quota; all who share it get the same.
    :param on_end: called when the last subscriber is gone.
    :param call: does what blocks.
    :param jitter: gives a number from 0 up to 1.
    """

    def __init__(
        self,
        service: Service,
        name: str,
        log: Any,
        *,
        event_queue: EventQueue | None = None,
        quota_of: Callable[[str], ListQuota] = lambda _: ListQuota(),
        on_end: Callable[[Watcher], None] = lambda _: None,
        call: Callable[[Callable[[], Any]], Awaitable[Any]] = in_thread,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.name = name
        self.watched = WatchedJobs()
        self._service = service
        self._log = log
        self._on_end = on_end
        self._quota_of = quota_of
        self._account: str | None = None
        self._quota = ListQuota()
        self._call = call
        self._jitter = jitter
        self._loop = asyncio.get_running_loop()
        self._clock = self._loop.time
        self._wake = asyncio.Event()
        self._folders = asyncio.Semaphore(TOGETHER)
        self._task: asyncio.Task[None] | None = None
        self._listening: asyncio.Task[None] | None = None
        self._listener = None
        if event_queue is not None:
            self._listener = Listener(
                event_queue, name, log, self._hear, call=call, clock=self._clock, now=_now, jitter=jitter
            )
        self._reset()

    def _reset(self) -> None:
        now = self._clock()
        self._lists = ListScheduler(self._quota)
        self._pace = Pace()
        self._begun: float | None = None  # the sweep of this interval
        self._not_before = now
        self._next_quiet = now
        self._failing_since: float | None = None
        self._trouble_logged = False
        self._reminded = -_REMINDER_SECONDS
        self.watched.forget(now)

    @property
    def clock_offset(self) -> float:
        """Seconds by which the service's clock is ahead of this machine's."""
        return self._service.clock_offset

    # ---- who waits

    def subscribe(self, job_name: str, *, seen: int = 0, interval: float = 30.0) -> Subscription:
        """
        Wait for a job.

        :param seen: how many of its transitions have been told before.
        :param interval: seconds between two sweeps, at most, as long as calls are not throttled.
        """
        made = Subscription(job_name, seen, interval, ask=self._ask, close=self._close)
        job = self.watched.add(made, self._clock())
        if job.listed is not None and job.listed[0] in ENDED_STATUSES:
            self.watched.prioritize(job, first=True)
        if self._task is None or self._task.done():
            self._start()
        self._wake.set()
        return made

    def _ask(self, subscription: Subscription) -> None:
        self.watched.prioritize(self.watched.jobs[subscription.job_name], first=True)
        self._wake.set()

    def _hear(self, job_name: str) -> bool:
        """Note that a job changed; return whether it is watched here."""
        job = self.watched.jobs.get(job_name)
        if job is None:
            return False
        self.watched.prioritize(job, first=True)
        self._wake.set()
        return True

    def _close(self, subscription: Subscription) -> None:
        self.watched.remove(subscription)
        if not self.watched.jobs:
            self._on_end(self)
            tasks, self._task, self._listening = (self._task, self._listening), None, None
            for task in tasks:
                if task is not None:
                    task.cancel()

    async def look_into(self, uri: str) -> FolderLook:
        """Look at a checkpoint folder for whoever watches it: a few at a time, beside the calls about jobs."""
        async with self._folders:
            found: FolderLook = await self._call(partial(self._service.folder, uri))
            return found

    async def read_report(self, uri: str) -> ScriptProgress | None:
        """Read what a script reported in a checkpoint folder, likewise."""
        async with self._folders:
            found: ScriptProgress | None = await self._call(partial(self._service.report, uri))
            return found

    # ---- its task

    def _start(self) -> None:
        # In an empty context: what it logs belongs to the triggerer, and not to the task that came first.
        self._task = contextvars.Context().run(self._loop.create_task, self._run())
        self._task.add_done_callback(self._ended)
        if self._listener is not None and (self._listening is None or self._listening.done()):
            self._listening = contextvars.Context().run(self._loop.create_task, self._listener.run())

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Restart if somebody still waits: what cancelled the task was not the last of them."""
        if self.watched.jobs and task is self._task:
            # Later, if the loop still runs then: it may be what ends.
            self._loop.call_later(RESTART_SECONDS, self._restart, task)

    def _restart(self, task: asyncio.Task[None]) -> None:
        if self.watched.jobs and task is self._task:
            self._log.warning("Watcher for %s was cancelled with active subscribers; restarting", self.name)
            self._reset()
            self._start()

    async def _run(self) -> None:
        while True:
            try:
                while True:
                    await self._turn()
            except Exception as error:
                self._log.warning(
                    "Watcher for %s crashed; restarting: %s: %s",
                    self.name,
                    type(error).__name__,
                    error,
                    exc_info=True,
                )
                await asyncio.sleep(RESTART_SECONDS * (1 + self._jitter()))
                self._reset()

    async def _turn(self) -> None:
        """Make the call that is due, or wait for one."""
        now = self._clock()
        if now < self._not_before:
            await self._rest(self._not_before)
            return
        busy = self._lists.is_busy
        if not busy and now >= self._next_sweep:
            self._sweep(now)
        page = self._lists.next_page()
        if page is not None and now >= page[0]:
            await self._read(page[1])
        elif urgent := self.watched.take_urgent(1 if self._pace.is_failing else TOGETHER):
            await asyncio.gather(*(self._describe(job) for job in urgent))
        elif (due := self.watched.next_due) is not None and now >= max(due[0], self._next_quiet):
            self._next_quiet = now + QUIET_DESCRIBE_SECONDS * self._pace.factor
            await self._describe(due[1])
        else:
            moments = [] if busy else [self._next_sweep]
            moments += [page[0]] if page is not None else []
            moments += [max(due[0], self._next_quiet)] if due is not None else []
            # A queue may fall silent meanwhile, and then the next sweep is due sooner.
            moments += [now + SILENCE_SEEN_SECONDS] if self._hears else []
            await self._rest(min(moments))

    @property
    def _hears(self) -> bool:
        return self._listener is not None and self._listener.is_receiving

    async def _rest(self, until: float) -> None:
        self._wake.clear()
        waiter = self._loop.create_task(self._wake.wait())
        try:
            await asyncio.wait((waiter,), timeout=max(_LEAST_REST, until - self._clock()))
        finally:
            waiter.cancel()

    @property
    def _next_sweep(self) -> float:
        if self._begun is None:
            return 0.0
        listable, others = self.watched.counts
        listed = self._lists.is_worth_it(listable, self._clock())
        pages, describes = (self._lists.cost(self._clock()), others) if listed else (0, others + listable)
        wanted = max(self.watched.interval, SWEEP_SECONDS) if self._hears else self.watched.interval
        wanted *= self._quota.factor if listed else 1.0
        return self._begun + self._pace.interval(wanted, pages, describes)

    def _sweep(self, now: float) -> None:
        self._begun = now
        for job in self.watched.unlistable:
            self.watched.prioritize(job)
        listable, _ = self.watched.counts
        if self._lists.is_worth_it(listable, now):
            self._lists.begin(self.watched, now)
        else:
            for job in self.watched.listable:
                self.watched.prioritize(job)

    # ---- the list

    async def _read(self, sweep: Sweep) -> None:
        try:
            asked = self._clock()
            self._quota.take(asked)
            page = await self._call(partial(self._service.page, sweep.token, sweep.after))
        except Exception as error:
            await self._not_read(sweep, error)
            return
        now = self._clock()
        self._quota.answered()
        self._answer(now)
        try:
            self._take(sweep, page, asked, now)
        except Exception as error:
            # Described one by one, jobs are not kept waiting by a list that nobody foresaw.
            self._lists.deny(now, UNREADABLE_SECONDS)
            self._log.warning(
                "%s: unexpected ListTrainingJobs answer: %s: %s", self.name, type(error).__name__, error, exc_info=True
            )

    def _take(self, sweep: Sweep, page: Mapping[str, Any], asked: float, now: float) -> None:
        for name, summary in self._lists.took(sweep, page, asked, now).items():
            job = self.watched.jobs.get(name)
            if job is not None:
                self._compare(job, summary)
        if not self._lists.is_over(sweep):
            return
        if sweep.filter_failed:
            self._log.info("%s: ListTrainingJobs ignored LastModifiedTimeAfter; using full listings for 1 h", self.name)
            self._lists.begin(self.watched, now)
        elif sweep.after is None:
            for name in sweep.missing:
                job = self.watched.jobs.get(name)
                # One that no describe has shown yet has its first look before it.
                if job is not None and job.described is not None:
                    self.watched.prioritize(job)

    async def _not_read(self, sweep: Sweep, error: Exception) -> None:
        trouble, now = await self._failed(error, listing=True), self._clock()
        if trouble is ErrorKind.DENIED:
            self._lists.deny(now)
        elif trouble is ErrorKind.THROTTLED and self._quota.refusals >= GIVES_WAY_AFTER:
            self._lists.deny(now, UNREADABLE_SECONDS)
            self._begun = None  # they are due: nobody has looked at them for a sweep
            self._log.warning("%s: ListTrainingJobs is throttled; describing jobs one by one for 10 min", self.name)
            return
        elif not self._lists.failed(sweep, now, will_pass=trouble is not ErrorKind.OTHER):
            return
        self._log.warning("%s: ListTrainingJobs is denied; describing jobs one by one: %s", self.name, error)

    def _compare(self, job: Job, summary: Summary) -> None:
        before, job.listed, job.created = job.listed, summary.status, summary.created
        if summary.status[0] in ENDED_STATUSES:
            if before != summary.status:
                self.watched.prioritize(job, first=True)
                self._loop.call_later(ENDED_SECONDS, self._tell_end, job)
        elif is_news(summary.status, before, job.described):
            self.watched.prioritize(job)

    def _tell_end(self, job: Job) -> None:
        """Report an end that no describe could report in time: many jobs end at once, or its describe fails."""
        if self.watched.jobs.get(job.name) is not job or (job.described and job.described[0] in ENDED_STATUSES):
            return
        for subscriber in job.subscribers:
            subscriber.tell(JobUpdate(ended=True))

    # ---- single jobs

    async def _describe(self, job: Job) -> None:
        try:
            description = await self._call(partial(self._service.describe, job.name))
            now = self._clock()
            self._answer(now)
            if description is None:
                job.missing += 1
                if job.missing < GONE_LOOKS:
                    self.watched.schedule(job, now + GONE_PAUSE)
                    return
                for subscriber in job.subscribers:
                    subscriber.tell(JobUpdate(gone=True))
            else:
                job.missing = 0
                job.described, job.created = status_of(description), description.get("CreationTime")
                if contradicts_filter(description) and self._lists.disable_modified_filter(now):
                    self._log.info("%s: LastModifiedTime does not follow transitions; using full listings", self.name)
                for subscriber in job.subscribers:
                    subscriber.look(observe.read(description, subscriber.seen))
        except Exception as error:
            await self._not_described(job, error)
        else:
            job.failures, job.denied = 0, None
            self.watched.schedule(job, now + safety_delay(self._jitter()))

    async def _not_described(self, job: Job, error: Exception) -> None:
        trouble = await self._failed(error)
        if trouble in (ErrorKind.THROTTLED, ErrorKind.EXPIRED):
            self.watched.prioritize(job, first=True)
            return
        job.failures += 1
        now = self._clock()
        job.denied = None if trouble is not ErrorKind.DENIED else now if job.denied is None else job.denied
        believed = job.denied is not None and now - job.denied >= DENIED_SECONDS
        if believed or job.failures > BLIND_LOOKS:
            for subscriber in job.subscribers:
                subscriber.tell(JobUpdate(refused=str(error)))
        elif job.failures > _AT_ONCE or trouble is ErrorKind.OTHER:
            for subscriber in job.subscribers:
                subscriber.tell(JobUpdate(trouble=str(error)))
        if trouble is ErrorKind.TRANSIENT and job.failures <= _AT_ONCE:
            self.watched.prioritize(job)
        else:
            self.watched.schedule(job, self._clock() + retry_delay(job.failures, self._jitter()))

    # ---- calls that fail

    def _answer(self, now: float) -> None:
        if self._trouble_logged:
            self._log.info("%s: calls succeed again", self.name)
        self._failing_since, self._trouble_logged = None, False
        self._pace.answered()
        account = self._service.account
        if account is not None and account != self._account:
            before, self._account, self._quota = self._quota, account, self._quota_of(account)
            self._quota.free_at = max(self._quota.free_at, before.free_at)
            self._lists.quota = self._quota

    async def _failed(self, error: Exception, *, listing: bool = False) -> ErrorKind:
        """
        Take note of a call that failed, and say what that means.

        :param listing: it was a list, whose quota is not that of the other calls.
        """
        trouble, now = self._service.classify_error(error), self._clock()
        if trouble in (ErrorKind.DENIED, ErrorKind.OTHER):
            return trouble
        if trouble is ErrorKind.EXPIRED:
            self._service.renew()
        if trouble is ErrorKind.THROTTLED and listing:
            self._quota.throttled(now, self._jitter())
        else:
            pause = self._pace.throttled if trouble is ErrorKind.THROTTLED else self._pace.failed
            self._not_before = now + pause(self._jitter())
        if now - self._reminded >= _REMINDER_SECONDS:
            self._reminded = now
            self._log.warning("%s: %s (%s); backing off", self.name, error, trouble.value)
        self._failing_since = now if self._failing_since is None else self._failing_since
        blind = now - self._failing_since
        if blind >= BLIND_SECONDS:
            await self._tell_all(JobUpdate(refused=str(error)))
        elif blind >= TOLD_SECONDS and not self._trouble_logged:
            self._trouble_logged = True
            await self._tell_all(JobUpdate(trouble=str(error)))
        return trouble

    async def _tell_all(self, news: JobUpdate) -> None:
        for number, job in enumerate(list(self.watched.jobs.values())):
            for subscriber in job.subscribers:
                subscriber.tell(news)
            if number % _SLICE == _SLICE - 1:
                await asyncio.sleep(0)


def _now() -> datetime:
    return datetime.now(timezone.utc)
