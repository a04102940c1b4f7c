"""One training job of a run, as SageMaker tells it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any

from airflow_spot.core.identity import JobName
from airflow_spot.core.marks import (
    ENV_FINGERPRINT,
    ENV_MEMBER,
    ENV_RUNG,
    ENV_TRY,
    ENV_WHY,
    TAG_DELIVERED,
    TAG_OWNER,
    TAG_REQUEST,
    TAG_STOP,
    RequestMark,
    StopMark,
)
from airflow_spot.core.outcomes import (
    ENDED_STATUSES,
    Outcome,
    classify,
    count_interruptions,
    exit_code,
    waiting_since,
    working_spans,
)
from airflow_spot.core.placement import Placement
from airflow_spot.core.roles import Role
from airflow_spot.core.secrets.redaction import redact
from airflow_spot.core.starts import Start, read_starts, read_uploading
from airflow_spot.core.try_marks import TryMark


@dataclass(frozen=True)
class Attempt:
    """
    One training job of a run: an attempt, or a job of another role.

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
    :param why: why it was created, as the job itself says.
    :param member: of a mapped task, what tells its member; empty where nothing does.
    :param request: what a person asks of the run, if anything.
    :param starts: oldest first.
    :param uploading: when it began to upload what it made; None where it has not.
    :param whole: False for one that has ended, and of which only name, times, status and an outcome are known, or what
        a deferral carried.
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
    why: str = ""
    member: str = ""
    request: RequestMark | None = None
    starts: tuple[Start, ...] = ()
    whole: bool = True
    uploading: datetime | None = None

    @property
    def role(self) -> Role:
        """Return what the job is for."""
        return self.name.role

    @property
    def number(self) -> int:
        """Return its place among the jobs of its role: 1, 2, ..."""
        return self.name.number

    @property
    def label(self) -> str:
        """Return in words how it ended, or that it has not."""
        return self.outcome.label if self.outcome else "in progress"

    @property
    def live(self) -> bool:
        """Whether it may still train or write checkpoints."""
        return self.outcome is None

    @property
    def completed(self) -> bool:
        """Whether it ended in success."""
        return self.outcome is Outcome.COMPLETED

    @property
    def trained(self) -> bool:
        """Whether it ever had its instances."""
        return bool(self.active_seconds or self.working_since or self.training_seconds)

    def trained_seconds(self, now: datetime) -> float:
        """Return for how long it has trained: SageMaker's figure, or by its starts where that is not there yet."""
        until = now if self.live else self.ended
        return max(float(self.training_seconds), sum(start.trained(until) for start in self.starts))

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
                placement := Placement.of_resources(resources, bool(description.get("EnableManagedSpotTraining")))
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
            why=str(environment.get(ENV_WHY) or ""),
            member=str(environment.get(ENV_MEMBER) or ""),
            request=RequestMark.parse(tags.get(TAG_REQUEST)),
            starts=read_starts(description),
            uploading=read_uploading(description),
            owner=int(owner) if (owner := tags.get(TAG_OWNER, "")).isdecimal() else None,
        )

    @classmethod
    def from_summary(cls, summary: Mapping[str, Any]) -> Attempt:
        """
        Read an attempt that has ended from its line in a list, which tells neither reason, rung, times nor tags.

        :raises ValueError: the job's name is not one of ours.
        """
        return replace(cls.from_description(summary, {}), rung="", whole=False)

    def seen_again(self, description: Mapping[str, Any]) -> Attempt:
        """Return a live attempt with what a later look at its job tells of its course; not how it ended."""
        status = str(description.get("TrainingJobStatus"))
        return replace(
            self,
            status=self.status if status in ENDED_STATUSES else status,
            secondary_status=str(description.get("SecondaryStatus")),
            interruptions=count_interruptions(description.get("SecondaryStatusTransitions") or ()),
            starts=read_starts(description),
            uploading=read_uploading(description),
        )

    def precedes(self, other: Attempt) -> bool:
        """Return which of two jobs that were created at once stays."""
        ages = [
            (attempt.created or datetime.max.replace(tzinfo=timezone.utc), attempt.job_name)
            for attempt in (self, other)
        ]
        return ages[0] < ages[1]
