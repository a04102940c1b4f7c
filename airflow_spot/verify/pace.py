"""How long things take: minutes on AWS, seconds on Local SageMaker. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

#: What a job may be billed beyond its MaxRuntimeInSeconds: 120 s until SIGKILL, two minutes by which limits are
#: enforced late, and the uploads.
OVERHEAD_SECONDS = 360


class Length(Enum):
    """What a job of a setup is for, which says how long it may run."""

    BRIEF = "is refused, or stopped as soon as it was created"
    TRAINS = "trains for a while, and ends by itself or is stopped"
    LIMITED = "trains until a limit of its own ends it"
    LONG = "trains on spot for as long as an interruption is waited for"


@dataclass(frozen=True)
class Pace:
    """
    Seconds of everything that waits.

    :param poll: between two looks at a job.
    :param settle: after a job's end, until its description changes no more.
    :param tick: between two files that a script writes.
    :param train: for which the script of a job trains that ends by itself.
    :param patience: for which one step is waited for, such as instances.
    :param queue_wait: added to MaxRuntimeInSeconds for MaxWaitTimeInSeconds, where a setup does not say it.
    :param grace: from SIGTERM to SIGKILL, as the service promises it.
    :param interrupt_after: of training, where an interruption can be caused.
    :param capacity_gap: for which there is no instance after it.
    :param max_run: MaxRuntimeInSeconds by what a job is for.
    """

    poll: float
    settle: float
    tick: float
    train: float
    patience: float
    queue_wait: int
    grace: float
    interrupt_after: float
    capacity_gap: float
    max_run: Mapping[Length, int]


def on_aws(interruption_wait: int) -> Pace:
    """
    Return the pace of the real service.

    :param interruption_wait: how many seconds the spot job trains.
    """
    return Pace(
        poll=5.0,
        settle=40.0,
        tick=2.0,
        train=60.0,
        patience=900.0,
        queue_wait=600,
        grace=120.0,
        interrupt_after=60.0,
        capacity_gap=60.0,
        max_run={
            Length.BRIEF: 120,
            Length.TRAINS: 600,
            Length.LIMITED: 360,
            Length.LONG: interruption_wait,
        },
    )


def on_local(grace: float) -> Pace:
    """Return the pace of Local SageMaker, whose grace is that of its ``--grace``."""
    return Pace(
        poll=0.25,
        settle=1.5,
        tick=0.2,
        train=3.0,
        patience=120.0,
        queue_wait=120,
        grace=grace,
        interrupt_after=2.0,
        # Counted from the interruption, of which SIGTERM's grace is the first part.
        capacity_gap=grace + 4.0,
        max_run={Length.BRIEF: 60, Length.TRAINS: 60, Length.LIMITED: 20, Length.LONG: 14},
    )
