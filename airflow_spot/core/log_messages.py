"""The lines of a task's log: one for each event of its run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from functools import singledispatch
from typing import Any

from airflow_spot.core.attempt import Attempt
from airflow_spot.core.durations import human
from airflow_spot.core.events import (
    AttemptAttached,
    AttemptCreated,
    AttemptDecided,
    AttemptFound,
    CapacityAwaited,
    CheckpointMissing,
    CheckpointsNotSeen,
    CheckpointsSeen,
    CreateRefused,
    Event,
    GenerationBegan,
    JobStopped,
    Paused,
    ProgressMissing,
    RunFailed,
    RunSucceeded,
    ScriptProgressed,
    ServiceErrorsRepeated,
    StartEnded,
    TrainedLong,
    Transitioned,
)
from airflow_spot.core.identity import JobName
from airflow_spot.core.money.totals import RunTotals
from airflow_spot.core.outcomes import Outcome
from airflow_spot.core.progress import HOW_TO_CHECKPOINT
from airflow_spot.core.roles import Role
from airflow_spot.core.service_errors import explain

_NOTES = {"MaxWaitTimeExceeded": "max_wait exceeded", "MaxRuntimeExceeded": "max_run exceeded"}
_INTERRUPTED = "Spot instance reclaimed; waiting for capacity, then resuming"


@singledispatch
def lines(event: Event) -> Iterable[str]:
    """Return what the log says of an event."""
    raise TypeError(f"no log message for {type(event).__name__}")


@lines.register
def _(event: GenerationBegan) -> Iterable[str]:
    where = f"Run {event.run_key} (generation {event.generation})"
    yield f"{where}: no earlier training job found, starting the first attempt"
    if event.keeps_folder:
        yield (
            f'checkpoint_scope="exact": it resumes from what is in {event.checkpoint_s3_uri}, unless you empty that '
            "folder"
        )


@lines.register
def _(event: AttemptFound) -> Iterable[str]:
    yield f"Found {attempt_line(event.attempt)}"


@lines.register
def _(event: AttemptDecided) -> Iterable[str]:
    yield f"attempt {event.number} on {event.rung} ({event.why}): creating training job {event.job_name}"


@lines.register
def _(event: AttemptCreated) -> Iterable[str]:
    where = event.attempt.checkpoint_s3_uri
    kept = f"checkpoints in {where}" if where else "the script manages its own checkpoints (use_checkpoints=False)"
    yield f"attempt {event.attempt.number}: created; {kept}"


@lines.register
def _(event: AttemptAttached) -> Iterable[str]:
    yield f"Attached to training job {event.attempt.job_name} ({event.attempt.secondary_status})"


@lines.register
def _(event: CreateRefused) -> Iterable[str]:
    yield event.refusal.message


@lines.register
def _(event: Transitioned) -> Iterable[str]:
    since = f", since {clock(event.at)}" if event.is_late else ""
    if event.status == "Interrupted":
        yield f"{event.label}: {_interruption(event)}{since}"
        return
    note = _NOTES.get(event.status) or event.message
    yield f"{event.label}: {event.status}{f' ({note})' if note else ''}{since}"


def _interruption(event: Transitioned) -> str:
    """Return what an interruption is, the fact first."""
    parts = ["Interrupted"]
    if event.nth is not None:
        parts.append(f"({ordinal(event.nth)} time)")
    if event.trained is not None:
        parts.append(f"after {human(event.trained)} of training" if event.trained else "before it trained")
    own = "with the checkpoints that the script keeps itself"
    how = "from the newest checkpoint, if any" if event.keeps_checkpoints else own
    return f"{' '.join(parts)}: {_INTERRUPTED} {how}"


@lines.register
def _(event: CapacityAwaited) -> Iterable[str]:
    waited = human((event.at - event.since).total_seconds())
    yield f"{event.label}: waiting for capacity for {waited}{f' ({event.message})' if event.message else ''}"


@lines.register
def _(event: Paused) -> Iterable[str]:
    yield event.why


@lines.register
def _(event: ServiceErrorsRepeated) -> Iterable[str]:
    yield f"attempt {event.attempt}: SageMaker internal error, {event.errors} in a row. {explain(event.folder)}"


@lines.register
def _(event: ScriptProgressed) -> Iterable[str]:
    if event.is_news:
        yield f"{label_of(event.job_name)}: {event.found}"


@lines.register
def _(event: CheckpointsSeen) -> Iterable[str]:
    return ()  # that one was there, the end of a start tells


@lines.register
def _(event: StartEnded) -> Iterable[str]:
    found, label = event.found, label_of(event.job_name)
    what = f"{label}: start {found.start} trained {human(found.trained)}"
    if found.lost is None:
        yield f"{what}; lost training time unknown: the next start has already written checkpoints"
    elif found.newest is None:
        yield f"{what} and left no checkpoint; {human(found.lost)} of training lost"
    else:
        age = f"the newest checkpoint was {human(found.age or 0.0)} old at its end"
        yield f"{what}; {age}, {human(found.lost)} of training lost"


@lines.register
def _(event: CheckpointMissing) -> Iterable[str]:
    yield (
        f"{label_of(event.job_name)}: it has trained {human(event.found.trained)} and written no checkpoint to "
        f"{event.checkpoint_s3_uri}: an interruption now loses all of that. {HOW_TO_CHECKPOINT}"
    )


@lines.register
def _(event: CheckpointsNotSeen) -> Iterable[str]:
    yield (
        f"{label_of(event.job_name)}: cannot see its checkpoints ({event.found.problem}), nor what an "
        "interruption loses"
    )


@lines.register
def _(event: ProgressMissing) -> Iterable[str]:
    found = event.found
    yield (
        f"{label_of(event.job_name)}: {found.starts} starts in a row trained for longer than "
        f"{human(found.longer_than)} each and left nothing new in {event.checkpoint_s3_uri}"
    )


@lines.register
def _(event: TrainedLong) -> Iterable[str]:
    yield (
        f"The run's jobs have trained {human(event.training_seconds)} together, more than twice its max_run "
        f"({human(event.max_run)}), and none has completed. max_total_run bounds that"
    )


@lines.register
def _(event: JobStopped) -> Iterable[str]:
    if event.skip_reason is not None:
        yield f"Training job {event.job_name} was not stopped ({event.why}): {event.skip_reason}"
    else:
        kept = f"; its checkpoints are kept in {event.checkpoint_s3_uri}" if event.checkpoint_s3_uri else ""
        yield f"Stopped training job {event.job_name} ({event.why}){kept}"


@lines.register
def _(event: RunSucceeded) -> Iterable[str]:
    yield from map(attempt_line, event.attempts)
    yield totals_line(event.totals)


@lines.register
def _(event: RunFailed) -> Iterable[str]:
    yield f"The run ends here: {event.why}"
    yield from map(attempt_line, event.attempts[-ATTEMPTS_TOLD:])
    yield totals_line(event.totals)


#: Of a run that failed, the newest: each is a warning.
ATTEMPTS_TOLD = 10
#: What somebody may have to look into.
WARNINGS = (
    CreateRefused,
    ServiceErrorsRepeated,
    CheckpointMissing,
    ProgressMissing,
    TrainedLong,
    JobStopped,
    RunFailed,
)


#: Of a job that continues to one of these, somebody may want to know at a glance.
_WARNED = frozenset({"Interrupted", "Failed", *_NOTES})


def is_warning(event: Event) -> bool:
    """Return whether the log tells an event as a warning."""
    return isinstance(event, WARNINGS) or (isinstance(event, Transitioned) and event.status in _WARNED)


def label_of(job_name: str) -> str:
    """Return how people know a job in its own task's log: "attempt 2"; a job that is not of a run, by its name."""
    name = JobName.parse(job_name)
    if name is None:
        return job_name
    return f"{name.role.value} {name.number}" if name.role is not Role.ATTEMPT else f"attempt {name.number}"


