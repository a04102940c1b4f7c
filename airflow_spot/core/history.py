"""What has happened to a run so far, as SageMaker tells it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from airflow_spot.core.identity import JobName
from airflow_spot.core.ladder import Placement
from airflow_spot.core.marks import (
    ENV_FINGERPRINT,
    ENV_RUNG,
    ENV_TRY,
    TAG_DELIVERED,
    TAG_OWNER,
    TAG_STOP,
    StopMark,
    TryMark,
)
from airflow_spot.core.outcomes import (
    Outcome,
    classify,
    count_interruptions,
    exit_code,
    waiting_since,
    working_spans,
)
from airflow_spot.core.redaction import redact
from airflow_spot.core.savings import savings_percent


@dataclass(frozen=True)
class Attempt:
    """
    One training job of a run.

    :param placement: the instances it ran on.
    :param rung: the name of the ladder's rung that it was created on.
    :param waiting_since: since when it has waited for capacity, while it does.
    :param active_seconds: seconds in which it had its instances, without the span that is not over, which began at
        ``working_since``.
    :param failure_reason: SageMaker's, without values of hyperparameters and environment.
    :param exit_code: the script's, where it failed.
    :param stop: why we stopped it, if we did.
    :param delivered_by: the try that handed its result over.
    :param created_by: the try that created it.
    :param owner: the number of the try that waits for it.
    """

    name: JobName
    job_name: str
    placement: Placement
    status: str
    secondary_status: str
    outcome: Outcome | None
    rung: str = ""
    interruptions: int = 0
    training_seconds: int = 0
    billable_seconds: int = 0
    created: datetime | None = None
    ended: datetime | None = None
    failure_reason: str = ""
    stop: StopMark | None = None
    delivered_by: TryMark | None = None
    created_by: TryMark | None = None
    fingerprint: str = ""
    checkpoint_s3_uri: str = ""
    arn: str = ""
    owner: int | None = None
    waiting_since: datetime | None = None
    active_seconds: float = 0.0
    working_since: datetime | None = None
    exit_code: int | None = None

    @property
    def number(self) -> int:
        """Its place in the run: 1, 2, ..."""
        return self.name.attempt

    @property
    def label(self) -> str:
        """Return in words how it ended, or that it has not."""
        return self.outcome.label if self.outcome else "in progress"

    @property
    def live(self) -> bool:
        """Whether it may still train or write checkpoints."""
        return self.outcome is None

    @property
    def trained(self) -> bool:
        """Whether it ever had its instances."""
        return bool(self.active_seconds or self.working_since or self.training_seconds)

    @classmethod
    def from_description(cls, description: Mapping[str, Any], tags: Mapping[str, str]) -> Attempt:
        """
        Read an attempt from what SageMaker says of its job.

        :param description: what DescribeTrainingJob returned.
        :param tags: its tags; empty where they may not be read.
        :raises ValueError: the job's name is not one of ours.
        """
        job_name = str(description["TrainingJobName"])
        name = JobName.parse(job_name)
        if name is None:
            raise ValueError(f"{job_name} is not the name of a job of airflow_spot")
        stop = StopMark.parse(tags.get(TAG_STOP))
        resources = description.get("ResourceConfig") or {}
        environment = description.get("Environment") or {}
        reason = str(description.get("FailureReason") or "")
        spans = working_spans(description)
        return cls(
            name=name,
            job_name=job_name,
            placement=(
                placement := Placement(
                    str(resources.get("InstanceType") or resources.get("SelectedInstanceType") or "unknown"),
                    int(resources.get("InstanceCount") or 1),
                    bool(description.get("EnableManagedSpotTraining")),
                )
            ),
            rung=str(environment.get(ENV_RUNG) or placement),
            status=str(description.get("TrainingJobStatus")),
            secondary_status=str(description.get("SecondaryStatus")),
            outcome=classify(description, stop_reason=stop.reason if stop and not stop.withdrawn else None),
            interruptions=count_interruptions(description.get("SecondaryStatusTransitions") or ()),
            training_seconds=int(description.get("TrainingTimeInSeconds") or 0),
            billable_seconds=int(description.get("BillableTimeInSeconds") or 0),
            created=description.get("CreationTime"),
            ended=description.get("TrainingEndTime") or description.get("LastModifiedTime"),
            failure_reason=redact(reason, description),
            stop=stop,
            delivered_by=TryMark.parse(tags.get(TAG_DELIVERED)),
            created_by=TryMark.parse(environment.get(ENV_TRY)),
            fingerprint=str(environment.get(ENV_FINGERPRINT) or ""),
            checkpoint_s3_uri=str((description.get("CheckpointConfig") or {}).get("S3Uri") or ""),
            arn=str(description.get("TrainingJobArn") or ""),
            waiting_since=waiting_since(description),
            active_seconds=spans[0],
            working_since=spans[1],
            exit_code=exit_code(reason) if reason.startswith("AlgorithmError") else None,
            owner=int(owner) if (owner := tags.get(TAG_OWNER, "")).isdecimal() else None,
        )

    def precedes(self, other: Attempt) -> bool:
        """Say which of two jobs that were created at once stays."""
        ages = [
            (attempt.created or datetime.max.replace(tzinfo=timezone.utc), attempt.job_name)
            for attempt in (self, other)
        ]
        return ages[0] < ages[1]

    def summary(self) -> dict[str, Any]:
        """Give what a task's result says of the attempt."""
        return {
            "job_name": self.job_name,
            "instance_type": self.placement.instance_type,
            "instance_count": self.placement.instance_count,
            "spot": self.placement.spot,
            "outcome": self.outcome.value if self.outcome else "in_progress",
            "interruptions": self.interruptions,
            "training_seconds": self.training_seconds,
            "billable_seconds": self.billable_seconds,
            "savings_percent": savings_percent(self.training_seconds, self.billable_seconds),
        }


