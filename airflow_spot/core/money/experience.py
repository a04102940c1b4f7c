"""What this account really got of an instance type on spot: waits, interruptions, and what was billed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from statistics import mean

from airflow_spot.core.attempt import Attempt
from airflow_spot.core.money.totals import RunTotals, total
from airflow_spot.core.roles import Role

#: Hours of training from which on a type's own figures go before AWS's.
ENOUGH_HOURS = 1.0


@dataclass(frozen=True)
class Experience:
    """
    What the jobs of a type got on spot.

    :param totals: their sums; what was billed is that of the jobs that have ended.
    :param trained_hours: of all of them.
    :param waits: of each start that had instances, the seconds that it waited for them.
    :param changeovers: of each start that trained, the seconds from asking for instances to the script's begin.
    :param instance_hours: as ``trained_hours``, of each instance; None: of jobs of one instance.
    """

    totals: RunTotals
    trained_hours: float
    waits: tuple[float, ...] = ()
    changeovers: tuple[float, ...] = ()
    instance_hours: float | None = None

    @property
    def enough(self) -> bool:
        """Whether there is enough of it to go before what AWS says of all accounts."""
        return self.trained_hours >= ENOUGH_HOURS

    @property
    def discount(self) -> float | None:
        """What SageMaker billed less than on-demand, from 0 to 1; None where nothing was billed yet."""
        percent = self.totals.spot_discount_percent
        return None if percent is None else min(1.0, max(0.0, percent / 100))

    @property
    def changeover_minutes(self) -> float | None:
        """The mean time from asking for instances to the script's begin, in minutes; None where nothing began."""
        return mean(self.changeovers) / 60 if self.changeovers else None

    def __str__(self) -> str:
        times = "interruption" if self.totals.interruptions == 1 else "interruptions"
        return f"{self.totals.interruptions} {times} in {self.trained_hours:.0f} h"


def experiences(attempts: Iterable[Attempt], now: datetime) -> dict[str, Experience]:
    """
    Return what the account got, by instance type; of spot, and of jobs with instances of one type.

    :param attempts: of any runs. Those of other roles than training count for nothing.
    :param now: until when a job that trains has trained.
    """
    types: dict[str, list[Attempt]] = {}
    for attempt in attempts:
        if attempt.role is Role.ATTEMPT and attempt.placement.spot and not attempt.placement.groups:
            types.setdefault(attempt.placement.instance_type, []).append(attempt)
    return {kind: _of(mine, now) for kind, mine in types.items()}


def _of(attempts: list[Attempt], now: datetime) -> Experience:
    ended = total([each for each in attempts if not each.live], now)
    every = total(attempts, now)
    starts = [start for each in attempts for start in each.starts if start.granted is not None]
    return Experience(
        RunTotals(
            attempts=every.attempts,
            interruptions=every.interruptions,
            waited_seconds=every.waited_seconds,
            launch_seconds=every.launch_seconds,
            training_seconds=ended.training_seconds,
            billable_seconds=ended.billable_seconds,
            billed=ended.billed,
        ),
        sum(each.trained_seconds(now) for each in attempts) / 3600,
        tuple(start.waited(None) for start in starts),
        tuple(start.waited(None) + start.launched(None) for start in starts if start.training is not None),
        sum(each.trained_seconds(now) * each.placement.instance_count for each in attempts) / 3600,
    )
