"""Ends jobs of experiments and deletes their folders."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from airflow_spot.aws import jobs
from airflow_spot.aws.checkpoint_store import delete
from airflow_spot.core.outcomes import ENDED_STATUSES
from airflow_spot.verify.scratch import CALL_ERRORS, FOLDER, NAME_PREFIX, TAG

#: No job of an experiment lives as long: its MaxWaitTimeInSeconds is hours at most.
_LOOK_BACK = timedelta(days=2)


def stop_quietly(sagemaker: Any, job_name: str) -> None:
    """Stop a job if it is there and runs; what goes wrong is seen by :func:`end_jobs`."""
    with suppress(*CALL_ERRORS):
        job = jobs.find(sagemaker, job_name)
        if job is not None and job["TrainingJobStatus"] == "InProgress":
            jobs.stop(sagemaker, job_name)


def end_jobs(sagemaker: Any, names: Iterable[str], poll: float, timeout: float) -> dict[str, str]:
    """
    Stop jobs, and wait until they have ended: one that is stopping still uploads into its folder.

    :param poll: seconds between two looks, as ``timeout`` is in seconds.
    :return: those that have not ended, by their status, or by why they could not be asked about or stopped.
    """
    left = dict.fromkeys(names, "")
    deadline = time.monotonic() + timeout
    while left:
        left = {name: status for name in left if (status := _status_until_ended(sagemaker, name)) is not None}
        if not left or time.monotonic() > deadline:
            break
        time.sleep(poll)
    return left


def _status_until_ended(sagemaker: Any, name: str) -> str | None:
    """Return a job's status, and stop it; None once it has ended, or was never there."""
    try:
        job = jobs.find(sagemaker, name)
        if job is None or job["TrainingJobStatus"] in ENDED_STATUSES:
            return None
        if job["TrainingJobStatus"] == "InProgress":
            jobs.stop(sagemaker, name)
        return str(job["TrainingJobStatus"])
    except CALL_ERRORS as error:
        return str(error)


def live_jobs(sagemaker: Any, now: datetime) -> Iterator[str]:
    """Name the live jobs of experiments, of whichever run: by their name and their tag."""
    asked: dict[str, Any] = {"NameContains": NAME_PREFIX, "CreationTimeAfter": now - _LOOK_BACK, "MaxResults": 100}
    for page in sagemaker.get_paginator("list_training_jobs").paginate(**asked):
        for line in page["TrainingJobSummaries"]:
            name = str(line["TrainingJobName"])
            if line["TrainingJobStatus"] in ENDED_STATUSES or not name.startswith(NAME_PREFIX):
                continue
            pages = sagemaker.get_paginator("list_tags").paginate(ResourceArn=line["TrainingJobArn"])
            if any(tag["Key"] == TAG for found in pages for tag in found["Tags"]):
                yield name


def clean(
    sagemaker: Any, s3: Any, bucket: str, now: datetime, poll: float, timeout: float, tell: Callable[[str], None]
) -> bool:
    """
    End all jobs of experiments, and delete all their folders in a bucket.

    :return: whether nothing is left.
    """
    names = list(live_jobs(sagemaker, now))
    for name in names:
        tell(f"stopping {name}")
    left = end_jobs(sagemaker, names, poll, timeout)
    if left:
        # Its last upload would be left behind.
        tell("\n".join(f"{name} has not ended: {status}" for name, status in left.items()))
        tell("The folder stays, since these may still upload into it. Run --clean again")
        return False
    deleted = delete(s3, f"s3://{bucket}/{FOLDER}")
    tell(f"{len(names)} jobs stopped, {deleted} objects deleted")
    return True
