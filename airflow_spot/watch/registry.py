"""The watchers of a process: one per key, and event loop."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from typing import Any
from weakref import WeakKeyDictionary

from airflow_spot.watch.push import EventQueue
from airflow_spot.watch.service import Service
from airflow_spot.watch.watcher import Watcher

log = logging.getLogger(__name__)


class Watchers:
    """Watchers by key. One is made for its first subscriber, and is gone with its last."""

    def __init__(self) -> None:
        self._by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Watcher]] = WeakKeyDictionary()

    def get(
        self, key: str, connect: Callable[[], Service], event_queue: Callable[[], EventQueue | None] = lambda: None
    ) -> Watcher:
        """
        Return the watcher of a key, on the running event loop. Subscribe to it at once.

        :param key: what its calls are made with.
        :param connect: returns a service, called if there is no watcher yet; must not block. ``event_queue`` likewise,
            where events come to a queue.
        """
        loop = asyncio.get_running_loop()
        watchers = self._by_loop.setdefault(loop, {})
        if key not in watchers:

            def end(_: Watcher) -> None:
                watchers.pop(key, None)

            watchers[key] = Watcher(connect(), key, log, event_queue=event_queue(), on_end=end)
        return watchers[key]

    def count(self) -> int:
        """Count the watchers of the running event loop."""
        return len(self._by_loop.get(asyncio.get_running_loop(), {}))


def key_of(settings: Mapping[str, Any]) -> str:
    """
    Return the key for what calls are made with.

    :param settings: connection, region and configuration: JSON values. Endpoint and role are the connection's.
    """
    return " ".join(
        f"{name}={value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)}"
        for name, value in settings.items()
        if value is not None
    )


#: The triggerer's.
WATCHERS = Watchers()
