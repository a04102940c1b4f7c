"""State changes as EventBridge events on moto's default bus, from where rules take them to queues."""

from __future__ import annotations

import json
import logging
import queue
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_spot.local.aws.moto import Aws

log = logging.getLogger(__name__)

SOURCE = "aws.sagemaker"
TRAINING = "SageMaker Training Job State Change"
PROCESSING = "SageMaker Processing Job State Change"
TRANSFORM = "SageMaker Transform Job State Change"
TUNING = "SageMaker HyperParameter Tuning Job State Change"
MODEL_PACKAGE = "SageMaker Model Package State Change"
MODEL = "SageMaker Model State Change"
ENDPOINT_CONFIG = "SageMaker Endpoint Config State Change"
ENDPOINT = "SageMaker Endpoint State Change"
#: Numbers elsewhere: [D]ocumented for training jobs, endpoints and processing jobs, [A]ssumed for the others.
_TIMES_AS_TEXT = frozenset({TRAINING, TUNING})
_MOST_AT_ONCE = 10  # what PutEvents takes


@dataclass(frozen=True)
class Change:
    """
    What has changed.

    :param detail_type: one of this module's.
    """

    detail_type: str
    region: str
    arn: str


class Events:
    """
    Sends events in the order of the changes, from a thread of its own: a job does not wait for them.

    Before there is a rule no event could be delivered, so that none is sent: thousands of simulated jobs would spend
    more on them than on themselves. An event that cannot be sent is lost, as an event may be.

    :param aws: for the bus, in each region.
    """

    def __init__(self, aws: Aws) -> None:
        self._aws = aws
        self._waiting: queue.SimpleQueue[tuple[str, dict[str, Any]] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def begin(self) -> None:
        """Send from now on: a rule may have been made."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._send, name="events", daemon=True)
                self._thread.start()

    def changed(self, change: Change, describe: Callable[[], dict[str, Any]], tags: Mapping[str, str]) -> None:
        """
        Queue the event of a change. Calls for one resource come in the order of its changes.

        :param change: of what.
        :param describe: returns the event's detail; called only if events are sent.
        :param tags: that it has.
        """
        if self._thread is None:
            return
        write: Callable[[int], str | int] = str if change.detail_type in _TIMES_AS_TEXT else int
        entry = {
            "Source": SOURCE,
            "DetailType": change.detail_type,
            "Resources": [change.arn],
            "Detail": json.dumps({**in_milliseconds(describe(), write), "Tags": dict(tags)}, default=str),
        }
        self._waiting.put((change.region, entry))

    def close(self) -> None:
        """Send what is queued, and end."""
        with self._lock:
            if self._thread is not None:
                self._waiting.put(None)
                self._thread.join(timeout=5)

    def _send(self) -> None:
        while (first := self._waiting.get()) is not None:
            region, entries, ended = first[0], [first[1]], False
            while len(entries) < _MOST_AT_ONCE and not self._waiting.empty():
                following = self._waiting.get()
                if following is None:
                    ended = True
                    break
                if following[0] != region:
                    self._put(region, entries)
                    region, entries = following[0], []
                entries.append(following[1])
            self._put(region, entries)
            if ended:
                return

    def _put(self, region: str, entries: list[dict[str, Any]]) -> None:
        try:
            self._aws.client("events", region).put_events(Entries=entries)
        except Exception:  # a rule whose queue is gone, or the service's own end: no job may suffer from it
            log.warning("%d events were not delivered", len(entries), exc_info=True)


def in_milliseconds(value: Any, write: Callable[[int], str | int], name: str = "") -> Any:
    """Return a description with its times as whole milliseconds since the epoch, which ``write`` writes."""
    if isinstance(value, Mapping):
        return {key: in_milliseconds(each, write, key) for key, each in value.items()}
    if isinstance(value, list):
        return [in_milliseconds(each, write) for each in value]
    return write(int(value * 1000)) if name.endswith("Time") and isinstance(value, float) else value
