"""Sums over runs: by day, by DAG, by instance type, and by hour. Different currencies are never added."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from statistics import median

from airflow_spot.render.fleet_facts import LEAST_WORTH, Fact
from airflow_spot.render.words import DAY, HOUR, NOTHING, money

#: A picture by day has so many bars at most; where there are more days, each is of a week.
MOST_BARS = 92
ZERO = Decimal(0)


@dataclass
class Sums:
    """
    What runs came to together.

    :param known: of how many the cost is known; it says so wherever it is not all.
    """

    runs: int = 0
    completed: int = 0
    failed: int = 0
    live: int = 0
    attempts: int = 0
    taken: int = 0
    waited: float = 0.0
    trained: float = 0.0
    billed: float = 0.0
    useful: float = 0.0
    known: int = 0
    cost: dict[str, Decimal] = field(default_factory=dict)
    worth: dict[str, Decimal] = field(default_factory=dict)
    saved: dict[str, Decimal] = field(default_factory=dict)

    def add(self, fact: Fact) -> None:
        """Count a run in."""
        self.runs += 1
        self.completed += fact.state == "completed"
        self.failed += fact.state == "failed"
        self.live += fact.live
        self.attempts += fact.attempts
        self.taken += fact.taken
        self.waited += fact.waited
        self.trained += fact.trained
        if fact.billed is not None and fact.twice is not None:
            self.billed += fact.billed
            self.useful += fact.trained - fact.twice
        if fact.cost is not None:
            self.known += 1
            self.cost[fact.currency] = self.cost.get(fact.currency, ZERO) + fact.cost
        if fact.saved is not None and fact.worth is not None:
            self.worth[fact.currency] = self.worth.get(fact.currency, ZERO) + fact.worth
            self.saved[fact.currency] = self.saved.get(fact.currency, ZERO) + fact.saved

    @property
    def over(self) -> int:
        """Return how many have ended: of a live one nothing is billed yet."""
        return self.runs - self.live

    @property
    def rate(self) -> float | None:
        """Return how often instances were taken in 100 hours of training; None where hardly anything was trained."""
        return 100 * self.taken / (self.trained / HOUR) if self.trained >= HOUR else None

    @property
    def wait(self) -> float | None:
        """Return for how long a job waited for instances, each time that it asked for some."""
        asked = self.attempts + self.taken
        return self.waited / asked if asked else None

    @property
    def savings(self) -> float | None:
        """Return what was saved, in percent: of money where there is one currency and no trifle, else of seconds."""
        if len(self.worth) == 1:
            (currency, worth), *_ = self.worth.items()
            if worth >= LEAST_WORTH:
                return float(100 * self.saved[currency] / worth)
        return 100 * (1 - self.billed / self.useful) if self.useful > 0 else None

    @property
    def unknown(self) -> str:
        """Return of how many runs the cost is known, where that is not all."""
        if self.known >= self.over:
            return ""
        return f"cost of {self.known:,} of {self.over:,} runs known" if self.known else "no price is known"


def total(facts: Iterable[Fact]) -> Sums:
    """Sum runs up."""
    sums = Sums()
    for fact in facts:
        sums.add(fact)
    return sums


def grouped(facts: Iterable[Fact], key: Callable[[Fact], str]) -> dict[str, Sums]:
    """Sum runs up by a key."""
    found: dict[str, Sums] = {}
    for fact in facts:
        name = key(fact)
        if name not in found:
            found[name] = Sums()
        found[name].add(fact)
    return found


def amounts(sums: Mapping[str, Decimal]) -> str:
    """Return sums of money, each currency for itself."""
    return " + ".join(money(amount, currency, whole=True) for currency, amount in sorted(sums.items())) or NOTHING


@dataclass(frozen=True)
class Bar:
    """
    What the runs that ended in a span came to.

    :param day: days since 1970 at its begin.
    :param days: how many it is of.
    """

    day: int
    days: int
    cost: Decimal
    saved: Decimal
    runs: int


def by_day(facts: Sequence[Fact], currency: str, days: int, now: float) -> list[Bar]:
    """
    Return what was spent and saved, by the day on which a run ended.

    :param days: how far back; 0 for as far as there is any.
    """
    today = int(now // DAY)
    oldest = min((int(fact.end // DAY) for fact in facts if fact.cost is not None), default=today)
    first = today - days + 1 if days > 0 else oldest
    first = min(max(first, today - 3_650), today)
    width = 1 if today - first < MOST_BARS else 7
    while (today - first) // width >= MOST_BARS:
        width *= 2
    first = today - ((today - first) // width + 1) * width + 1
    sums: dict[int, list[Decimal]] = {}
    counts: dict[int, int] = {}
    for fact in facts:
        if fact.cost is None or fact.currency != currency:
            continue
        place = (int(fact.end // DAY) - first) // width
        mine = sums.setdefault(place, [ZERO, ZERO])
        mine[0] += fact.cost
        mine[1] += fact.saved or ZERO
        counts[place] = counts.get(place, 0) + 1
    bars = []
    for place in range((today - first) // width + 1):
        cost, saved = sums.get(place, (ZERO, ZERO))
        bars.append(Bar(first + place * width, width, cost, saved, counts.get(place, 0)))
    return bars


@dataclass(frozen=True)
class Cell:
    """How often instances were taken in an hour of the day; ``trained`` are the seconds of training in it."""

    taken: int
    trained: float

    @property
    def rate(self) -> float | None:
        """Return how often in 100 hours of training; None where hardly anything was trained then."""
        return 100 * self.taken / (self.trained / HOUR) if self.trained >= 2 * HOUR else None


def by_hour(facts: Iterable[Fact]) -> dict[str, list[Cell]]:
    """
    Return when instances were taken, by type and hour of the day (UTC).

    Only that a run trained for so long is known, not when: its training is spread evenly over the time that it took.
    """
    taken: dict[str, list[int]] = {}
    trained: dict[str, list[float]] = {}
    for fact in facts:
        for at, kind in fact.moments:
            if kind not in taken:
                taken[kind] = [0] * 24
            taken[kind][int(at // HOUR) % 24] += 1
        if fact.trained > 0:
            if fact.type not in trained:
                trained[fact.type] = [0.0] * 24
            _spread(trained[fact.type], fact)
    return {
        kind: [
            Cell(count, seconds)
            for count, seconds in zip(taken.get(kind, [0] * 24), trained.get(kind, [0.0] * 24), strict=True)
        ]
        for kind in sorted(taken.keys() | trained.keys())
    }


def _spread(hours: list[float], fact: Fact) -> None:
    took = max(fact.took, 1.0)
    share = fact.trained / took
    if took >= DAY:
        # Whole days are the same for every hour.
        whole = int(took // DAY) * HOUR * share
        for hour in range(24):
            hours[hour] += whole
        took %= DAY
    time, end = fact.began, fact.began + took
    while time < end:
        hour = int(time // HOUR)
        until = min(end, (hour + 1) * HOUR)
        hours[hour % 24] += (until - time) * share
        time = until


def median_wait(facts: Sequence[Fact]) -> float | None:
    """Return for how long a run waited for capacity, as the median."""
    return median(fact.waited for fact in facts) if facts else None
