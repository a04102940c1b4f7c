"""What happens to a run, as values. The log, the demo and whoever else observes a run hear these, and parse no text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, TypeAlias

from airflow_spot.core.attempt import Attempt
from airflow_spot.core.findings import Finding, NothingYet, NotSeen, StartEnd, Stuck
from airflow_spot.core.history import Refusal
from airflow_spot.core.money.totals import RunTotals
from airflow_spot.core.outcomes import Outcome
from airflow_spot.core.script_progress import ScriptProgress
from airflow_spot.core.service_errors import SeenFolder
from airflow_spot.core.starts import Start
from airflow_spot.core.stop_reasons import StopReason

#: A line of the log that is this much younger than what it tells of has to say when that was.
LATE_SECONDS = 120.0


@dataclass(frozen=True)
class GenerationBegan:
    """
    A generation has no job yet.

    :param checkpoint_s3_uri: where it is to keep its checkpoints; None where SageMaker keeps none.
    :param keeps_folder: it is not the run's first, and still writes to a folder that may hold checkpoints.
    """

    name: ClassVar[str] = "generation_began"
    run_key: str
    generation: int
    checkpoint_s3_uri: str | None
    keeps_folder: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return its facts."""
        return {"generation": self.generation, "checkpoint_s3_uri": self.checkpoint_s3_uri}


@dataclass(frozen=True)
class AttemptFound:
    """A try begins, and its run has had this attempt."""

    name: ClassVar[str] = "attempt_found"
    attempt: Attempt

    def to_json(self) -> dict[str, Any]:
        """Return its facts."""
        return _facts(self.attempt)


@dataclass(frozen=True)
class AttemptDecided:
    """An attempt is about to be created, and why."""

    name: ClassVar[str] = "attempt_decided"
    number: int
    rung: str
    job_name: str
    why: str

    def to_json(self) -> dict[str, Any]:
        """Return its facts."""
        return {"attempt": self.number, "rung": self.rung, "job": self.job_name, "why": self.why}


@dataclass(frozen=True)
class AttemptCreated:
    """CreateTrainingJob made an attempt's job."""

    name: ClassVar[str] = "attempt_created"
    attempt: Attempt

    def to_json(self) -> dict[str, Any]:
        """Return its facts."""
        return _facts(self.attempt)


@dataclass(frozen=True)
class AttemptAttached:
    """The try waits for a job that exists already."""

    name: ClassVar[str] = "attempt_attached"
    attempt: Attempt

    def to_json(self) -> dict[str, Any]:
        """Return its facts."""
        return _facts(self.attempt)


@dataclass(frozen=True)
class CreateRefused:
    """CreateTrainingJob was refused for want of quota or capacity; there is no job."""

    name: ClassVar[str] = "create_refused"
    refusal: Refusal

    def to_json(self) -> dict[str, Any]:
        """Return its facts."""
        one = self.refusal
        return {"attempt": one.number, "rung": one.rung, "outcome": one.outcome.value, "message": one.message}


@dataclass(frozen=True)
class Transitioned:
    """
    A job went on to another secondary status.

    :param label: how people know the job: "attempt 2", or its name.
    :param at: when; None where SageMaker does not say.
    :param message: SageMaker's.
    :param repeated: it was told before, by the trigger, whose lines of the log are lost on MWAA.
    :param keeps_checkpoints: whether SageMaker keeps checkpoints of the job, as far as whoever tells it knows.
    :param heard: when it was seen; None where that does not matter.
    :param nth: of an interruption, which one of the job it is: 1, 2, ...; None where that is not known.
    :param trained: of an interruption, for how many seconds the script had run since the start before.
    """

    name: ClassVar[str] = "transition"
    job_name: str
    label: str
    status: str
    at: datetime | None = None
    message: str = ""
    repeated: bool = False
    keeps_checkpoints: bool = True
    heard: datetime | None = None
    nth: int | None = None
    trained: float | None = None

    @classmethod
    def of(
        cls,
        job_name: str,
        label: str,
        transition: Mapping[str, Any],
        *,
        repeated: bool = False,
        keeps_checkpoints: bool = True,
        heard: datetime | None = None,
        starts: Sequence[Start] = (),
    ) -> Transitioned:
        """
        Make it of one entry of ``SecondaryStatusTransitions``.

        :param starts: of the job, as far as they are known.
        """
        at, status = transition.get("StartTime"), str(transition.get("Status"))
        lost = [start for start in starts if start.lost is not None]
        nth = next((place for place, start in enumerate(lost, 1) if start.lost == at), None)
        return cls(
            job_name,
            label,
            status,
            at if isinstance(at, datetime) else None,
            str(transition.get("StatusMessage") or "").strip(),
            repeated,
            keeps_checkpoints,
            heard,
            nth if status == "Interrupted" else None,
            lost[nth - 1].trained(None) if nth is not None and status == "Interrupted" else None,
        )

    @property
    def is_late(self) -> bool:
        """Return whether the time at which it is told does not say when it happened."""
        if self.repeated or self.heard is None or self.at is None:
            return True
        return (self.heard - self.at).total_seconds() > LATE_SECONDS

    def to_json(self) -> dict[str, Any]:
        """Return its facts."""
        return {"job": self.job_name, "status": self.status, "since": _iso(self.at), "message": self.message}


