"""What a clear does where the training is no longer what it was: go on, train anew, or fail."""

from __future__ import annotations

from collections.abc import Sequence

from airflow_spot.core.history import Attempt
from airflow_spot.core.marks import TryMark, changed_fields
from airflow_spot.core.plan import Plan
from airflow_spot.errors import RequestError
from airflow_spot.runs.state import RunOptions
from airflow_spot.runs.stopping import Log


def changed(plan: Plan, attempt: Attempt) -> str:
    """Name what is no longer as it was when an attempt was created."""
    return ", ".join(changed_fields(plan.fingerprint, attempt.fingerprint) if attempt.fingerprint else [])


def should_resume(attempts: Sequence[Attempt], plan: Plan, this_try: TryMark, options: RunOptions, log: Log) -> bool:
    """
    Return whether a try resumes what the run has.

    :param attempts: the run's, of its newest generation.
    :raises RequestError: the training changed, and ``on_config_change="fail"``.
    """
    if not options.resume or not attempts:
        return options.resume
    last = max(attempts, key=lambda attempt: (attempt.name.generation, attempt.number))
    names = changed(plan, last)
    if not names or last.created_by is None or not this_try.is_restart_since(last.created_by, last.ended):
        return True
    if options.on_config_change == "fail":
        raise RequestError(
            f"{names} changed since job {last.job_name} was created, and on_config_change is 'fail'. Nothing was "
            "created. Undo the change, or clear the task with on_config_change='resume' (from the checkpoint) or "
            "'restart' (from scratch)"
        )
    if options.on_config_change == "restart":
        log.warning(
            "%s changed since job %s was created; training from scratch (on_config_change='restart')",
            names,
            last.job_name,
        )
        return False
    if not last.live:
        log.warning(
            "%s changed since job %s; resuming from its checkpoint (on_config_change='resume')", names, last.job_name
        )
    return True
