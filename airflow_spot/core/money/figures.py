"""What AWS says of a market, with where it comes from and how old it is; or why it is not known."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Figure(Generic[T]):
    """
    A value, or why there is none.

    :param value: None where it is not known.
    :param source: where it comes from, such as ``pricing:GetProducts`` or the path of a file.
    :param read: when it was read there; what comes from a cache keeps the time of its first reading.
    :param why: where it is not known, the reason as half a sentence, such as ``needs pricing:GetProducts``.
    """

    value: T | None
    source: str
    read: datetime | None = None
    why: str = ""

    @property
    def known(self) -> bool:
        """Whether there is a value."""
        return self.value is not None

    def age_seconds(self, now: datetime) -> float | None:
        """Return how old it is; None where it is not known when it was read."""
        return None if self.read is None else max(0.0, (now - self.read).total_seconds())


def unknown(source: str, why: str) -> Figure[T]:
    """Return a figure that is not known."""
    return Figure(None, source, why=why)
