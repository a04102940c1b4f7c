"""What a look at a checkpoint folder tells, as values: an event each. A trigger hands them on to the worker."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any


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

_KINDS: dict[str, Any] = {"end": StartEnd, "not_seen": NotSeen, "nothing_yet": NothingYet, "stuck": Stuck}
_MOMENTS = ("at", "newest")
#: The newest findings that a trigger hands on.
KEPT = 50


def pack(findings: Iterable[Finding]) -> list[dict[str, Any]]:
    """Write findings for a trigger's event: the newest, where there are many."""
    names = {kind: name for name, kind in _KINDS.items()}
    packed = []
    for found in list(findings)[-KEPT:]:
        values = {
            key: value.isoformat() if isinstance(value, datetime) else value for key, value in asdict(found).items()
        }
        packed.append({"kind": names[type(found)], **values})
    return packed


def unpack(value: Any) -> tuple[Finding, ...]:
    """Read what :func:`pack` wrote, without what cannot be read."""
    findings = []
    for each in value if isinstance(value, list) else ():
        try:
            given = {key: inner for key, inner in each.items() if key != "kind"}
            for key in _MOMENTS:
                if given.get(key) is not None:
                    given[key] = datetime.fromisoformat(given[key])
            findings.append(_KINDS[each["kind"]](**given))
        except (KeyError, TypeError, ValueError, AttributeError):
            continue
    return tuple(findings)