@dataclass(frozen=True)
class CapacityAwaited:
    """
    A job still waits for capacity: SageMaker says something new of that, or an hour has passed.

    :param label: how people know the job.
    :param since: since when it waits.
    :param at: when this is told.
    :param message: SageMaker's.
    """

    name: ClassVar[str] = "waiting"
    job_name: str
    label: str
    since: datetime
    at: datetime
    message: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return its facts."""
        return {"job": self.job_name, "since": _iso(self.since), "message": self.message}


@dataclass(frozen=True)
class Paused:
    """Nothing is live, and nothing is created before a moment."""

    name: ClassVar[str] = "paused"
    until: datetime
    why: str

    def to_json(self) -> dict[str, Any]:
        """Return its facts."""
        return {"until": _iso(self.until), "why": self.why}


@dataclass(frozen=True)
class ServiceErrorsRepeated:
    """
    SageMaker failed attempts in a row by its own error, of which large checkpoints are a known reason.

    :param attempt: the number of the newest.
    :param errors: how many.
    :param folder: where it kept its checkpoints, as far as that could be seen.
    """

    name: ClassVar[str] = "service_errors_repeated"
    attempt: int
    errors: int
    folder: SeenFolder

    def to_json(self) -> dict[str, Any]:
        """Return its facts."""
        seen = self.folder.objects is not None
        return {
            "attempt": self.attempt,
            "errors": self.errors,
            "checkpoint_s3_uri": self.folder.uri or None,
            "objects": self.folder.objects,
            "bytes": self.folder.bytes if seen else None,
            "more": self.folder.more,
            "problem": self.folder.problem or None,
        }


@dataclass(frozen=True)
class ScriptProgressed:
    """
    A script that uses ``airflow_spot.checkpoint`` has reported how far it is.

    :param is_news: whether the log is told: a script may report each minute.
    """

    name: ClassVar[str] = "script_progress"
    job_name: str
    found: ScriptProgress
    is_news: bool = True

    def to_json(self) -> dict[str, Any]:
        """Return its facts."""
        facts = self.found.to_json()
        return {"job": self.job_name, "reported": facts.pop("at"), **facts}


@dataclass(frozen=True)
class StartEnded:
    """
    A start ended otherwise than in success: how old the newest checkpoint was, and what was lost.

    :param job_name: of its attempt, as for the three events below.
    """

    name: ClassVar[str] = "start_ended"
    job_name: str
    checkpoint_s3_uri: str
    found: StartEnd

    def to_json(self) -> dict[str, Any]:
        """Return its facts."""
        found = self.found
        return {
            **_place(self),
            "start": found.start,
            "ended": _iso(found.at),
            "trained_seconds": round(found.trained),
            "newest_checkpoint": _iso(found.newest),
            "checkpoint_age_seconds": None if found.age is None else round(found.age),
            "lost_seconds": None if found.lost is None else round(found.lost),
        }


@dataclass(frozen=True)
class CheckpointsSeen:
    """
    A look at a checkpoint folder showed what no look before did.

    It is told of no job's folder that nobody looks at, and of what a script has deleted before a look no look knows.

    :param at: when they were written, as S3 says, oldest first; what was written within seconds is one checkpoint.
    :param steps: the step of each, None where its name does not tell.
    """

    name: ClassVar[str] = "checkpoints_seen"
    job_name: str
    checkpoint_s3_uri: str
    at: tuple[datetime, ...]
    steps: tuple[int | None, ...] = ()

    @classmethod
    def of(cls, job_name: str, uri: str, found: Sequence[tuple[datetime, int | None]]) -> CheckpointsSeen:
        """Make it of what a look shows that is new."""
        return cls(job_name, uri, tuple(at for at, _ in found), tuple(step for _, step in found))

    def to_json(self) -> dict[str, Any]:
        """Return its facts."""
        return {**_place(self), "written": [_iso(moment) for moment in self.at], "steps": list(self.steps)}


@dataclass(frozen=True)
class CheckpointMissing:
    """A start has trained for long without any checkpoint."""

    name: ClassVar[str] = "checkpoint_missing"
    job_name: str
    checkpoint_s3_uri: str
    found: NothingYet

    def to_json(self) -> dict[str, Any]:
        """Return its facts."""
        return {**_place(self), "trained_seconds": round(self.found.trained)}


@dataclass(frozen=True)
class CheckpointsNotSeen:
    """What is in the checkpoint folder could not be seen: nothing is concluded from it."""

    name: ClassVar[str] = "checkpoints_not_seen"
    job_name: str
    checkpoint_s3_uri: str
    found: NotSeen

    def to_json(self) -> dict[str, Any]:
        """Return its facts."""
        return {**_place(self), "problem": self.found.problem}


@dataclass(frozen=True)
class ProgressMissing:
    """As many starts in a row as may left nothing new in the checkpoint folder."""

    name: ClassVar[str] = "progress_missing"
    job_name: str
    checkpoint_s3_uri: str
    found: Stuck

    def to_json(self) -> dict[str, Any]:
        """Return its facts."""
        return {**_place(self), "starts": self.found.starts, "longer_than_seconds": round(self.found.longer_than)}


@dataclass(frozen=True)
class TrainedLong:
    """The jobs of a run have trained twice its ``max_run`` together, in seconds, and none has completed."""

    name: ClassVar[str] = "trained_long"
    training_seconds: float
    max_run: int

    def to_json(self) -> dict[str, Any]:
        """Return its facts."""
        return {"training_seconds": round(self.training_seconds), "max_run": self.max_run}


@dataclass(frozen=True)
class JobStopped:
    """
    We stopped a job, or left it alone.

    :param skip_reason: why it was left alone; None where it was stopped.
    """

    name: ClassVar[str] = "job_stopped"
    job_name: str
    reason: StopReason
    why: str
    skip_reason: str | None = None
    checkpoint_s3_uri: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return its facts."""
        return {
            "job": self.job_name,
            "reason": self.reason.value,
            "why": self.why,
            "skip_reason": self.skip_reason,
            "checkpoint_s3_uri": self.checkpoint_s3_uri or None,
        }


