"""What the core asks of a policy: which rung is next, and whether to move while a job is live."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from airflow_spot.core.attempt import Attempt
from airflow_spot.core.history import PastEvent
from airflow_spot.core.ladder import Rung
from airflow_spot.core.stop_reasons import StopReason


@dataclass(frozen=True)
class NextRung:
    """
    Where the next attempt runs.

    :param not_before: a pause is due until then; None for none.
    """

    rung: Rung
    not_before: datetime | None = None


@dataclass(frozen=True)
class Stay:
    """
    Leave the live job where it is.

    :param capacity_timeout: the seconds that it may wait for capacity in one go, while and whenever it does; None for
        any.
    """

    capacity_timeout: float | None = None


@dataclass(frozen=True)
class Move:
    """
    Stop the live job and continue elsewhere, from its checkpoint: :meth:`Policy.next_rung` then says where.

    :param reason: for the stop mark: ``RUNG_TIMEOUT`` where capacity was waited for too long, else ``MOVE``.
    """

    reason: StopReason
    why: str


class Policy(Protocol):
    """Chooses where a run trains. A pure value: the same past and time give the same answers."""

    def next_rung(
        self, past: Sequence[PastEvent], *, earlier: Sequence[Attempt] = (), on_demand: bool = False
    ) -> NextRung | None:
        """
        Return where the next attempt runs, after what counts for this try; None where it can run nowhere.

        :param earlier: the attempts of earlier tries, which count for no budget; what they taught may be heeded.
        :param on_demand: only where nothing interrupts it.
        """
        ...

    def review(self, live: Attempt, past: Sequence[PastEvent], now: datetime) -> Stay | Move:
        """Return whether a live attempt stays where it is."""
        ...
