"""The story of a run, as lines for the task's log."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from airflow_spot.core.durations import human
from airflow_spot.core.history import Attempt, History
from airflow_spot.core.outcomes import Outcome
from airflow_spot.core.savings import savings_percent

_NOTES = {
    "Interrupted": "SageMaker took the spot instance back; it restarts the job from the newest checkpoint",
    "MaxWaitTimeExceeded": "no spot capacity within max_wait",
    "MaxRuntimeExceeded": "max_run is used up",
}


def transition_line(job_name: str, transition: Mapping[str, Any]) -> str:
    """Tell one transition of a job, with its time in UTC."""
    status = str(transition.get("Status"))
    note = _NOTES.get(status) or str(transition.get("StatusMessage") or "").strip()
    return f"{_clock(transition.get('StartTime'))} {job_name}: {status}{f' ({note})' if note else ''}"


def transition_lines(job_name: str, transitions: Sequence[Mapping[str, Any]], seen: int = 0) -> list[str]:
    """Tell the transitions after the first ``seen``."""
    return [transition_line(job_name, transition) for transition in transitions[seen:]]


def attempt_line(attempt: Attempt) -> str:
    """Tell in one line how an attempt went."""
    where = attempt.rung or attempt.placement
    parts = [f"attempt {attempt.number} {attempt.job_name} on {where}: {attempt.label}"]
    if attempt.interruptions:
        parts.append(_times(attempt.interruptions, "interruption"))
    if attempt.training_seconds:
        parts.append(f"trained {human(attempt.training_seconds)}, billed {human(attempt.billable_seconds)}")
    if attempt.failure_reason and attempt.outcome is not Outcome.SCRIPT_ERROR:
        parts.append(attempt.failure_reason)
    return "; ".join(parts)


def task_line(task: Mapping[str, Any]) -> str:
    """Name a task instance, as :func:`~airflow_spot.core.marks.task_of` read it from a job."""
    mapped = f" [{task['map_index']}]" if task["map_index"] >= 0 else ""
    return f"{task['dag_id']} / {task['run_id']} / {task['task_id']}{mapped}"


def closing_lines(history: History) -> Iterable[str]:
    """Tell what a finished run came to."""
    for attempt in history.attempts:
        yield attempt_line(attempt)
    training = sum(attempt.training_seconds for attempt in history.attempts)
    billable = sum(attempt.billable_seconds for attempt in history.attempts)
    saved = savings_percent(training, billable)
    interruptions = sum(attempt.interruptions for attempt in history.attempts)
    yield (
        f"{_times(len(history.attempts), 'attempt')}, {_times(interruptions, 'interruption')}; "
        f"trained {human(training)}, billed {human(billable)}"
        + (f": {saved} % saved against on-demand" if saved is not None else "")
    )


def _times(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _clock(moment: Any) -> str:
    if not isinstance(moment, datetime):
        return "--:--:--"
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%d %H:%M:%S")
