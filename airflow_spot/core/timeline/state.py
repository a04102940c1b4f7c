"""What the copy of a run's ledger is made from: the run's jobs, and what SageMaker does not know of the run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone

from airflow_spot.core.attempt import Attempt
from airflow_spot.core.identity import RunIdentity
from airflow_spot.core.outcomes import Outcome
from airflow_spot.core.roles import Role
from airflow_spot.core.script_progress import ScriptProgress
from airflow_spot.core.starts import newest_moment
from airflow_spot.render.ledger_format import OVER

#: So much of each is kept, the newest; the picture has no room for more, and a deferred task carries them.
JOBS_KEPT = 300
TICKS_KEPT = 1000
DECISIONS_KEPT = 200
POINTS_KEPT = 500
AGAIN_KEPT = 300
#: Characters of a reason. SageMaker's have 1024 at most.
REASON_LENGTH = 300


@dataclass(frozen=True)
class Decision:
    """
    What was decided that no job tells of, and why.

    :param what: such as "pause" or "attempt 2 refused".
    """

    at: datetime
    what: str
    why: str


@dataclass(frozen=True)
class Tick:
    """A checkpoint as it came; ``step`` is None where nothing says it."""

    at: datetime
    step: int | None = None


@dataclass(frozen=True)
class Again:
    """
    A span of training whose work was lost.

    :param start: which one of its attempt: 1, 2, ...
    """

    start: int
    begin: datetime
    end: datetime


@dataclass(frozen=True)
class Phase:
    """
    What the run does by the word of an event, where its jobs do not tell it.

    :param state: one of the format's.
    """

    state: str
    since: datetime
    reason: str = ""


@dataclass(frozen=True)
class LedgerState:
    """
    One run as far as whoever observes it knows it: a worker, or the trigger that waits for it.

    :param key: the run key.
    :param began: when this began to be kept; a run that has no job has no other beginning.
    :param jobs: of all generations that are known, by name.
    :param notes: newest last, as what follows.
    :param ticks: by the name of the job, as is ``again``.
    :param lost: seconds of the generation's training that were lost; None where that is not known.
    :param phase: None where the jobs tell.
    :param awaited: an adopted job, and the status that it is in.
    :param deadline: when the task stops waiting; None for never.
    :param dropped_ticks: by the name of the job, how many older ones are kept no more.
    """

    key: str
    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    try_number: int
    began: datetime
    region: str = ""
    partition: str = "aws"
    generation: int = 1
    jobs: Mapping[str, Attempt] = field(default_factory=dict)
    notes: tuple[Decision, ...] = ()
    dropped_notes: int = 0
    ticks: Mapping[str, tuple[Tick, ...]] = field(default_factory=dict)
    dropped_ticks: Mapping[str, int] = field(default_factory=dict)
    dropped_starts: Mapping[str, int] = field(default_factory=dict)
    dropped_jobs: int = 0
    again: Mapping[str, tuple[Again, ...]] = field(default_factory=dict)
    lost: float | None = 0.0
    phase: Phase | None = None
    awaited: tuple[str, str] | None = None
    reported: ScriptProgress | None = None
    points: tuple[tuple[datetime, int], ...] = ()
    model: str | None = None
    deadline: datetime | None = None

    @classmethod
    def begin(
        cls, run: RunIdentity, try_number: int, now: datetime, *, region: str = "", partition: str = "aws"
    ) -> LedgerState:
        """Make it for a try of which nothing is known yet."""
        ids = (run.dag_id, run.run_id, run.task_id, run.map_index)
        return cls(run.key, *ids, try_number, now, region, partition)

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """Return the attempts of the newest generation, oldest first."""
        ours = (job for job in self.jobs.values() if job.name.generation == self.generation)
        return tuple(in_order(job for job in ours if job.role is Role.ATTEMPT))

    @property
    def is_over(self) -> bool:
        """Return whether the try has come to its end."""
        return self.phase is not None and self.phase.state in OVER

    @property
    def live(self) -> Attempt | None:
        """Return the attempt that may still train."""
        return next((attempt for attempt in reversed(self.attempts) if attempt.live), None)


def in_order(jobs: Iterable[Attempt]) -> list[Attempt]:
    """Return jobs as a run had them: by generation and number; those of other roles behind the attempts."""
    return sorted(jobs, key=lambda job: (job.name.generation, job.role is not Role.ATTEMPT, job.number, job.job_name))


def take_in(
    state: LedgerState,
    jobs: Iterable[Attempt],
    generation: int,
    *,
    lost: float | None,
    deadline: datetime | None = None,
) -> LedgerState:
    """
    Take in what SageMaker says of the run's jobs.

    What was read in whole stays, where the same job is known only in part by now: an ended job never changes.

    :param generation: the newest.
    :param lost: seconds of its training that were lost; None where that is not known.
    """
    known, told = dict(state.jobs), set()
    for job in jobs:
        told.add(job.job_name)
        before = known.get(job.job_name)
        if job.whole or before is None or not before.whole or before.live:
            known[job.job_name] = _without_more(job, before)
    for name, job in known.items():
        if job.live and name not in told and job.name.generation == generation:
            # Deleted, or one of another role, of which the run keeps only what is live.
            ended = job.ended or newest_moment(job.starts) or job.created
            known[name] = replace(job, outcome=Outcome.UNKNOWN, status="Stopped", ended=ended)
    kept = in_order(known.values())[-JOBS_KEPT:]
    return replace(
        state,
        jobs={job.job_name: job for job in kept},
        dropped_jobs=state.dropped_jobs + len(known) - len(kept),
        generation=generation,
        lost=lost,
        deadline=deadline,
        awaited=None if kept else state.awaited,
    )


def _without_more(job: Attempt, before: Attempt | None) -> Attempt:
    """Return a job with what an earlier look knew and this one, of a job that is told in part, does not."""
    if job.whole or before is None:
        return job
    return replace(
        job,
        placement=before.placement,
        rung=job.rung or before.rung,
        why=before.why,
        starts=before.starts,
        created=job.created or before.created,
        created_by=before.created_by,
        checkpoint_s3_uri=before.checkpoint_s3_uri,
        failure_reason=before.failure_reason,
    )


def note(state: LedgerState, now: datetime, what: str, why: str) -> LedgerState:
    """Note a decision that no job tells of; the same again is not noted again."""
    made = Decision(now, what, cut(why))
    if state.notes and (state.notes[-1].what, state.notes[-1].why) == (made.what, made.why):
        return state
    kept = (*state.notes, made)[-DECISIONS_KEPT:]
    return replace(state, notes=kept, dropped_notes=state.dropped_notes + len(state.notes) + 1 - len(kept))


def tick(state: LedgerState, job_name: str, found: Iterable[Tick]) -> LedgerState:
    """Note checkpoints of a job; those of the same second are one."""
    known = {int(one.at.timestamp()): one for one in state.ticks.get(job_name, ())}
    for one in found:
        second = int(one.at.timestamp())
        if second not in known or known[second].step is None:
            known[second] = one
    whole = tuple(known[second] for second in sorted(known))
    kept = whole[-TICKS_KEPT:]
    dropped = state.dropped_ticks.get(job_name, 0) + len(whole) - len(kept)
    return replace(
        state,
        ticks={**state.ticks, job_name: kept},
        dropped_ticks={**state.dropped_ticks, job_name: dropped} if dropped else state.dropped_ticks,
    )


def finish(state: LedgerState, word: str, now: datetime, reason: str = "", model: str | None = None) -> LedgerState:
    """
    Say that the run is over.

    :param word: ``completed``, ``failed``, ``stopped`` or ``left``.
    :param model: where its model is.
    """
    told = cut(reason.partition("\n")[0])
    since = state.phase.since if state.phase is not None and state.phase.state == word else now
    return replace(state, phase=Phase(word, since, told), model=model or state.model)


def cut(reason: str) -> str:
    """Return a reason, and where it is too long its beginning, with a mark that it is one."""
    return reason if len(reason) <= REASON_LENGTH else f"{reason[: REASON_LENGTH - 2].rstrip()} …"


def utc(moment: float) -> datetime:
    """Return a moment of seconds since 1970."""
    return datetime.fromtimestamp(moment, timezone.utc)
