"""How a job is stopped, so that the stop reads as ours and as nothing else."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from airflow_spot.aws import jobs
from airflow_spot.aws.retrying import summarize_error
from airflow_spot.core.marks import TAG_OWNER, TAG_STOP, StopMark

#: Why a job was left alone that may still be about to be created.
NO_SUCH_JOB = "there is no such job"


def stop(hook: Any, job_name: str, mark: StopMark, *, owner: int | None, client: Any) -> str | None:
    """
    Stop a job. The mark comes first: after a crash in between, our stop must not read as a person's.

    Where the stop fails the mark is withdrawn again: a person's later stop must not read as ours either.

    :param owner: stop it only while it belongs to this try, if to any.
    :return: None, or why it was left alone.
    :raises ClientError: the job could not be stopped.
    :raises BotoCoreError: likewise.
    """
    description = jobs.find(client, job_name)
    if description is None:
        return NO_SUCH_JOB
    arn, status = description["TrainingJobArn"], description["TrainingJobStatus"]
    if status != "InProgress":
        return f"it is {status} already"
    theirs = hook.tags(arn, client).get(TAG_OWNER) if owner is not None else None
    if theirs not in (None, str(owner)):
        return f"it is owned by newer try {theirs}"
    hook.mark(arn, {TAG_STOP: str(mark)}, client)
    if owner is not None and (theirs := hook.tags(arn, client).get(TAG_OWNER)) not in (None, str(owner)):
        # It was taken over in between: the mark must not make a person's stop read as ours.
        hook.withdraw_stop(arn, mark.try_number, client)
        return f"it is owned by newer try {theirs}"
    try:
        client.stop_training_job(TrainingJobName=job_name)
    except (ClientError, BotoCoreError):
        if not _stops_all_the_same(hook, job_name, arn, mark, client):
            raise
    if owner is not None:
        # Once more: a successor that took the job over in between has taken the mark back.
        hook.mark(arn, {TAG_STOP: str(mark)}, client)
    return None


def _stops_all_the_same(hook: Any, job_name: str, arn: str, mark: StopMark, client: Any) -> bool:
    """Look after a stop that failed: a job that ended meanwhile is what was wanted."""
    try:
        if client.describe_training_job(TrainingJobName=job_name)["TrainingJobStatus"] != "InProgress":
            return True
        return bool(hook.revoke_stop_mark(job_name, arn, mark, mark.try_number, client))
    except (ClientError, BotoCoreError) as error:
        hook.log.warning(
            "Stopping training job %s failed and its stop tag could not be removed (%s); a later manual stop may be "
            "attributed to Airflow",
            job_name,
            summarize_error(error),
        )
        return False
