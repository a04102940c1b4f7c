"""Values that the tests of the core are made of."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple

from airflow_spot.core.attempt import Attempt
from airflow_spot.core.backoff import Backoff
from airflow_spot.core.decide import Limits
from airflow_spot.core.history import History, Refusal
from airflow_spot.core.identity import JobName, RunIdentity
from airflow_spot.core.ladder import Rung
from airflow_spot.core.marks import StopMark
from airflow_spot.core.outcomes import Outcome
from airflow_spot.core.parameters import PARAMETERS
from airflow_spot.core.plan import SpotSettings
from airflow_spot.core.request_schema import Shape
from airflow_spot.core.try_marks import TryMark
from airflow_spot.policies.ladder import LadderPolicy

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
RUN = RunIdentity("a-namespace", "a_dag", "manual__2026-01-01T00:00:00+00:00", "train")
SPOT = Rung("ml.g5.xlarge")
FOLDER = "s3://bucket/checkpoints"


def attempt(
    number: int,
    outcome: Outcome | None,
    *,
    generation: int = 1,
    rung: Rung = SPOT,
    ended: datetime | None = NOW,
    status: str | None = None,
    prefix: str = "train",
    checkpoint_s3_uri: str = FOLDER,
    **more: Any,
) -> Attempt:
    """An attempt that ended so; None for a live one."""
    name = JobName(prefix, RUN.key, generation, number)
    statuses = {None: "InProgress", Outcome.COMPLETED: "Completed"}
    return Attempt(
        name=name,
        job_name=str(name),
        placement=rung.placement,
        rung=str(rung),
        status=status or statuses.get(outcome, "Failed"),
        secondary_status="",
        outcome=outcome,
        ended=None if outcome is None else ended,
        checkpoint_s3_uri=checkpoint_s3_uri,
        **more,
    )


def history(*outcomes: Outcome | None, first_of_try: int = 1, **more: Any) -> History:
    """One generation whose attempts ended so."""
    attempts = tuple(attempt(number, outcome, **more) for number, outcome in enumerate(outcomes, 1))
    return History(1, attempts, first_of_try)


def refusal(
    number: int, outcome: Outcome = Outcome.QUOTA_EXCEEDED, *, rung: Rung = SPOT, at: datetime = NOW
) -> Refusal:
    """A create that SageMaker refused."""
    return Refusal(number, str(rung), outcome, at)


class Case(NamedTuple):
    """What decisions are made by."""

    limits: Limits
    policy: LadderPolicy

    @property
    def ladder(self) -> tuple[Rung, ...]:
        return self.policy.ladder

    @property
    def give_up_at(self) -> datetime | None:
        return self.limits.give_up_at

    @property
    def service_faults(self) -> int:
        return self.limits.service_faults


def limits(*ladder: Rung, backoff: Backoff | None = None, **more: Any) -> Case:
    """Limits, and the policy of a ladder; one spot rung where none is named."""
    pauses = backoff or Backoff("a-key")
    return Case(Limits(backoff=pauses, **more), LadderPolicy(ladder or (SPOT,), pauses))


def later(**amount: float) -> datetime:
    """A moment after NOW."""
    return NOW + timedelta(**amount)


def killed(number: int = 1) -> StopMark:
    """The mark of a try that Airflow killed."""
    return StopMark("killed", number)


def tried(number: int, max_tries: int) -> TryMark:
    """An Airflow try."""
    return TryMark(number, max_tries)


def description(**fields: Any) -> dict[str, Any]:
    """What DescribeTrainingJob says of a job of ours, secrets and all."""
    return {
        "TrainingJobName": str(JobName("train", RUN.key, 1, 1)),
        "TrainingJobArn": "arn:aws:sagemaker:us-east-1:123456789012:training-job/train",
        "TrainingJobStatus": "Completed",
        "SecondaryStatus": "Completed",
        "HyperParameters": {"password": "hunter2"},
        "Environment": {"TOKEN": "s3cr3t"},
        "ResourceConfig": {"InstanceType": "ml.g5.xlarge", "InstanceCount": 2},
        "EnableManagedSpotTraining": True,
        "CheckpointConfig": {"S3Uri": "s3://bucket/checkpoints"},
        "ModelArtifacts": {"S3ModelArtifacts": "s3://bucket/output/model.tar.gz"},
        "TrainingTimeInSeconds": 100,
        "BillableTimeInSeconds": 30,
        "CreationTime": NOW,
        "ResponseMetadata": {"RequestId": "1", "HTTPHeaders": {}},
        **fields,
    }


def structure(required: tuple[str, ...] = (), **members: Shape) -> Shape:
    """A structure of the API."""
    lazy: dict[str, Callable[[], Shape]] = {name: (lambda shape=shape: shape) for name, shape in members.items()}
    return Shape("structure", members=lazy, required=required)


def of(kind: str, item: Shape, **more: Any) -> Shape:
    """A list or map of one type."""
    return Shape(kind, item=lambda: item, **more)


def spot_settings(**given: Any) -> SpotSettings:
    """What the operator's parameters come to, read as the operator does."""
    return SpotSettings(**{name: PARAMETERS[name].read(name, value) for name, value in given.items()})
