"""The two markets in time: which pools have capacity now."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from airflow_spot.local.clock import Clock
from airflow_spot.local.market import Schedule, State, parse_market


@dataclass(frozen=True)
class Outlook:
    """A pool's state, and how long it stays so (service seconds, may be infinite)."""

    state: State
    lasts: float


class Capacity:
    """The spot and the on-demand market. Thread-safe."""

    def __init__(self, clock: Clock, spot: str, on_demand: str) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._markets = {True: parse_market(spot), False: parse_market(on_demand)}
        self._pools: dict[tuple[str, bool], tuple[float, Schedule]] = {}

    def outlook(self, instance_type: str, spot: bool) -> Outlook:
        """Ask for a pool; the first one to ask starts its time."""
        with self._lock:
            now = self._clock.now()
            pool = (instance_type, spot)
            if pool not in self._pools:
                supply = self._markets[spot].supply(instance_type)
                self._pools[pool] = (now, Schedule(supply, instance_type))
            start, schedule = self._pools[pool]
            state, end = schedule.at(now - start)
            return Outlook(state, end - (now - start))

    def set_markets(self, *, spot: str | None = None, on_demand: str | None = None) -> None:
        """Replace a market; the time of its pools starts anew with the next request.

        :raises ValueError: if a specification is wrong; then nothing is changed.
        """
        parsed = [(kind, parse_market(spec)) for kind, spec in ((True, spot), (False, on_demand)) if spec is not None]
        with self._lock:
            for kind, market in parsed:
                self._markets[kind] = market
                self._pools = {pool: value for pool, value in self._pools.items() if pool[1] is not kind}
