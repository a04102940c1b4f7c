"""What has happened to a run so far, as SageMaker tells it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, TypeAlias

from airflow_spot.core.attempt import Attempt
from airflow_spot.core.marks import StopMark
from airflow_spot.core.outcomes import Outcome
from airflow_spot.core.progress import Progress
from airflow_spot.core.roles import Role
from airflow_spot.core.script_progress import Reports
from airflow_spot.core.stop_reasons import StopReason
from airflow_spot.core.try_marks import TryMark


@dataclass(frozen=True)
class Refusal:
    """
    A create that SageMaker refused for want of quota or capacity: it leaves no job, so only the try itself knows.

    :param number: the attempt that was to be created.
    :param rung: where.
    :param at: when.
    :param message: SageMaker's, without values of the request.
    :param backoff_skipped: the pause after it is over, whatever the clock says: the quota became available.
    """

    number: int
    rung: str
    outcome: Outcome
    at: datetime
    message: str = ""
    backoff_skipped: bool = False

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
        known = {outcome.value: outcome for outcome in Outcome}
        # One of a newer version, after a rollback: there was nothing to resume from then either.
        outcome = known.get(value["outcome"], Outcome.NO_CAPACITY)
        return cls(value["number"], value["rung"], outcome, at, value["message"])


#: What counts for a try: a job that was created, or a create that was refused.
PastEvent: TypeAlias = Attempt | Refusal


@dataclass(frozen=True)
class History:
    """
    The jobs of one generation of a run.

    :param attempts: oldest first.
    :param first_of_try: the number of the first attempt that counts for this Airflow try. What ended before is
        closed: neither its failure nor its budgets are this try's.
    :param refusals: the creates of this try that came to no job.
    :param restart_requested: a person had the run start over while a job was live: it is stopped, and
        :meth:`next_generation_if_idle` then begins a new generation.
    :param others: the live jobs of other roles.
    :param adopts: whether a job that completed before this try, undelivered, is its result. Not where the task was
        changed and cleared since: then it is trained on from the checkpoint.
    :param progress: what was seen of its checkpoints.
    :param reports: what its script reported of itself.
    """

    generation: int
    attempts: tuple[Attempt, ...] = field(default=())
    first_of_try: int = 1
    refusals: tuple[Refusal, ...] = ()
    restart_requested: bool = False
    others: tuple[Attempt, ...] = ()
    adopts: bool = True
    progress: Progress = field(default_factory=Progress)
    reports: Reports = field(default_factory=Reports)

    @classmethod
    def of(cls, generation: int, jobs: Iterable[Attempt], **more: Any) -> History:
        """Make it of a run's jobs, of whatever generation and role, in any order."""
        ours = sorted(
            (job for job in jobs if job.name.generation == generation), key=lambda job: (job.number, job.job_name)
        )
        return cls(
            generation,
            tuple(job for job in ours if job.role is Role.ATTEMPT),
            others=tuple(job for job in ours if job.role is not Role.ATTEMPT and job.live),
            **more,
        )

    @property
    def last(self) -> Attempt | None:
        """Return the newest attempt."""
        return self.attempts[-1] if self.attempts else None

    @property
    def live(self) -> Attempt | None:
        """
        Return the attempt that may still train; None where all have ended.

        Not only the last may: a list that lags and a name that changed can show an older one late.
        """
        return next((attempt for attempt in reversed(self.attempts) if attempt.live), None)

    @property
    def live_jobs(self) -> tuple[Attempt, ...]:
        """Return every job that is live, whatever its role; the attempt first."""
        live = self.live
        return self.others if live is None else (live, *self.others)

    @property
    def checkpoint_s3_uri(self) -> str:
        """
        Return where the generation keeps its checkpoints: where its newest attempt does; empty before the first.

        Its first job settles that, whatever ``S3OutputPath`` or ``checkpoint_s3_uri`` render to later.
        """
        return next((attempt.checkpoint_s3_uri for attempt in reversed(self.attempts) if attempt.checkpoint_s3_uri), "")

    def next_generation_if_idle(self) -> History:
        """Begin the new generation that a person asked for, once nothing of this one is live."""
        return History(self.generation + 1) if self.restart_requested and not self.live_jobs else self

    @property
    def result(self) -> Attempt | None:
        """Return the attempt whose model is the run's: the newest, once it has completed."""
        last = self.last
        if last is None or last.outcome is not Outcome.COMPLETED:
            return None
        # A create after it, though refused, was meant to resume.
        superseded = last.number < self.first_of_try and (not self.adopts or bool(self.refusals))
        return None if superseded else last

    @property
    def of_this_try(self) -> tuple[Attempt, ...]:
        """Return the attempts that count for this try."""
        return tuple(attempt for attempt in self.attempts if attempt.number >= self.first_of_try)

    @property
    def of_earlier_tries(self) -> tuple[Attempt, ...]:
        """Return the attempts of the generation that count for this try no more."""
        return tuple(attempt for attempt in self.attempts if attempt.number < self.first_of_try)

    @property
    def past(self) -> tuple[PastEvent, ...]:
        """Return what counts for this try in order: a refused create precedes the attempt that took its number."""
        mixed: list[PastEvent] = [*self.refusals, *self.of_this_try]
        return tuple(sorted(mixed, key=lambda event: (event.number, isinstance(event, Attempt))))


