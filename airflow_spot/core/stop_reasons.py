"""Why we stop a job: the word in its stop mark. Stored as a tag, so a value never changes."""

from __future__ import annotations

import enum


class StopReason(str, enum.Enum):
    """
    Why a job of ours is stopped by us.

    A mark by a newer version may hold a word that is not here: it is still a stop of ours.
    """

    #: Airflow killed the task: a person marked or cleared it, or its worker was drained.
    KILLED = "killed"
    #: The task's own time was up.
    TIMEOUT = "timeout"
    #: An error ended the task, and no later try would attach.
    FAILURE = "failure"
    #: It waited for capacity longer than its rung allows.
    RUNG_TIMEOUT = "rung-timeout"
    #: The run waited for capacity for ``max_total_wait``.
    CAPACITY_TIMEOUT = "capacity-timeout"
    #: The try's jobs have trained for ``max_total_run``.
    MAX_TOTAL_RUN = "max-total-run"
    #: A person had the run start over while it trained.
    RESTART = "restart"
    #: A newer generation, or another run that was there first, has its place.
    SUPERSEDED = "superseded"
    #: ``airflow-spot stop --restart``: the run continues with a new job.
    CLI = "cli"
    #: Its Airflow task is over.
    ORPHAN = "orphan"
    #: A policy moves the run to another rung.
    MOVE = "move"
    #: A person asked for it: the tag ``request`` says what.
    REQUEST = "request"
    #: Start after start left nothing new in the checkpoint folder.
    NO_PROGRESS = "no-progress"
    #: The run has cost what it may.
    MAX_COST = "max-cost"
    #: For the run's deadline.
    DEADLINE = "deadline"
    #: A probe that has told what it was made for.
    PROBE = "probe"
    #: No reason any more: the stop that the mark announced never came.
    WITHDRAWN = "withdrawn"

    def __str__(self) -> str:
        return self.value


#: After these the run continues with another job.
CONTINUING = frozenset(
    {
        StopReason.RUNG_TIMEOUT,
        StopReason.RESTART,
        StopReason.MOVE,
        StopReason.REQUEST,
        StopReason.NO_PROGRESS,
        StopReason.DEADLINE,
        StopReason.PROBE,
    }
)

#: Carried out whatever ``stop_on_kill`` says of a task that is killed or gives up: another job is to take its place, or
#: a limit of the training is reached. A job left alone then would be found at the same limit by each retry.
ALWAYS = CONTINUING | {StopReason.CAPACITY_TIMEOUT, StopReason.MAX_TOTAL_RUN, StopReason.MAX_COST}
