"""
Push: a queue that SageMaker's events come to, for all jobs of a watcher.

An event says that a job changed, and which; what it has become is asked of SageMaker, as after a sweep. So an event
that comes twice, late or out of order does no harm, and one that is lost is made good by the next sweep.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import Any, Protocol

from airflow_spot.watch.service import ErrorKind

#: EventBridge's name for them.
DETAIL_TYPE = "SageMaker Training Job State Change"
#: Between two sweeps while events come.
SWEEP_SECONDS = 300.0
#: An event of a job that nobody waits for here may be another triggerer's: it is left in the queue for so long.
_LEFT = timedelta(minutes=2)
#: No answer of the queue for so long, and sweeps are made as if there were none. A receive takes ten.
_SILENT_SECONDS = 90.0
_PAUSES = (1.0, 300.0)


class EventQueue(Protocol):
    """The queue. The calls block."""

    def receive(self) -> Sequence[Mapping[str, Any]]:
        """Return the messages that are there, or wait for some; SQS's ``Body`` and ``ReceiptHandle``."""

    def delete(self, handles: Sequence[str]) -> None:
        """Take messages out of the queue."""

    def renew(self) -> None:
        """Make the next call with a client of a new session."""

    def classify_error(self, error: Exception) -> ErrorKind:
        """Return what an error of a call means."""


@dataclass(frozen=True)
class Change:
    """
    What an event says.

    :param at: when; None where it does not say.
    """

    job_name: str
    at: datetime | None


def read_event(body: Any) -> Change | None:
    """Read a message; None where it is no event of a training job: another rule's, a person's, or broken."""
    try:
        event = json.loads(body)
        name = event["detail"]["TrainingJobName"]
        if event["detail-type"] != DETAIL_TYPE or not isinstance(name, str):
            return None
    except (ValueError, TypeError, KeyError):
        return None
    try:
        at = datetime.fromisoformat(str(event["time"]).replace("Z", "+00:00"))
    except (ValueError, KeyError):
        return Change(name, None)
    return Change(name, at if at.tzinfo else at.replace(tzinfo=timezone.utc))


class Listener:
    """
    Listens to a queue for one watcher.

    :param hear: told the name of a job that changed; says whether anybody here waits for it.
    :param call: does what blocks.
    :param clock: the event loop's, in seconds; ``now``: the time of day.
    :param jitter: gives a number from 0 up to 1.
    """

    def __init__(
        self,
        event_queue: EventQueue,
        name: str,
        log: Any,
        hear: Callable[[str], bool],
        *,
        call: Callable[[Callable[[], Any]], Awaitable[Any]],
        clock: Callable[[], float],
        now: Callable[[], datetime],
        jitter: Callable[[], float],
    ) -> None:
        self._event_queue = event_queue
        self._name = name
        self._log = log
        self._hear = hear
        self._call = call
        self._clock = clock
        self._now = now
        self._jitter = jitter
        self._answered: float | None = None
        self._failures = 0
        self._strange = False

    @property
    def is_receiving(self) -> bool:
        """Whether the queue answers, so that sweeps may be rare."""
        return self._answered is not None and self._clock() - self._answered < _SILENT_SECONDS

    async def run(self) -> None:
        """Listen until cancelled."""
        while True:
            try:
                await self._receive()
                self._failures = 0
            except Exception as error:
                await self._fail(error)

    async def _receive(self) -> None:
        messages = await self._call(self._event_queue.receive)
        self._answered = self._clock()
        done = [message["ReceiptHandle"] for message in messages if self._take(message)]
        if done:
            await self._call(partial(self._event_queue.delete, done))

    def _take(self, message: Mapping[str, Any]) -> bool:
        """Process a message; return whether it may be deleted."""
        change = read_event(message.get("Body"))
        if change is None:
            if not self._strange:
                self._strange = True
                self._log.warning(
                    "%s: queue contains messages other than training-job events; deleting them", self._name
                )
            return True
        return self._hear(change.job_name) or change.at is None or self._now() - change.at > _LEFT

    async def _fail(self, error: Exception) -> None:
        trouble = self._event_queue.classify_error(error)
        if trouble is ErrorKind.EXPIRED:
            self._event_queue.renew()
        self._failures += 1
        if self._failures == 1 or trouble in (ErrorKind.DENIED, ErrorKind.OTHER):
            self._log.warning("%s: cannot receive from the SQS queue (%s); falling back to polling", self._name, error)
        if trouble in (ErrorKind.DENIED, ErrorKind.OTHER):
            self._answered = None
            pause = _PAUSES[1]
        else:
            pause = min(_PAUSES[1], _PAUSES[0] * 2.0 ** min(self._failures - 1, 10))
        await asyncio.sleep(pause * (1 - self._jitter() / 2))
