"""Waiting for a training job in the triggerer."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from datetime import datetime, timezone
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_spot.compat.triggers import TRIGGER_HAS_ON_KILL, task_state
from airflow_spot.core.log_messages import transition_line
from airflow_spot.core.marks import StopMark
from airflow_spot.core.stop_reasons import StopReason
from airflow_spot.triggers.cancelled import stop_if_ended
from airflow_spot.triggers.sources import Queue, SageMakerSource
from airflow_spot.watch.observe import waits_longer_than
from airflow_spot.watch.push import EventQueue
from airflow_spot.watch.registry import WATCHERS, key_of
from airflow_spot.watch.service import Service
from airflow_spot.watch.subscription import News, Subscription
from airflow_spot.watch.threads import in_thread
from airflow_spot.watch.turnstile import QUOTA_QUEUE

if TYPE_CHECKING:
    from airflow_spot.hooks.training import SageMakerSpotTrainingHook

#: Airflow 3 takes the end of the worker that deferred a task for the end of the resumed task, and fails it, where its
#: scheduler hears of that end only once the task has been queued again: on a busy machine, seconds after the deferral.
SETTLING_SECONDS = 5.0


class SageMakerSpotTrainingTrigger(BaseTrigger):
    """
    Wait until a training job is terminal, or until a moment; creates and stops nothing while it waits.

    It may be killed, or run twice, without harm: all it does is to look. It fires once, with
    ``{"status": ..., "job_name": ..., "run_state": {...}}``; the status is ``terminal``, ``timeout``, ``not_found``,
    ``quota_available`` or ``access_denied``.

    :param job_name: the job to wait for; None waits for the moment alone.
    :param until: the moment, in seconds since 1970; None for no limit. Its own, since the timeout of
        ``defer()`` would end the task and leave the job running.
    :param capacity_timeout: seconds that the job may wait for capacity in one go; then the trigger fires. None for any.
    :param quota_key: the name of the quota that the job uses, or that a run without a job waits for: when a job ends,
        one that waits is let through before its moment.
    :param run_state: handed back unchanged in the event: how the operator's run goes on where it was.
    :param poll_interval: seconds between two looks, at most: one watcher looks for all triggers of a connection.
    :param transitions_seen: how many of the job's transitions were logged before.
    :param events_queue_url: of an SQS queue that SageMaker's events come to, see ``docs/events.md``; None for none.
    :param stop_on_kill: whether a user's mark-failed, mark-success or clear stops the job.
    :param try_number: the Airflow try that waits, for the stop's mark.
    :param aws_conn_id: and the next three: as for the operator.
    """

    def __init__(
        self,
        *,
        job_name: str | None,
        until: float | None = None,
        capacity_timeout: float | None = None,
        quota_key: str = "",
        run_state: dict[str, Any] | None = None,
        poll_interval: float = 30.0,
        transitions_seen: int = 0,
        events_queue_url: str | None = None,
        stop_on_kill: bool = True,
        try_number: int = 1,
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        verify: bool | str | None = None,
        botocore_config: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.job_name = job_name
        self.until = until
        self.capacity_timeout = capacity_timeout
        self.quota_key = quota_key
        self.run_state = run_state or {}
        self.poll_interval = poll_interval
        self.transitions_seen = transitions_seen
        self.events_queue_url = events_queue_url
        self.stop_on_kill = stop_on_kill
        self.try_number = try_number
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name
        self.verify = verify
        self.botocore_config = botocore_config
        # Since when the job waits for capacity, or may: until the first look, since this trigger began.
        self._waits = _now()
        self._asked = False

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Give what the triggerer needs to build this trigger again."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "job_name": self.job_name,
                "until": self.until,
                "capacity_timeout": self.capacity_timeout,
                "quota_key": self.quota_key,
                "run_state": self.run_state,
                "poll_interval": self.poll_interval,
                "transitions_seen": self.transitions_seen,
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
        """Wait, and fire once; stop the job if a user ends the task meanwhile."""
        clock = asyncio.get_running_loop().time
        settled = clock() + SETTLING_SECONDS
        try:
            async for event in self._watch():
                await asyncio.sleep(max(0.0, settled - clock()))
                yield event
        except asyncio.CancelledError:
            if self._is_to_stop and not TRIGGER_HAS_ON_KILL and self.task_instance is not None:
                await stop_if_ended(partial(task_state, self.task_instance), self._stop, self.log)
            raise

    async def on_kill(self) -> None:
        """Stop the job when a user ends the deferred task: Airflow 3.3 calls this, :meth:`run` sees to it below."""
        if self._is_to_stop:
            await in_thread(self._stop)

    async def _watch(self) -> AsyncIterator[TriggerEvent]:
        """Wait until there is something to decide. What fails in passing is tried again, and never ends the task."""
        if self.job_name is None:
            yield await self._pause_over()
            return
        key = key_of({**self._settings, "events": self.events_queue_url})
        watcher = WATCHERS.get(key, self._service, self._event_queue)
        with watcher.subscribe(self.job_name, seen=self.transitions_seen, interval=self.poll_interval) as subscription:
            while True:
                event = await self._next(subscription)
                if event is not None:
                    break
        if event.payload["status"] in ("terminal", "not_found"):
            self._release_quota()
        yield event

    async def _next(self, subscription: Subscription) -> TriggerEvent | None:
        """Wait for news, or for the end of the time or of the capacity_timeout; None if there is nothing to decide."""
        left = self._left()
        news = None if left == 0 else await subscription.next(left)
        if news is None:
            if self.until is not None and _now() >= self.until:
                return self._event("timeout")
            if not self._asked and self._capacity_time_left() == 0:
                # What is known of the job may be as old as the last sweep, or nothing yet.
                self._asked = True
                subscription.ask()
            return None
        return self._read(news)

    def _read(self, news: News) -> TriggerEvent | None:
        """Tell what is new; None if there is nothing to decide."""
        if news.refused is not None:
            return self._event("access_denied", message=news.refused)
        if news.trouble is not None:
            self.log.warning("Describe of %s failed, will retry: %s", self.job_name, news.trouble)
            return None
        self._asked = False
        for transition in news.new:
            self.log.info("%s", transition_line(str(self.job_name), transition))
        if news.gone or news.ended:
            return self._event("not_found" if news.gone else "terminal")
        self._waits = news.waiting_since.timestamp() if news.waiting_since else math.inf
        over = waits_longer_than(news.waiting_since, self.capacity_timeout, datetime.now(timezone.utc))
        return self._event("timeout") if over else None

    def _left(self) -> float | None:
        """Give the seconds until there is something to do without any news; None for ever."""
        ends = [] if self.until is None else [max(0.0, self.until - _now())]
        if not self._asked and (capacity_timeout := self._capacity_time_left()) is not None:
            ends.append(capacity_timeout)
        return min(ends, default=None)

    def _capacity_time_left(self) -> float | None:
        """Give the seconds until the job has waited for as long as it may, if it waits; None where it does not."""
        if self.capacity_timeout is None or self._waits == math.inf:
            return None
        return max(0.0, self._waits + self.capacity_timeout - _now())

    async def _pause_over(self) -> TriggerEvent:
        """Wait for the moment, or for the quota to become available before it."""
        left = max(0.0, (self.until or _now()) - _now())
        if not self.quota_key:
            await asyncio.sleep(left)
            return self._event("timeout")
        return self._event("quota_available" if await QUOTA_QUEUE.wait(self._quota, left) else "timeout")

    def _release_quota(self) -> None:
        if self.quota_key:
            QUOTA_QUEUE.release(self._quota)

    @property
    def _quota(self) -> str:
        return f"{self.aws_conn_id} {self.region_name} {self.quota_key}"

    @property
    def _is_to_stop(self) -> bool:
        return self.stop_on_kill and self.job_name is not None

    def _stop(self) -> None:
        left = self._connect().stop(
            str(self.job_name), StopMark(StopReason.KILLED, self.try_number), owner=self.try_number
        )
        self.log.info("Task was marked or cleared by a user: training job %s %s", self.job_name, left or "stopped")

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
        return Queue(self.events_queue_url, **self._settings) if self.events_queue_url else None

    def _connect(self) -> SageMakerSpotTrainingHook:
        """A hook of its own, for the stop: it is patient, and waits for no sweep."""
        from airflow_spot.hooks.training import SageMakerSpotTrainingHook

        return SageMakerSpotTrainingHook(**self._settings)

    def _event(self, status: str, **more: Any) -> TriggerEvent:
        return TriggerEvent({"status": status, "job_name": self.job_name, "run_state": self.run_state, **more})


def _now() -> float:
    return datetime.now(timezone.utc).timestamp()
