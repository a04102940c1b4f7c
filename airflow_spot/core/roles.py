"""What a job of a run is for. Stored in names, Environment and tags, so a value never changes."""

from __future__ import annotations

import enum


class Role(str, enum.Enum):
    """
    What a training job is for.

    The letter of each stands before the number in a job's name; an attempt has none.
    """

    #: Trains; at most one of a run is live.
    ATTEMPT = "attempt"
    #: Finds out whether capacity is there: no data, no checkpoint, ends at once. It counts in no budget.
    PROBE = "probe"
    #: Reserved: a second job that trains, in a folder beside the generation's.
    STANDBY = "standby"

    def __str__(self) -> str:
        return self.value

    @property
    def letter(self) -> str:
        """Return what stands before the number in a job's name."""
        return "" if self is Role.ATTEMPT else self.value[0]

    @classmethod
    def of_letter(cls, letter: str) -> Role:
        """Return the role of a letter in a job's name."""
        return next(role for role in cls if role.letter == letter)
