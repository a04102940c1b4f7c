"""Times to percent of a picture's width, and the round times that its axis names."""

from __future__ import annotations

import math
from dataclasses import dataclass

from airflow_spot.render.words import DAY, HOUR, MINUTE, moment

#: What an axis may step by, in seconds.
_STEPS = (1, 2, 5, 10, 15, 20, 30, MINUTE, 120, 300, 600, 900, 1_800, HOUR, 7_200, 10_800, 14_400, 21_600, 43_200, DAY)
MOST_MARKS = 8


@dataclass(frozen=True)
class Mark:
    """A round time on an axis: where it is in percent, and what it is called."""

    x: float
    label: str


@dataclass(frozen=True)
class Scale:
    """
    A span of time.

    :param begin: in seconds since 1970; so is ``end``, which is later.
    """

    begin: float
    end: float

    @classmethod
    def over(cls, begin: float, end: float) -> Scale:
        """Make one that shows a span, with a little room behind it."""
        length = max(end - begin, 1.0)
        return cls(begin, begin + length * 1.012)

    @property
    def seconds(self) -> float:
        """Return how long the span is."""
        return self.end - self.begin

    @property
    def shows_seconds(self) -> bool:
        """Whether times are told to the second."""
        return self.seconds < 20 * MINUTE

    def at(self, time: float) -> float:
        """Return where a time is, from 0 to 100, at two digits."""
        return round(min(100.0, max(0.0, 100.0 * (time - self.begin) / self.seconds)), 2)

    def clock(self, time: float) -> str:
        """Return a time as this picture tells it: with its date where the picture is of more than a day."""
        at = moment(time)
        if self.seconds > 20 * HOUR and moment(self.begin).date() != moment(self.end).date():
            return f"{at.day} {at:%b %H:%M}"
        return f"{at:%H:%M:%S}" if self.shows_seconds else f"{at:%H:%M}"

    def marks(self) -> list[Mark]:
        """Return the axis: at most :data:`MOST_MARKS` round times, midnight as a date."""
        step = next((each for each in _STEPS if self.seconds / each <= MOST_MARKS - 1), None)
        if step is None:
            step = math.ceil(self.seconds / (MOST_MARKS - 1) / DAY) * DAY
        time = math.ceil(self.begin / step) * step
        found: list[Mark] = []
        while time <= self.end and len(found) < MOST_MARKS:
            at = moment(time)
            midnight = time % DAY == 0 and self.seconds > HOUR
            label = f"{at.day} {at:%b}" if midnight else f"{at:%H:%M:%S}" if step < MINUTE else f"{at:%H:%M}"
            found.append(Mark(self.at(time), label))
            time += step
        return found
