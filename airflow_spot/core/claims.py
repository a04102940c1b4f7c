"""
Which of several runs takes over a job that is nobody's yet, by its tags.

SageMaker has no write on a condition, so no tag can be taken by one call. Each run writes a tag of its own and then
reads all: of two runs at least one sees the other. Who sees the claim of a run with a lower key withdraws; who sees no
claim but its own takes the job.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from airflow_spot.core.try_marks import TryMark

#: On a job of somebody else's: the key of the run that took it over.
TAG_ADOPTED = "airflow-spot:adopted"
#: Before the key of a run that wants it. The value is the try that does, or :data:`WITHDRAWN`.
TAG_CLAIM = "airflow-spot:claim:"
WITHDRAWN = "withdrawn"


class Step(enum.Enum):
    """What a run that wants a job does next."""

    #: Write its claim.
    CLAIM = "claim"
    #: Write that it is the run's: nobody else claims it.
    TAKE = "take"
    #: Withdraw its claim: a run with a lower key claims the job too.
    WITHDRAW = "withdraw"
    #: Wait for the others to withdraw, or to take it.
    WAIT = "wait"
    #: Nothing: it is taken.
    DONE = "done"


@dataclass(frozen=True)
class Claims:
    """
    Who wants a job, as its tags say.

    :param owner: the key of the run that has it; None where none has.
    :param ours: the try of this run that claims it; None where none does.
    :param others: the keys of the other runs that claim it.
    """

    owner: str | None
    ours: TryMark | None
    others: tuple[str, ...]

    @classmethod
    def of(cls, tags: Mapping[str, str], key: str) -> Claims:
        """Read them for the run of this key."""
        claims = {
            name.removeprefix(TAG_CLAIM): TryMark.parse(value)
            for name, value in tags.items()
            if name.startswith(TAG_CLAIM) and value != WITHDRAWN
        }
        others = tuple(sorted(each for each in claims if each != key))
        return cls(tags.get(TAG_ADOPTED), claims.get(key), others)

    def step(self, key: str) -> Step:
        """Return what the run of this key does next, where nothing was read between this and its last write."""
        if self.owner is not None:
            return Step.DONE
        if self.ours is None:
            return Step.WAIT if self.others else Step.CLAIM
        if not self.others:
            return Step.TAKE
        return Step.WITHDRAW if self.others[0] < key else Step.WAIT