@dataclass(frozen=True)
class Refusal:
    """
    A create that SageMaker refused for want of quota or capacity: it leaves no job, so only the try itself knows.

    :param number: the attempt that was to be created.
    :param rung: where.
    :param at: when.
    :param message: SageMaker's, without values of the request.
    :param waited: the pause after it is over, whatever the clock says: its turn came.
    """

    number: int
    rung: str
    outcome: Outcome
    at: datetime
    message: str = ""
    waited: bool = False

    def to_json(self) -> dict[str, Any]:
        """Write it for a deferred task to carry."""
        return {
            "number": self.number,
            "rung": self.rung,
            "outcome": self.outcome.value,
            "at": self.at.timestamp(),
            "message": self.message,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Refusal:
        """Read what :meth:`to_json` wrote."""
        at = datetime.fromtimestamp(value["at"], timezone.utc)
        return cls(value["number"], value["rung"], Outcome(value["outcome"]), at, value["message"])


@dataclass(frozen=True)
class History:
    """
    The attempts of one generation of a run, oldest first.

    :param first_of_try: the number of the first attempt that counts for this Airflow try. What ended before is
        closed: neither its failure nor its budgets are this try's.
    :param refusals: the creates of this try that came to no job.
    :param restart_requested: a person had the run start over while a job was live: it is stopped, and
        :meth:`next_generation_if_idle` then begins a new generation.
    """

    generation: int
    attempts: tuple[Attempt, ...] = field(default=())
    first_of_try: int = 1
    refusals: tuple[Refusal, ...] = ()
    restart_requested: bool = False

    @property
    def last(self) -> Attempt | None:
        """The newest attempt."""
        return self.attempts[-1] if self.attempts else None

    @property
    def live(self) -> Attempt | None:
        """
        The attempt that may still train; None where all have ended.

        Not only the last may: a list that lags and a name that changed can show an older one late.
        """
        return next((attempt for attempt in reversed(self.attempts) if attempt.live), None)

    def next_generation_if_idle(self) -> History:
        """Begin the new generation that a person asked for, once nothing of this one is live."""
        return History(self.generation + 1) if self.restart_requested and self.live is None else self

    @property
    def of_this_try(self) -> tuple[Attempt, ...]:
        """The attempts that count for this try."""
        return tuple(attempt for attempt in self.attempts if attempt.number >= self.first_of_try)


def begin_try(attempts: tuple[Attempt, ...], this_try: TryMark, *, resume: bool = True) -> History:
    """
    Decide which generation a new try works on, and from which attempt on it answers for.

    A new generation begins if and only if the last attempt completed, its result was delivered, and a person
    started the task over since. A completed attempt that was not delivered lost its result in a crash: it is
    adopted. With ``resume=False``, a person's starting over is enough; what is live then has to end first.

    :param attempts: every attempt of the run, of all generations, in any order.
    :param this_try: the try that begins.
    """
    newest = max((attempt.name.generation for attempt in attempts), default=1)
    of_newest = (attempt for attempt in attempts if attempt.name.generation == newest)
    ours = tuple(sorted(of_newest, key=lambda attempt: (attempt.number, attempt.job_name)))
    if not ours:
        return History(newest)
    live = [attempt for attempt in ours if attempt.live]
    last = (live or ours)[-1]
    abandoned = not resume and last.created_by is not None and this_try.is_restart_since(last.created_by, last.ended)
    if live:
        return History(newest, ours, first_of_try=min(attempt.number for attempt in live), restart_requested=abandoned)
    delivered = last.outcome is Outcome.COMPLETED and last.delivered_by is not None
    over = delivered and last.delivered_by is not None and this_try.is_restart_since(last.delivered_by, last.ended)
    if over or abandoned:
        return History(newest + 1)
    return History(newest, ours, first_of_try=last.number + 1)
