"""What a look at a checkpoint folder tells, as values: an event each. A trigger hands them on to the worker."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from airflow_spot.core.read_values import amount, count


@dataclass(frozen=True)
class StartEnd:
    """
    What the end of a start lost.

    :param start: which one of its attempt: 1, 2, ...
    :param at: when it ended.
    :param trained: for how many seconds it had trained.
    :param lost: seconds since the newest checkpoint that it wrote, or all that it trained; None where that cannot be
        told, since a later start has written too, perhaps in its place.
    :param newest: when the newest checkpoint in the folder was written; None where there was none.
    """

    start: int
    at: datetime
    trained: float
    lost: float | None
    newest: datetime | None

    @property
    def age(self) -> float | None:
        """Return how old the newest checkpoint was then, in seconds; None where that cannot be told."""
        return None if self.newest is None or self.lost is None else (self.at - self.newest).total_seconds()


@dataclass(frozen=True)
class NotSeen:
    """The folder could not be seen: ``problem`` says why."""

    problem: str


@dataclass(frozen=True)
class NothingYet:
    """A start has trained for so many seconds without any checkpoint."""

    trained: float


@dataclass(frozen=True)
class Stuck:
    """So many starts in a row left nothing new; each trained for longer than so many seconds."""

    starts: int
    longer_than: float


Finding = StartEnd | NotSeen | NothingYet | Stuck

_NAMES: dict[type, str] = {StartEnd: "end", NotSeen: "not_seen", NothingYet: "nothing_yet", Stuck: "stuck"}
#: The newest findings that a trigger hands on.
KEPT = 50


def pack(findings: Iterable[Finding]) -> list[dict[str, Any]]:
    """Write findings for a trigger's event: the newest, where there are many."""
    packed = []
    for found in list(findings)[-KEPT:]:
        values = {
            key: value.isoformat() if isinstance(value, datetime) else value for key, value in asdict(found).items()
        }
        packed.append({"kind": _NAMES[type(found)], **values})
    return packed


def unpack(value: Any) -> tuple[Finding, ...]:
    """Read what :func:`pack` wrote, without what cannot be read."""
    given = [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []
    return tuple(found for each in given if (found := _read(each)) is not None)


def _read(given: Mapping[str, Any]) -> Finding | None:
    kind, trained = given.get("kind"), amount(given.get("trained"))
    if kind == "end":
        start, at = count(given.get("start")), _moment(given.get("at"))
        if start is None or at is None or trained is None:
            return None
        return StartEnd(start, at, trained, amount(given.get("lost")), _moment(given.get("newest")))
    if kind == "not_seen":
        problem = given.get("problem")
        return NotSeen(problem) if isinstance(problem, str) else None
    if kind == "nothing_yet":
        return None if trained is None else NothingYet(trained)
    if kind == "stuck":
        starts, longer_than = count(given.get("starts")), amount(given.get("longer_than"))
        return None if starts is None or longer_than is None else Stuck(starts, longer_than)
    return None  # of a newer version


def _moment(value: Any) -> datetime | None:
    try:
        read = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return read if read.tzinfo is not None else None
