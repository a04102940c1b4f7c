"""Wait for a checkpoint in the triggerer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack
from datetime import datetime, timezone
from functools import partial
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_spot.core.checkpoint_wait import CheckpointWait, Verdict
from airflow_spot.core.folder_look import FolderLook
from airflow_spot.core.starts import Start
from airflow_spot.triggers.job_wait import now
from airflow_spot.triggers.sources import SageMakerSource, SqsEventQueue
from airflow_spot.triggers.training import SETTLING_SECONDS
from airflow_spot.watch.push import EventQueue
from airflow_spot.watch.registry import WATCHERS, key_of
from airflow_spot.watch.subscription import Subscription
from airflow_spot.watch.threads import in_thread

_NAMES = (
    "uri",
    "job_name",
    "newer_than",
    "stale_after",
    "until",
    "state",
    "poll_interval",
    "events_queue_url",
    "aws_conn_id",
    "region_name",
    "verify",
    "botocore_config",
)
#: Looks in a row that fail before the worker is asked to find out why.
BLIND_LOOKS = 3
#: Seconds between looks at the job, at least: it is the folder that is waited for.
JOB_INTERVAL_SECONDS = 30.0


class SageMakerCheckpointTrigger(BaseTrigger):
    """
    Look at a checkpoint folder until there is something to decide, or until a moment; it changes nothing.

    It fires once, with ``{"status": ..., "state": {...}}``: the status is ``written``, ``stale``, ``terminal``,
    ``not_seen``, ``not_found``, ``access_denied`` or ``timeout``. Its arguments are rows in Airflow's database: they
    are only ever added to, and one that this version does not know is kept and ignored.

    :param uri: of the folder, in S3.
    :param job_name: of the job that writes there; None for none.
    :param newer_than: seconds since 1970; None for any checkpoint.
    :param stale_after: seconds that the job may train without one; None for any.
    :param until: the moment at which it ends in any case, in seconds since 1970.
    :param state: handed back unchanged in the event.
    :param poll_interval: seconds between two looks.
    :param events_queue_url: as for the operator's trigger, as are the four below.
    :param unknown: arguments of another version.
    """

    def __init__(
        self,
        *,
        uri: str = "",
        job_name: str | None = None,
        newer_than: float | None = None,
        stale_after: float | None = None,
        until: float = 0.0,
        state: dict[str, Any] | None = None,
        poll_interval: float = 60.0,
        events_queue_url: str | None = None,
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        verify: bool | str | None = None,
        botocore_config: dict[str, Any] | None = None,
        **unknown: Any,
    ) -> None:
        super().__init__()
        self.uri = uri
        self.job_name = job_name
        self.newer_than = newer_than
        self.stale_after = stale_after
        self.until = until
        self.state = state or {}
        self.poll_interval = poll_interval
        self.events_queue_url = events_queue_url
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name
        self.verify = verify
        self.botocore_config = botocore_config
        self.unknown = unknown

    def __repr__(self) -> str:
        """Name it for Airflow's log, without its arguments."""
        return f"<{type(self).__qualname__} {self.uri}>"

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what the triggerer needs to build this trigger again."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {**self.unknown, **{name: getattr(self, name) for name in _NAMES}},
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and fire once."""
        clock = asyncio.get_running_loop().time
        settled = clock() + SETTLING_SECONDS
        with ExitStack() as stack:
            subscription: Subscription | None = None
            if self.job_name:
                key = key_of({**self._settings, "events": self.events_queue_url})
                watcher = WATCHERS.get(key, lambda: SageMakerSource(**self._settings), self._event_queue)
                interval = max(self.poll_interval, JOB_INTERVAL_SECONDS)
                subscription = stack.enter_context(watcher.subscribe(self.job_name, interval=interval))
                status = await self._watch(watcher.look_into, subscription)
            else:
                source = SageMakerSource(**self._settings)
                status = await self._watch(lambda uri: in_thread(partial(source.folder, uri)), None)
        await asyncio.sleep(max(0.0, settled - clock()))
        yield TriggerEvent({"status": status, "state": self.state})

    async def _watch(self, look_into: Callable[[str], Awaitable[FolderLook]], job: Subscription | None) -> str:
        newer = None if self.newer_than is None else datetime.fromtimestamp(self.newer_than, timezone.utc)
        wait = CheckpointWait(newer, self.stale_after)
        starts: tuple[Start, ...] = ()
        ended, blind = False, 0
        while True:
            # What it writes at its end is there before it has ended: so the folder is looked at after the job.
            look = await look_into(self.uri)
            verdict = wait.judge(look, starts, look.at, ended=ended)
            blind = blind + 1 if verdict is Verdict.NOT_SEEN else 0
            if verdict is not Verdict.WAITING and blind not in range(1, BLIND_LOOKS):
                return str(verdict.value)
            if (left := self.until - now()) <= 0:
                return "timeout"
            pause = min(self.poll_interval, left)
            if (stale := wait.stale_at(look, starts)) is not None:
                pause = min(pause, max(0.0, (stale - look.at).total_seconds()))
            if job is None:
                await asyncio.sleep(pause)
                continue
            update = await job.next(pause)
            if update is None:
                continue
            if update.gone or update.refused is not None:
                return "not_found" if update.gone else "access_denied"
            starts, ended = update.starts or starts, update.ended

    @property
    def _settings(self) -> dict[str, Any]:
        return {
            "aws_conn_id": self.aws_conn_id,
            "region_name": self.region_name,
            "verify": self.verify,
            "config": self.botocore_config,
        }

    def _event_queue(self) -> EventQueue | None:
        return SqsEventQueue(self.events_queue_url, **self._settings) if self.events_queue_url else None