def attempt_line(attempt: Attempt) -> str:
    """Return in one line how an attempt went."""
    where = attempt.rung or attempt.placement
    parts = [f"attempt {attempt.number} {attempt.job_name} on {where}: {attempt.label}"]
    if attempt.interruptions:
        parts.append(times(attempt.interruptions, "interruption"))
    if attempt.training_seconds:
        parts.append(f"trained {human(attempt.training_seconds)}, billed {human(attempt.billable_seconds)}")
    if attempt.failure_reason and attempt.outcome is not Outcome.SCRIPT_ERROR:
        parts.append(attempt.failure_reason)
    return "; ".join(parts)


def task_line(task: Mapping[str, Any]) -> str:
    """Return the name of a task instance, as :func:`~airflow_spot.core.marks.task_of` read it from a job."""
    mapped = f" [{task['map_index']}]" if task["map_index"] >= 0 else ""
    return f"{task['dag_id']} / {task['run_id']} / {task['task_id']}{mapped}"


def totals_line(totals: RunTotals) -> str:
    """Return in one line what a run came to."""
    parts = [
        f"{times(totals.attempts, 'attempt')}, {times(totals.interruptions, 'interruption')}",
        f"waited {human(totals.waited_seconds)}, trained {human(totals.training_seconds)}, "
        + (f"billed {human(totals.billable_seconds)}" if totals.billed else "not billed yet"),
    ]
    if totals.cost is not None:
        parts.append(f"cost {totals.cost}")
    if totals.saved is not None and totals.savings_percent is not None:
        parts.append(f"saved {totals.saved} ({totals.savings_percent} %) against on-demand")
    elif totals.savings_percent is not None:
        parts.append(f"{totals.savings_percent} % saved against on-demand")
    elif totals.spot_discount_percent is not None:
        parts.append(f"spot discount {totals.spot_discount_percent} %, seconds that were trained twice included")
    return "; ".join(parts)


def result_line(
    job_name: str,
    task_id: str,
    map_index: int,
    *,
    model: str = "model_artifacts",
    kept: bool = True,
    key: str | None = None,
) -> str:
    """
    Return which job completed, and how other tasks take its name and its model from the task's result.

    :param model: the key that says where its model is.
    :param kept: whether Airflow keeps the result, as ``do_xcom_push`` says.
    :param key: of the XCom that it is in; None for the task's result.
    """
    done = f"Training job {job_name} completed"
    if not kept:
        return f"{done}. do_xcom_push=False: no other task can take its name or its model from this task's result"
    member = f", map_indexes={map_index}" if map_index >= 0 else ""
    under = f", key={key!r}" if key is not None else ""
    pull = f"ti.xcom_pull(task_ids={task_id!r}{member}{under})"
    return (
        f"{done}. Other tasks take its name as {{{{ {pull}['Training']['TrainingJobName'] }}}}, its model as "
        f"{{{{ {pull}['Spot'][{model!r}] }}}}"
    )


def times(count: int, noun: str) -> str:
    """Return a count and its noun: "1 attempt", "2 attempts"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def ordinal(number: int) -> str:
    """Return a place in a row: "1st", "2nd", "11th"."""
    ends = {1: "st", 2: "nd", 3: "rd"}
    return f"{number}{'th' if number % 100 in (11, 12, 13) else ends.get(number % 10, 'th')}"


def clock(moment: datetime | None) -> str:
    """Return a moment for people, in UTC."""
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC") if moment else "an unknown time"
