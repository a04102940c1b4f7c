"""Stops that a person asks for: for good, or for the run to continue. Needs no Airflow: commands and pages share it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from airflow_spot.aws import jobs, marks
from airflow_spot.aws.marks import Marks
from airflow_spot.core.attempt import Attempt
from airflow_spot.core.identity import name_filter
from airflow_spot.core.marks import TAG_REQUEST, TAG_STOP, RequestMark, StopMark
from airflow_spot.core.stop_reasons import StopReason

ON_DEMAND = "on-demand"
#: In place of a request that is taken back; it reads as none.
_WITHDRAWN = "withdrawn"


class CannotMarkError(Exception):
    """A job cannot be tagged, without which the stop reads as one for good."""


def live_attempts(sagemaker: Any, key: str, now: datetime) -> list[Attempt]:
    """Return the jobs of a run that are live, oldest first."""
    names = jobs.live(sagemaker, now, name_filter(key))
    return [attempt for name in names if (attempt := marks.read(sagemaker, name)[0]).live]


def stop_for_good(sagemaker: Any, attempt: Attempt) -> None:
    """Stop a job as a person does in the console: the task that waits for it fails, and its checkpoints stay."""
    if attempt.stop is not None and not attempt.stop.withdrawn:
        # Of a stop that never came: with it, this one would read as ours, and the run would continue.
        Marks(lambda: sagemaker).withdraw_stop(attempt.arn, attempt.owner or 0)
    jobs.stop(sagemaker, attempt.job_name)


def stop_to_go_on(sagemaker: Any, attempt: Attempt, request: str | None = None) -> None:
    """
    Stop a job so that the task that waits for it continues with the next attempt, from the checkpoint.

    The tags come first, in one call: a task that looks in between must not take it for a stop for good, nor miss what
    is asked. Where the stop fails they are taken back: a person's later stop must not read as this one.

    :param request: such as :data:`ON_DEMAND`; None for whatever the policy chooses.
    :raises CannotMarkError: tags may not be set; nothing was stopped.
    :raises ClientError: the job could not be stopped.
    :raises BotoCoreError: likewise.
    """
    marks_ = Marks(lambda: sagemaker)
    mark = StopMark(StopReason.CLI if request is None else StopReason.REQUEST, attempt.owner or 0)
    tags = {TAG_STOP: str(mark)}
    if request is not None:
        tags[TAG_REQUEST] = str(RequestMark(request, attempt.number))
    if not marks_.set(attempt.arn, tags):
        raise CannotMarkError("sagemaker:AddTags is needed: without its tag the stop reads as a manual one")
    try:
        jobs.stop(sagemaker, attempt.job_name)
    except (ClientError, BotoCoreError):
        if not _came(marks_, attempt, mark, tags):
            raise


def _came(marks_: Marks, attempt: Attempt, mark: StopMark, tags: Mapping[str, str]) -> bool:
    """Look after a stop that failed: its answer may be all that was lost. Else its tags are taken back."""
    try:
        if TAG_REQUEST in tags:
            marks_.set(attempt.arn, {TAG_REQUEST: _WITHDRAWN})
        if not marks_.revoke_stop(attempt.job_name, attempt.arn, mark, mark.try_number):
            return False
        marks_.set(attempt.arn, tags)
    except (ClientError, BotoCoreError):
        return False
    return True
