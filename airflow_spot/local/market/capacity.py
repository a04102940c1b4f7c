"""The two markets in time: which pools have capacity now."""

from __future__ import annotations

import math
import threading
from bisect import bisect_right
from dataclasses import dataclass, field

from airflow_spot.local.clock import Clock
from airflow_spot.local.market.spec import Schedule, State, parse_market


@dataclass(frozen=True)
class Outlook:
    """A pool's state at a time, and how long it stays so (service seconds, may be infinite)."""

    state: State
    lasts: float
    at: float = field(default=0.0, compare=False)


@dataclass(frozen=True)
class Stay:
    """
    Whether spot instances are still there.

    :param lasts: for how long they stay, in service seconds.
    :param went: when they went, in service time; None while they stay.
    """

    lasts: float
    went: float | None = None


#: How many changes of a pool are remembered for its prices.
_TURNS = 1000


@dataclass(frozen=True)
class Glance:
    """What a pool was like so far: when it changed (service time), and to what; oldest first.

    Not known of earlier markets, nor of earlier times for which this one was switched off.
    """

    turns: tuple[tuple[float, State], ...]

    @property
    def state(self) -> State:
        """What it is like now."""
        return self.turns[-1][1]

    def short(self, time: float) -> bool:
        """Return whether there was no capacity at a time; before the first change there was."""
        before = bisect_right(self.turns, time, key=lambda turn: turn[0])
        return before > 0 and self.turns[before - 1][1] is not State.UP


_OFF = Outlook(State.DOWN, math.inf)


class Capacity:
    """The spot and the on-demand market. Thread-safe."""

    def __init__(self, clock: Clock, spot: str, on_demand: str) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._specs = {True: spot, False: on_demand}
        self._markets = {True: parse_market(spot), False: parse_market(on_demand)}
        self._pools: dict[tuple[str, bool], tuple[float, Schedule]] = {}
        #: Since when a market is switched off.
        self._off: dict[bool, float] = {}
        #: Since when its specification is in force.
        self._began = {True: clock.now(), False: clock.now()}

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

    def stay(self, instance_type: str, since: float) -> Stay:
        """Return how long spot instances stay that are held since a time of this clock, or when they went.

        They went also where there is capacity again: whoever looks late, as on a busy machine, has lost them.
        """
        with self._lock:
            start, schedule = self._pools[self._asked(instance_type, True)]
            elapsed, off = self._clock.now() - start, self._off.get(True, math.inf)
            at = max(since - start, 0.0)
            while True:
                state, end = schedule.at(at)
                if state is not State.UP or start + end > off:
                    return Stay(0.0, min(start + at if state is not State.UP else off, off))
                if end > elapsed:
                    return Stay(end - elapsed)
                at = end

    def _now(self, pool: tuple[str, bool]) -> Outlook:
        start, schedule = self._pools[pool]
        elapsed = self._clock.now() - start
        state, end = schedule.at(elapsed)
        return _OFF if pool[1] in self._off else Outlook(state, end - elapsed, start + elapsed)

    def glance(self, instance_type: str, *, spot: bool) -> Glance:
        """Return what a pool was like so far, without asking for it: whoever looks starts no pool's time.

        A pool that nobody has asked for is as the first one to ask would find it.
        """
        with self._lock:
            known = self._pools.get((instance_type, spot))
            if known is None:
                supply = self._markets[spot].supply(instance_type)
                turns = [(self._began[spot], Schedule(supply, instance_type).at(0.0)[0])]
            else:
                turns = self._turns(*known)
            if spot in self._off:
                off = self._off[spot]
                turns = [*(turn for turn in turns if turn[0] < off), (off, State.DOWN)]
            return Glance(tuple(turns[-_TURNS:]))

    def _turns(self, start: float, schedule: Schedule) -> list[tuple[float, State]]:
        turns, at = [], 0.0
        elapsed = self._clock.now() - start
        while at <= elapsed:
            state, end = schedule.at(at)
            turns.append((start + at, state))
            at = end
        return turns

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
            if on:
                self._off.pop(spot, None)
            else:
                self._off.setdefault(spot, self._clock.now())

    def set_markets(self, *, spot: str | None = None, on_demand: str | None = None) -> None:
        """Replace a market, which is on then; the time of its pools starts again with the next request.

        :raises ValueError: if a specification is wrong; then nothing is changed.
        """
        given = [(kind, spec) for kind, spec in ((True, spot), (False, on_demand)) if spec is not None]
        parsed = [(kind, spec, parse_market(spec)) for kind, spec in given]
        with self._lock:
            for kind, spec, market in parsed:
                self._specs[kind], self._markets[kind] = spec, market
                self._off.pop(kind, None)
                self._began[kind] = self._clock.now()
                self._pools = {pool: value for pool, value in self._pools.items() if pool[1] is not kind}