def begin_try(jobs: Iterable[Attempt], this_try: TryMark, *, resume: bool = True) -> History:
    """
    Decide which generation a new try works on, and from which attempt on it answers for.

    A new generation begins if and only if the last attempt completed, its result was delivered, and a person
    started the task over since. A completed attempt that was not delivered lost its result in a crash: it is
    adopted. With ``resume=False``, a person's starting over is enough; what is live then has to end first. A clear of
    a task that runs looks like a retry beside a clear of another task: with ``resume=False`` it is taken for a restart
    where the job was stopped because Airflow killed the task.

    :param jobs: every job of the run, of all generations and roles, in any order.
    :param this_try: the try that begins.
    """
    jobs = tuple(jobs)
    newest = max((job.name.generation for job in jobs if job.role is Role.ATTEMPT), default=1)
    found = History.of(newest, jobs)
    if not found.attempts:
        return found
    live = [attempt for attempt in found.attempts if attempt.live]
    last = (live or found.attempts)[-1]
    abandoned = not resume and _is_abandoned(last, this_try)
    if live or found.others:
        # One that stops already was stopped before this try: it ends first, and is not this try's end.
        trains = (attempt.number for attempt in live if attempt.status != "Stopping")
        first = min(trains, default=last.number + 1)
        if not live and _is_over(last, this_try):
            abandoned = True
        return History(newest, found.attempts, first, restart_requested=abandoned, others=found.others)
    if abandoned or _is_over(last, this_try):
        return History(newest + 1)
    return History(newest, found.attempts, first_of_try=last.number + 1)


def _is_over(last: Attempt, this_try: TryMark) -> bool:
    delivered = last.delivered_by if last.outcome is Outcome.COMPLETED else None
    return delivered is not None and this_try.is_restart_since(delivered, last.ended)


def _is_abandoned(last: Attempt, this_try: TryMark) -> bool:
    # A job that was told to stop is still Stopping for minutes when the next try begins.
    ends = not last.live or last.status == "Stopping"
    return is_started_over(this_try, last.created_by, last.ended, last.stop if ends else None)


def is_started_over(this_try: TryMark, by: TryMark | None, ended: datetime | None, stop: StopMark | None) -> bool:
    """
    Return whether a person has started a task over since it had a job.

    :param by: the try that created the job, or took it over; None where that is not known.
    :param ended: when the job ended.
    :param stop: our mark on a job that ends or has ended.
    """
    if by is None:
        return False
    if this_try.is_restart_since(by, ended):
        return True
    return stop is not None and stop.reason == StopReason.KILLED and this_try.is_after_a_clear_of_the_run(by)
