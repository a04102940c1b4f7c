"""Wait for training jobs in the triggerer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime, timezone
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_spot import config as settings
from airflow_spot.aws.marks import STOP_PAUSES
from airflow_spot.aws.retrying import ENDING_SECONDS
from airflow_spot.compat.triggers import TRIGGER_HAS_ON_KILL, task_state
from airflow_spot.core.events import Event, JobStopped, Observer
from airflow_spot.core.findings import pack
from airflow_spot.core.marks import StopMark
from airflow_spot.core.money.prices import Prices
from airflow_spot.core.progress import Progress
from airflow_spot.core.run_state import WatchedJob
from airflow_spot.core.script_progress import Reports
from airflow_spot.core.stop_reasons import StopReason
from airflow_spot.observers import observers
from airflow_spot.triggers.cancelled import stop_if_ended
from airflow_spot.triggers.folder_watch import FolderWatch
from airflow_spot.triggers.job_wait import JobWait, now
from airflow_spot.triggers.ledger_watch import LedgerWatch
from airflow_spot.triggers.report_watch import ReportWatch
from airflow_spot.triggers.sources import SageMakerSource, SqsEventQueue
from airflow_spot.watch.push import EventQueue
from airflow_spot.watch.quota_queue import QUOTA_QUEUE
from airflow_spot.watch.registry import WATCHERS, key_of
from airflow_spot.watch.service import Service
from airflow_spot.watch.watcher import Watcher

if TYPE_CHECKING:
    from airflow_spot.hooks.training import SageMakerSpotTrainingHook

#: Airflow 3 takes the end of the worker that deferred a task for the end of the resumed task, and fails it, where its
#: scheduler hears of that end only once the task has been queued again: on a busy machine, seconds after the deferral.
SETTLING_SECONDS = 5.0


class SageMakerSpotTrainingTrigger(BaseTrigger):
    """
    Wait until one of a run's jobs is terminal, or until a moment; creates and stops nothing while it waits.

    It may be killed, or run twice, without harm: all it does is to look. It fires once, with
    ``{"status": ..., "job_name": ..., "run_state": {...}}``; the status is ``terminal``, ``timeout``, ``not_found``,
    ``quota_available``, ``no_progress`` or ``access_denied``. Its arguments are rows in Airflow's database: they are
    only ever added to, and one that this version does not know is kept and ignored.

    :param jobs: what to wait for: each with its ``name``, ``transitions_seen`` (how many were logged before) and
        ``capacity_timeout`` (seconds that it may wait for capacity in one go; None for any). None waits for the moment
        alone.
    :param until: the moment, in seconds since 1970; None for no limit. Its own, since the timeout of
        ``defer()`` would end the task and leave the job running.
    :param quota_key: the name of the quota that the first job uses, or that a run without a job waits for: when a job
        ends, one that waits is let through before its moment.
    :param run_state: handed back in the event: how the operator's run continues where it was. Unchanged but for what
        was seen of the checkpoints of a job that has a ``folder``; ``told`` is then what was told of them.
    :param run_key: of the run, for its events.
    :param poll_interval: polling interval in seconds, at most: one watcher looks for all triggers of a connection.
    :param events_queue_url: of an SQS queue that SageMaker's events come to, see ``docs/events.md``; None for none.
    :param stop_on_kill: whether a user's mark-failed, mark-success or clear stops the jobs.
    :param try_number: the Airflow try that waits, for the stop's mark.
    :param aws_conn_id: and the next three: as for the operator.
    :param unknown: arguments of another version.
    """

    def __init__(
        self,
        *,
        jobs: Sequence[Mapping[str, Any]] = (),
        until: float | None = None,
        quota_key: str = "",
        run_state: dict[str, Any] | None = None,
        run_key: str = "",
        poll_interval: float = 30.0,
        events_queue_url: str | None = None,
        stop_on_kill: bool = True,
        try_number: int = 1,
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        verify: bool | str | None = None,
        botocore_config: dict[str, Any] | None = None,
        **unknown: Any,
    ) -> None:
        super().__init__()
        self.jobs = list(jobs)
        self.until = until
        self.quota_key = quota_key
        self.run_state = run_state or {}
        self.run_key = run_key
        self.poll_interval = poll_interval
        self.events_queue_url = events_queue_url
        self.stop_on_kill = stop_on_kill
        self.try_number = try_number
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name
        self.verify = verify
        self.botocore_config = botocore_config
        self.unknown = unknown
        self._ledger: LedgerWatch | None = None

    def __repr__(self) -> str:
        """Name it for Airflow's log, without its arguments: among them are proxies and their passwords."""
        return f"<{type(self).__qualname__} {', '.join(str(job['name']) for job in self.jobs) or 'without a job'}>"

    @property
    def job_name(self) -> str | None:
        """Return the first job's name; None where it waits for a moment alone."""
        return str(self.jobs[0]["name"]) if self.jobs else None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what the triggerer needs to build this trigger again."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                **self.unknown,
                "jobs": self.jobs,
                "until": self.until,
                "quota_key": self.quota_key,
                "run_state": self.run_state,
                "run_key": self.run_key,
                "poll_interval": self.poll_interval,
                "events_queue_url": self.events_queue_url,
                "stop_on_kill": self.stop_on_kill,
                "try_number": self.try_number,
                "aws_conn_id": self.aws_conn_id,
                "region_name": self.region_name,
                "verify": self.verify,
                "botocore_config": self.botocore_config,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and fire once; stop the jobs if a user ends the task meanwhile."""
        clock = asyncio.get_running_loop().time
        settled = clock() + SETTLING_SECONDS
        try:
            event = await self._watch()
            await asyncio.sleep(max(0.0, settled - clock()))
            yield event
        except asyncio.CancelledError:
            if not TRIGGER_HAS_ON_KILL:
                await self._stop_if_ended()
            raise

    async def on_kill(self) -> None:
        """
        Stop the jobs when a user ended the deferred task: Airflow 3.3 calls this, :meth:`run` sees to it below.

        Airflow 3.3 calls it as well for triggers that another triggerer took over from one that was late: so the task's
        state is asked for here too.
        """
        await self._stop_if_ended()

    async def _stop_if_ended(self) -> None:
        if self._is_to_stop and self.task_instance is not None:
            await stop_if_ended(partial(task_state, self.task_instance), self._stop, self.log)

    async def _watch(self) -> TriggerEvent:
        """Wait until there is something to decide. What fails in passing is tried again, and never ends the task."""
        if not self.jobs:
            return await self._pause_over()
        key = key_of({**self._settings, "events": self.events_queue_url})
        watcher = WATCHERS.get(key, self._service, self._event_queue)
        ledger = self._keep_ledger(lambda: watcher.clock_offset)
        with ExitStack() as stack:
            waits, folders, reports = [], [], []
            for job in map(WatchedJob.from_json, self.jobs):
                subscription = watcher.subscribe(job.name, seen=job.transitions_seen, interval=self.poll_interval)
                stack.enter_context(subscription)
                observe = self._observer()
                folder = self._folder(job, watcher, observe)
                folders += [folder] if folder is not None else []
                report = self._report(job, watcher, observe)
                reports += [report] if report is not None else []
                wait = JobWait(job, self.until, observe, self.log, lambda: now() + watcher.clock_offset, folder, report)
                waits.append(wait.event(subscription))
            found = await _first(waits)
        if found["status"] in ("terminal", "not_found") and found["job_name"] == self.jobs[0]["name"]:
            self._release_quota()
        seen: dict[str, Any] = {"progress": folders[0].progress.to_json()} if folders else {}
        if reports and (reported := reports[0].reports.to_json()):
            seen["reports"] = reported
        told = {"told": pack(folders[0].told)} if folders and folders[0].told else {}
        await ledger.close()
        seen.update(ledger.carried())
        return TriggerEvent({**found, "run_state": {**self.run_state, **seen}, **told})

    def _folder(self, job: WatchedJob, watcher: Watcher, observe: Observer) -> FolderWatch | None:
        """Return what looks at the checkpoints of a job; None where nothing is to be looked at, or known of them."""
        progress = Progress.from_json(self.run_state.get("progress"))
        if job.folder is None or progress is None:
            return None
        return FolderWatch(job.name, job.folder, progress, watcher.look_into, observe)

    def _report(self, job: WatchedJob, watcher: Watcher, observe: Observer) -> ReportWatch | None:
        """Return what reads how far a job's script is; None where there is no place to look at."""
        if job.reports is None:
            return None
        known = Reports.from_json(self.run_state.get("reports"))
        return ReportWatch(job.name, job.reports, known, watcher.read_report, observe)

    async def _pause_over(self) -> TriggerEvent:
        """Wait for the moment, or for the quota to become available before it."""
        left = max(0.0, (self.until or now()) - now())
        status = "timeout"
        if not self.quota_key:
            await asyncio.sleep(left)
        elif await QUOTA_QUEUE.wait(self._quota, left):
            status = "quota_available"
        return TriggerEvent({"status": status, "job_name": None, "run_state": self.run_state})

    def _release_quota(self) -> None:
        if self.quota_key:
            QUOTA_QUEUE.release(self._quota)

    @property
    def _quota(self) -> str:
        return f"{self.aws_conn_id} {self.region_name} {self.quota_key}"

    @property
    def _is_to_stop(self) -> bool:
        return self.stop_on_kill and bool(self.jobs)

    def _stop(self) -> None:
        hook, mark = self._connect(), StopMark(StopReason.KILLED, self.try_number)
        hook.enable_retries(time.sleep, time.time() + ENDING_SECONDS)
        heard = observers(self.log, self.run_key, settings.events_file())
        events: list[Event] = []
        try:
            for job in self.jobs:
                skipped = hook.stop(job["name"], mark, owner=self.try_number, pauses=STOP_PAUSES)
                why = "the task was marked or cleared by a user"
                events.append(JobStopped(job["name"], StopReason.KILLED, why, skipped))
                for observe in heard:
                    observe(events[-1])
        finally:
            for event in events:  # now: no job waits for what a page shows
                self._keep_ledger().observe_in_thread(event)

    def _keep_ledger(self, offset: Callable[[], float] = lambda: 0.0) -> LedgerWatch:
        if self._ledger is None:

            def clock() -> datetime:
                return datetime.fromtimestamp(now() + offset(), timezone.utc)

            prices = Prices.from_json(self.run_state.get("prices"))
            self._ledger = LedgerWatch(self.run_state.get("timeline"), self.task_instance, self.log, clock, prices)
        return self._ledger

    def _observer(self) -> Observer:
        heard = (*observers(self.log, self.run_key, settings.events_file()), self._keep_ledger().observe)

        def observe(event: Event) -> None:
            for observer in heard:
                observer(event)

        return observe

    @property
    def _settings(self) -> dict[str, Any]:
        return {
            "aws_conn_id": self.aws_conn_id,
            "region_name": self.region_name,
            "verify": self.verify,
            "config": self.botocore_config,
        }

    def _service(self) -> Service:
        """What the watcher asks; it does not hold on to this trigger."""
        return SageMakerSource(**self._settings)

    def _event_queue(self) -> EventQueue | None:
        return SqsEventQueue(self.events_queue_url, **self._settings) if self.events_queue_url else None

    def _connect(self) -> SageMakerSpotTrainingHook:
        """A hook of its own, for the stop: it is patient, and waits for no sweep."""
        from airflow_spot.hooks.training import SageMakerSpotTrainingHook

        return SageMakerSpotTrainingHook(**self._settings)


async def _first(waits: Sequence[Coroutine[Any, Any, dict[str, Any]]]) -> dict[str, Any]:
    """Return what the first of several waits comes to, and end the others."""
    if len(waits) == 1:
        return await waits[0]
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return next(task for task in tasks if task in done).result()
    finally:
        for task in tasks:
            task.cancel()
