"""How far a training script says it is: the small file that ``airflow_spot.checkpoint`` writes beside checkpoints."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from typing import Any

from airflow_spot.core.read_values import amount, count, moment

#: A file that is larger is none of ours.
SIZE_LIMIT = 64 * 1024
#: Steps may be tokens or samples: numbers beyond this are none of ours.
MOST = 1e15
#: So many metrics are kept, and so many characters of a name: a log line and a result are to stay short.
METRICS_KEPT = 8
NAME_LENGTH = 40
#: Seconds from one look at the file to the next: as long as a tenth of the training takes, within these.
PAUSE_LEAST, PAUSE_MOST = 60.0, 600.0
#: The log is told of every tenth, and where no total is known, or a tenth takes long, so often.
TOLD_SECONDS = 1800.0


@dataclass(frozen=True)
class ScriptProgress:
    """
    What a script reported last.

    :param step: how many steps are done.
    :param total: of how many; None where it does not say.
    :param metrics: numbers by name.
    :param at: when it wrote that.
    """

    step: int
    total: int | None
    metrics: Mapping[str, float]
    at: datetime

    @classmethod
    def parse(cls, text: bytes, written: datetime) -> ScriptProgress | None:
        """
        Read the file; None where it is no such file.

        :param written: when S3 had it. The instance's clock may be wrong: it counts for nothing later than that.
        """
        try:
            said = json.loads(text)
        except (ValueError, RecursionError):
            return None
        found = cls.from_json(said)
        return None if found is None else replace(found, at=min(found.at, written))

    @property
    def percent(self) -> float | None:
        """Return how much of the training is done, in percent; None where no total is known."""
        return min(100.0, 100.0 * self.step / self.total) if self.total else None

    def __str__(self) -> str:
        percent = "" if self.percent is None else f" ({self.percent:.0f} %)"
        done = f"step {self.step:,}" + (f" of {self.total:,}{percent}" if self.total is not None else "")
        return ", ".join([done, *(f"{name} {value:.4g}" for name, value in self.metrics.items())])

    def to_json(self) -> dict[str, Any]:
        """Return it as results and events have it."""
        return {
            "step": self.step,
            "total": self.total,
            "percent": None if self.percent is None else round(self.percent, 1),
            "metrics": dict(self.metrics),
            "at": self.at.isoformat(),
        }

    @classmethod
    def from_json(cls, value: Any) -> ScriptProgress | None:
        """Read what :meth:`to_json` or the library wrote, of this version or another; None where it is neither."""
        if not isinstance(value, Mapping):
            return None
        step, total, at = count(value.get("step"), MOST), count(value.get("total"), MOST), _moment(value.get("at"))
        if step is None or at is None:
            return None
        given = value.get("metrics")
        numbers = {
            "".join(filter(str.isprintable, name[:NAME_LENGTH])): float(number)
            for name, number in (given.items() if isinstance(given, Mapping) else ())
            if isinstance(name, str) and _is_number(number)
        }
        return cls(step, total, dict(list(numbers.items())[:METRICS_KEPT]), at)


@dataclass(frozen=True)
class Reports:
    """
    What is known of a run's reports; a deferred task carries it.

    :param seen: the file was there once: then the script has the library, whoever packed it.
    :param last: the newest report.
    :param told: the report that the log was told of last.
    :param looked: when the file was looked for last.
    :param pause: seconds until it is looked for again, while the job trains.
    """

    seen: bool = False
    last: ScriptProgress | None = None
    told: ScriptProgress | None = None
    looked: datetime | None = None
    pause: float = field(default=PAUSE_LEAST)

    def next_look(self, training: datetime | None, *, expected: bool) -> datetime | None:
        """
        Return when to look while a job trains; None for never.

        :param training: since when it does; None where it does not: then there is nothing new.
        :param expected: the script was sent along with the library. One that was not is looked at once.
        """
        if training is None or (self.looked is not None and not self.seen and not expected):
            return None
        first = training + timedelta(seconds=PAUSE_LEAST)
        return first if self.looked is None else max(first, self.looked + timedelta(seconds=self.pause))

    def is_last_due(self, ended: datetime | None, *, expected: bool) -> bool:
        """Return whether a job that has ended is to be looked at once more."""
        return (self.seen or expected) and (self.looked is None or ended is None or self.looked < ended)

    def take(self, found: ScriptProgress | None, now: datetime) -> tuple[Reports, bool]:
        """
        Take in what a look showed.

        :param found: None where there is nothing, or nothing that can be read.
        :return: what is known now, and whether the log is to be told of it.
        """
        if found is None:  # more and more seldom: the script may never report
            return replace(self, looked=now, pause=min(2 * self.pause, PAUSE_MOST)), False
        known = replace(self, seen=True, last=found, looked=now, pause=_pause(self.last, found))
        return (replace(known, told=found), True) if _is_news(self.told, found) else (known, False)

    def to_json(self) -> dict[str, Any] | None:
        """Return it as a deferral carries it; None where nothing is known."""
        if self == Reports():
            return None
        return {
            "seen": self.seen,
            "last": self.last.to_json() if self.last else None,
            "told": self.told.to_json() if self.told else None,
            "looked": self.looked.timestamp() if self.looked else None,
            "pause": self.pause,
        }

    @classmethod
    def from_json(cls, value: Any) -> Reports:
        """Read what :meth:`to_json` wrote; what cannot be read is not known."""
        if not isinstance(value, Mapping):
            return cls()
        return cls(
            value.get("seen") is True,
            ScriptProgress.from_json(value.get("last")),
            ScriptProgress.from_json(value.get("told")),
            moment(value.get("looked")),
            min(max(amount(value.get("pause")) or PAUSE_LEAST, PAUSE_LEAST), PAUSE_MOST),
        )


def _is_news(told: ScriptProgress | None, found: ScriptProgress) -> bool:
    """Return whether the log is told: of the first, each tenth and the last, of less than before, and after a while."""
    if told is None or found.step < told.step:
        return True
    if found.step == told.step:
        return False
    tenths = [None if each.percent is None else int(each.percent // 10) for each in (told, found)]
    return tenths[0] != tenths[1] or (found.at - told.at).total_seconds() >= TOLD_SECONDS


def _pause(before: ScriptProgress | None, found: ScriptProgress) -> float:
    """Return how long a tenth of the training takes, by two reports, within the limits."""
    if before is None or found.total is None or found.step <= before.step or found.at <= before.at:
        return PAUSE_LEAST
    speed = (found.step - before.step) / (found.at - before.at).total_seconds()
    return min(max(found.total / 10 / speed, PAUSE_LEAST), PAUSE_MOST)


def _moment(value: Any) -> datetime | None:
    """Read seconds since 1970, or ISO 8601."""
    if not isinstance(value, str):
        return moment(value)
    try:
        read = datetime.fromisoformat(value)
        return read.astimezone(timezone.utc) if read.tzinfo is not None else None
    except (ValueError, OverflowError):  # the latter of the years 1 and 9999
        return None


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and amount(abs(value), MOST) is not None
