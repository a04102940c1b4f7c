"""What a clear does where the training is no longer what it was: resume, train from scratch, or fail."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from airflow_spot.core.attempt import Attempt
from airflow_spot.core.log_messages import clock
from airflow_spot.core.marks import changed_fields
from airflow_spot.core.plan import Plan
from airflow_spot.core.roles import Role
from airflow_spot.core.try_marks import TryMark
from airflow_spot.errors import RequestError
from airflow_spot.observers import Log
from airflow_spot.runs.same_training import still_changed
from airflow_spot.runs.state import RunOptions

if TYPE_CHECKING:
    from airflow_spot.hooks.training import SageMakerSpotTrainingHook


def changed(hook: SageMakerSpotTrainingHook, plan: Plan, attempt: Attempt) -> str:
    """Name what is no longer as it was when an attempt was created; nothing where this worker cannot know."""
    if plan.incomplete or not attempt.fingerprint:
        return ""
    names = changed_fields(plan.fingerprint, attempt.fingerprint)
    return ", ".join(still_changed(hook, plan, attempt.job_name, names))


def earlier_result(attempt: Attempt, names: str) -> str:
    """
    Return in one line that a task's result is an earlier job's, and how to train from the beginning.

    :param names: what has changed since; empty where nothing has.
    """
    delivered = f", and was handed over by try {attempt.delivered_by.number}" if attempt.delivered_by else ""
    since = f" {names} changed since." if names else ""
    return (
        f"Nothing was trained in this try: the result is that of training job {attempt.job_name}, which completed at "
        f"{clock(attempt.ended)}{delivered}.{since} To train from the beginning, clear the task"
    )


def adopts(hook: SageMakerSpotTrainingHook, jobs: Sequence[Attempt], plan: Plan, this_try: TryMark) -> bool:
    """
    Return whether a completed job whose result nobody got is the result of a try that begins.

    A retry takes it whatever the configuration says by then: its templates may render again in each try. After a clear
    of a changed task it is a model of what the task no longer is, and the training resumes from its checkpoint.

    :param jobs: the run's, of its newest generation.
    """
    attempts = [job for job in jobs if job.role is Role.ATTEMPT]
    if not attempts:
        return True
    last = max(attempts, key=lambda attempt: (attempt.name.generation, attempt.number))
    cleared = last.created_by is not None and this_try.is_restart_since(last.created_by, last.ended)
    return not (cleared and changed(hook, plan, last))


def should_resume(
    hook: SageMakerSpotTrainingHook,
    jobs: Sequence[Attempt],
    plan: Plan,
    this_try: TryMark,
    options: RunOptions,
    log: Log,
) -> bool:
    """
    Return whether a try resumes what the run has.

    A mapped index may stand for other data after its map changed. Where ``map_index_template`` tells the two apart,
    another member trains from scratch; where it does not, a change of the training is taken for another member, unless
    ``on_config_change`` says otherwise.

    :param jobs: the run's, of its newest generation.
    :raises RequestError: the training changed, and ``on_config_change="fail"``.
    """
    attempts = [job for job in jobs if job.role is Role.ATTEMPT]
    if not options.resume or not attempts:
        return options.resume
    last = max(attempts, key=lambda attempt: (attempt.name.generation, attempt.number))
    if last.created_by is None or not this_try.is_restart_since(last.created_by, last.ended):
        return True
    if plan.member and last.member and plan.member != last.member:
        log.warning(
            "Map index %d stands for other data than in job %s; training from scratch",
            plan.run.map_index,
            last.job_name,
        )
        return False
    names = changed(hook, plan, last)
    if not names:
        return True
    return _resumes_changed(names, last, plan, options, log)


def _resumes_changed(names: str, last: Attempt, plan: Plan, options: RunOptions, log: Log) -> bool:
    kept = " from the checkpoint" if plan.checkpoint_base is not None else ""
    if options.on_config_change == "fail":
        raise RequestError(
            f"{names} changed since job {last.job_name} was created, and on_config_change is 'fail'. Nothing was "
            f"created. Undo the change, or clear the task with on_config_change='resume' (to resume{kept}) or "
            "'restart' (from scratch)"
        )
    if options.on_config_change == "restart":
        log.warning(
            "%s changed since job %s was created; training from scratch (on_config_change='restart')",
            names,
            last.job_name,
        )
        return False
    if options.on_config_change is None and plan.run.map_index >= 0 and not (plan.member and last.member):
        log.warning(
            "%s changed since job %s was created, so map index %d may stand for other data; training from scratch. Set "
            "map_index_template, or on_config_change='resume', to resume%s",
            names,
            last.job_name,
            plan.run.map_index,
            kept,
        )
        return False
    if not last.live:
        log.warning(
            "%s changed since job %s; resuming%s all the same (on_config_change='resume')",
            names,
            last.job_name,
            kept,
        )
    return True
