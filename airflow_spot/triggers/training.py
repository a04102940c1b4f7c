"""Waiting for a training job in the triggerer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timezone
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.triggers.base import BaseTrigger, TriggerEvent
from asgiref.sync import sync_to_async

from airflow_spot.compat_triggers import TRIGGER_HAS_ON_KILL, task_state
from airflow_spot.core.marks import StopMark
from airflow_spot.core.outcomes import DENIED_CODES
from airflow_spot.core.story import transition_line
from airflow_spot.hooks.patience import is_expired
from airflow_spot.triggers.cancelled import stop_if_ended
from airflow_spot.watch.observe import Look, look
from airflow_spot.watch.turnstile import TURNSTILE

if TYPE_CHECKING:
    from airflow_spot.hooks.training import SageMakerSpotTrainingHook

#: Seconds between looks after one that failed: doubled each time, up to the second number.
_PAUSES = (5.0, 300.0)

T = TypeVar("T")

#: Looks that fail one after the other, about two hours of them, before a worker is asked to find out why.
_BLIND_LOOKS = 30

_SETTLING_SECONDS = 2.0


class SageMakerSpotTrainingTrigger(BaseTrigger):
    """
    Wait until a training job is terminal, or until a moment; creates and stops nothing while it waits.

    It may be killed, or run twice, without harm: all it does is to look. It fires once, with
    ``{"status": "ended" | "due" | "gone" | "turn" | "refused", "job_name": ..., "carry": {...}}``.

    :param job_name: the job to wait for; None waits for the moment alone.
    :param until: the moment, in seconds since 1970; None for no limit. Its own, since the timeout of
        ``defer()`` would end the task and leave the job running.
    :param patience: seconds that the job may wait for capacity in one go; then the trigger fires. None for any.
    :param turn: the name of the quota that the job uses, or that a run without a job waits for: when a job ends,
        one that waits is let through before its moment.
    :param carry: handed back unchanged in the event: how the operator's run goes on where it was.
    :param poll_interval: seconds between two looks.
    :param stop_on_kill: whether a user's mark-failed, mark-success or clear stops the job.
    :param try_number: the Airflow try that waits, for the stop's mark.
    :param aws_conn_id: and the next three: as for the operator.
    """

    def __init__(
        self,
        *,
        job_name: str | None,
        until: float | None = None,
        patience: float | None = None,
        turn: str = "",
        carry: dict[str, Any] | None = None,
        poll_interval: float = 30.0,
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
        self.patience = patience
        self.turn = turn
        self.carry = carry or {}
        self.poll_interval = poll_interval
        self.stop_on_kill = stop_on_kill
        self.try_number = try_number
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name
        self.verify = verify
        self.botocore_config = botocore_config
        self._hook: SageMakerSpotTrainingHook | None = None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Give what the triggerer needs to build this trigger again."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "job_name": self.job_name,
                "until": self.until,
                "patience": self.patience,
                "turn": self.turn,
                "carry": self.carry,
                "poll_interval": self.poll_interval,
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
        try:
            async for event in self._watch():
                yield event
        except asyncio.CancelledError:
            if self._is_to_stop and not TRIGGER_HAS_ON_KILL and self.task_instance is not None:
                await stop_if_ended(partial(task_state, self.task_instance), self._stop, self.log)
            raise

    async def on_kill(self) -> None:
        """Stop the job when a user ends the deferred task: Airflow 3.3 calls this, :meth:`run` sees to it below."""
        if self._is_to_stop:
            await _in_thread(self._stop)

    async def _watch(self) -> AsyncIterator[TriggerEvent]:
        """Look until there is something to decide. What fails in passing is tried again, and never ends the task."""
        seen = 0
        failures = 0
        # Airflow fails a task whose trigger fires before the worker that deferred it has ended.
        await asyncio.sleep(min(self.poll_interval, _SETTLING_SECONDS))
        if self.job_name is None:
            yield await self._pause_over()
            return
        while True:
            if self.until is not None and _now() >= self.until:
                yield self._event("due")
                return
            try:
                found = await self._look(seen)
                failures = 0
            except Exception as error:
                failures += 1
                if is_expired(error):
                    self._hook = None  # a fresh session reads the connection again
                if _refused(error) or failures > _BLIND_LOOKS:
                    yield self._event("refused", message=str(error))
                    return
                self.log.warning("Cannot look at %s now, will again: %s", self.job_name, error)
                found = None
            else:
                if found is None:
                    self._give_back()
                    yield self._event("gone")
                    return
            if found is not None:
                for transition in found.new:
                    self.log.info("%s", transition_line(str(self.job_name), transition))
                seen = found.seen
                if found.ended:
                    self._give_back()
                    yield self._event("ended")
                    return
                if found.waits_longer_than(self.patience, datetime.now(timezone.utc)):
                    yield self._event("due")
                    return
            await asyncio.sleep(self._pause(failures))

    async def _pause_over(self) -> TriggerEvent:
        """Wait for the moment, or for a turn before it."""
        left = max(0.0, (self.until or _now()) - _now())
        if not self.turn:
            await asyncio.sleep(left)
            return self._event("due")
        return self._event("turn" if await TURNSTILE.wait(self._quota, left) else "due")

    def _give_back(self) -> None:
        if self.turn:
            TURNSTILE.give_back(self._quota)

    @property
    def _quota(self) -> str:
        return f"{self.aws_conn_id} {self.region_name} {self.turn}"

    @property
    def _is_to_stop(self) -> bool:
        return self.stop_on_kill and self.job_name is not None

    async def _look(self, seen: int) -> Look | None:
        return await _in_thread(partial(self._look_now, seen))

    def _look_now(self, seen: int) -> Look | None:
        return look(self._connect().find, str(self.job_name), seen)

    def _stop(self) -> None:
        left = self._connect().stop(str(self.job_name), StopMark("killed", self.try_number), owner=self.try_number)
        self.log.info("The task was ended by a user; training job %s: %s", self.job_name, left or "stopped")

    def _connect(self) -> SageMakerSpotTrainingHook:
        if self._hook is None:
            from airflow_spot.hooks.training import SageMakerSpotTrainingHook

            self._hook = SageMakerSpotTrainingHook(
                aws_conn_id=self.aws_conn_id,
                region_name=self.region_name,
                verify=self.verify,
                config=self.botocore_config,
            )
        return self._hook

    def _event(self, status: str, **more: Any) -> TriggerEvent:
        return TriggerEvent({"status": status, "job_name": self.job_name, "carry": self.carry, **more})

    def _pause(self, failures: int) -> float:
        pause = self.poll_interval if not failures else min(_PAUSES[1], _PAUSES[0] * 2 ** min(failures - 1, 10))
        return pause if self.until is None else max(0.0, min(pause, self.until - _now()))


async def _in_thread(work: Callable[[], T]) -> T:
    """
    Do what blocks, never on the event loop, and to its end.

    asgiref's threads, and no others, may ask Airflow for a connection; broken off by a cancel in the middle of such a
    question, they would leave its answer for the triggerer to read in place of its own.
    """
    return await asyncio.shield(sync_to_async(work, thread_sensitive=False)())


def _now() -> float:
    return datetime.now(timezone.utc).timestamp()


def _refused(error: Exception) -> bool:
    """Tell an error that time does not mend: the worker, which sees it too, reports it."""
    code = getattr(error, "response", {}).get("Error", {}).get("Code", "")
    return code in DENIED_CODES
