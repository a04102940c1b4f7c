"""The watchers of a process: one per key, and event loop."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import secrets
from collections.abc import Callable, Mapping
from typing import Any
from weakref import WeakKeyDictionary

from airflow_spot.core.urls import without_credentials
from airflow_spot.watch.list_quota import ListQuotas
from airflow_spot.watch.push import EventQueue
from airflow_spot.watch.service import Service
from airflow_spot.watch.watcher import Watcher

log = logging.getLogger(__name__)


class Watchers:
    """Watchers by key. One is made for its first subscriber, and is gone with its last."""

    def __init__(self) -> None:
        self._by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Watcher]] = WeakKeyDictionary()
        self._quotas = ListQuotas()

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

            watchers[key] = Watcher(
                connect(), key, log, event_queue=event_queue(), quota_of=self._quotas.of, on_end=end
            )
        return watchers[key]

    def count(self) -> int:
        """Count the watchers of the running event loop."""
        return len(self._by_loop.get(asyncio.get_running_loop(), {}))


def key_of(settings: Mapping[str, Any]) -> str:
    """
    Return the key for what calls are made with. The watcher is called so in the log, so no secret is in it.

    :param settings: connection, region and configuration: JSON values. Endpoint and role are the connection's. Of the
        configuration, which may hold proxies and their passwords, there is a hash that is of this process alone.
    """
    return " ".join(f"{name}={_shown(value)}" for name, value in settings.items() if value is not None)


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
    public = without_credentials(value) if isinstance(value, str) else "" if isinstance(value, Mapping) else text
    if public == text:
        return text
    return f"{public}#{hashlib.blake2b(text.encode(), key=_SALT, digest_size=6).hexdigest()}"


#: So that nobody can try passwords until they give the hash in a log.
_SALT = secrets.token_bytes(16)

#: The triggerer's.
WATCHERS = Watchers()
