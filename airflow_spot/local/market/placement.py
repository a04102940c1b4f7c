"""Spot placement scores of the local market, and how many different ones an account may ask for a day.

On AWS a score says how likely a spot request is to be met, from 1 to 10 [D]; fewer than three types always score
low [D], and the number of different configurations in 24 hours is limited [D; ten in AWS's own guidance, T]. The
numbers here are assumed [A]: they tell capacity from none, and order regions.
"""

from __future__ import annotations

import hashlib
import math
import threading
from collections.abc import Iterable
from typing import Any

from airflow_spot.local.clock import Clock
from airflow_spot.local.errors import ServiceError
from airflow_spot.local.market.capacity import Glance
from airflow_spot.local.market.spec import State

#: Different configurations in :data:`PERIOD` seconds.
MOST_CONFIGURATIONS = 10
PERIOD = 86400.0
ENOUGH_TYPES = 3
_EXCEEDED = (
    "You have exceeded your maximum allowed Spot placement configurations. You can retry configurations that you used "
    "within the last 24 hours, or wait for 24 hours before specifying a new configuration."
)
_BEST, _LOW, _WORST = 9, 3, 1


def score(glances: Iterable[Glance], place: str, capacity: int) -> int:
    """Return the score of a region or zone, from 1 to 10.

    :param glances: of each type's spot pool.
    :param place: the region or zone, which takes off at most one.
    :param capacity: how many instances: each power of ten takes off one.
    """
    states = [glance.state for glance in glances]
    if State.UP not in states:
        return _WORST
    spread = hashlib.blake2b(place.encode(), digest_size=1).digest()[0] % 2
    whole = _BEST - spread - int(math.log10(capacity))
    best = whole if len(states) >= ENOUGH_TYPES else min(whole, _LOW - spread)
    return max(best, _WORST + 1)


class Configurations:
    """Which configurations an account has asked scores for. Thread-safe."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._asked: dict[Any, float] = {}

    def ask(self, configuration: Any) -> None:
        """Count a configuration; one that was asked for in the last 24 hours is free.

        :param configuration: what makes it differ from others; hashable.
        :raises ServiceError: MaxConfigLimitExceeded, in AWS's words [T].
        """
        with self._lock:
            now = self._clock.now()
            self._asked = {known: since for known, since in self._asked.items() if now - since < PERIOD}
            if configuration not in self._asked and len(self._asked) >= MOST_CONFIGURATIONS:
                raise ServiceError("MaxConfigLimitExceeded", _EXCEEDED)
            self._asked[configuration] = now
