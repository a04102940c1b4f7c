"""The two markets in time: which pools have capacity now."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass

from airflow_spot.local.clock import Clock
from airflow_spot.local.market.spec import Schedule, State, parse_market


@dataclass(frozen=True)
class Outlook:
    """A pool's state, and how long it stays so (service seconds, may be infinite)."""

    state: State
    lasts: float


_OFF = Outlook(State.DOWN, math.inf)


class Capacity:
    """The spot and the on-demand market. Thread-safe."""

    def __init__(self, clock: Clock, spot: str, on_demand: str) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._specs = {True: spot, False: on_demand}
        self._markets = {True: parse_market(spot), False: parse_market(on_demand)}
        self._pools: dict[tuple[str, bool], tuple[float, Schedule]] = {}
        self._off: set[bool] = set()

    def outlook(self, instance_type: str, spot: bool) -> Outlook:
        """Ask for a pool; the first one to ask starts its time."""
        with self._lock:
            return self._now(self._asked(instance_type, spot))

    def _asked(self, instance_type: str, spot: bool) -> tuple[str, bool]:
        pool = (instance_type, spot)
        if pool not in self._pools:
            supply = self._markets[spot].supply(instance_type)
            self._pools[pool] = (self._clock.now(), Schedule(supply, instance_type))
        return pool

    def stays(self, instance_type: str, since: float) -> float | None:
        """Return how long spot instances stay that are held since a time of this clock; None where they were taken.

        Also where there is capacity again: whoever looks late, as on a busy machine, loses what went meanwhile.
        """
        with self._lock:
            start, schedule = self._pools[self._asked(instance_type, True)]
            elapsed = self._clock.now() - start
            at = max(since - start, 0.0)
            while True not in self._off:
                state, end = schedule.at(at)
                if state is not State.UP:
                    break
                if end > elapsed:
                    return end - elapsed
                at = end
            return None

    def _now(self, pool: tuple[str, bool]) -> Outlook:
        start, schedule = self._pools[pool]
        elapsed = self._clock.now() - start
        state, end = schedule.at(elapsed)
        return _OFF if pool[1] in self._off else Outlook(state, end - elapsed)

    def pools(self, *, spot: bool) -> dict[str, Outlook]:
        """Return the pools of a market that a job has asked for, by instance type."""
        with self._lock:
            return {pool[0]: self._now(pool) for pool in sorted(self._pools) if pool[1] is spot}

    def market(self, *, spot: bool) -> str:
        """Return the specification in force."""
        with self._lock:
            return self._specs[spot]

    def is_on(self, *, spot: bool) -> bool:
        """Return whether a market is switched on: its specification counts."""
        with self._lock:
            return spot not in self._off

    def switch(self, *, spot: bool, on: bool) -> None:
        """Switch a market off, so that it has nothing, or on again. Its pools' time continues meanwhile."""
        with self._lock:
            (self._off.discard if on else self._off.add)(spot)

    def set_markets(self, *, spot: str | None = None, on_demand: str | None = None) -> None:
        """Replace a market, which is on then; the time of its pools starts again with the next request.

        :raises ValueError: if a specification is wrong; then nothing is changed.
        """
        given = [(kind, spec) for kind, spec in ((True, spot), (False, on_demand)) if spec is not None]
        parsed = [(kind, spec, parse_market(spec)) for kind, spec in given]
        with self._lock:
            for kind, spec, market in parsed:
                self._specs[kind], self._markets[kind] = spec, market
                self._off.discard(kind)
                self._pools = {pool: value for pool, value in self._pools.items() if pool[1] is not kind}