@dataclass(frozen=True)
class RunSucceeded:
    """
    An attempt completed.

    :param attempts: all of its generation.
    """

    name: ClassVar[str] = "run_succeeded"
    attempts: tuple[Attempt, ...]
    totals: RunTotals

    def to_json(self) -> dict[str, Any]:
        """Return its facts."""
        return {"attempts": len(self.attempts), **self.totals.to_json()}


@dataclass(frozen=True)
class RunFailed:
    """
    The run cannot continue in this try.

    :param outcome: the one that decided; None where the time was up, or the task was killed.
    :param killed: Airflow has killed the task.
    :param attempts: all of its generation.
    """

    name: ClassVar[str] = "run_failed"
    outcome: Outcome | None
    why: str
    totals: RunTotals
    killed: bool = False
    attempts: tuple[Attempt, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return its facts."""
        word = "killed" if self.killed else self.outcome.value if self.outcome else "timeout"
        return {"outcome": word, "why": self.why, **self.totals.to_json()}


Event: TypeAlias = (
    GenerationBegan
    | AttemptFound
    | AttemptDecided
    | AttemptCreated
    | AttemptAttached
    | CreateRefused
    | Transitioned
    | CapacityAwaited
    | Paused
    | ServiceErrorsRepeated
    | ScriptProgressed
    | StartEnded
    | CheckpointsSeen
    | CheckpointMissing
    | CheckpointsNotSeen
    | ProgressMissing
    | TrainedLong
    | JobStopped
    | RunSucceeded
    | RunFailed
)

#: Hears each event when it happens. What it raises ends the try, so an observer that may fail catches for itself.
Observer: TypeAlias = Callable[[Event], None]


def of_finding(found: Finding, job_name: str, checkpoint_s3_uri: str) -> Event:
    """Return the event of what a look at a checkpoint folder showed."""
    if isinstance(found, StartEnd):
        return StartEnded(job_name, checkpoint_s3_uri, found)
    if isinstance(found, NothingYet):
        return CheckpointMissing(job_name, checkpoint_s3_uri, found)
    if isinstance(found, NotSeen):
        return CheckpointsNotSeen(job_name, checkpoint_s3_uri, found)
    return ProgressMissing(job_name, checkpoint_s3_uri, found)


def as_line(event: Event, run_key: str, now: datetime) -> dict[str, Any]:
    """Return an event as one JSON object, for a file of lines."""
    return {"at": _iso(now), "event": event.name, "run": run_key, **event.to_json()}


def _facts(attempt: Attempt) -> dict[str, Any]:
    return {
        "attempt": attempt.number,
        "job": attempt.job_name,
        "rung": attempt.rung,
        "status": attempt.status,
        "outcome": attempt.outcome.value if attempt.outcome else None,
        "why": attempt.why,
        "checkpoint_s3_uri": attempt.checkpoint_s3_uri or None,
    }


def _place(
    event: StartEnded | CheckpointsSeen | CheckpointMissing | CheckpointsNotSeen | ProgressMissing,
) -> dict[str, Any]:
    return {"job": event.job_name, "checkpoint_s3_uri": event.checkpoint_s3_uri or None}


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None
