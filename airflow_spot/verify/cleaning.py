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


def end_jobs(sagemaker: Any, names: Iterable[str], poll: float, timeout: float) -> list[str]:
    """
    Stop jobs, and wait until they have ended: one that is stopping still uploads into its folder.

    :param poll: seconds between two looks, as ``timeout`` is in seconds.
    :return: those that have not ended, or could not be asked about.
    """
    left = list(names)
    deadline = time.monotonic() + timeout
    while left:
        left = [name for name in left if not _has_ended(sagemaker, name)]
        if not left or time.monotonic() > deadline:
            break
        time.sleep(poll)
    return left


def _has_ended(sagemaker: Any, name: str) -> bool:
    try:
        job = jobs.find(sagemaker, name)
        if job is None or job["TrainingJobStatus"] in ENDED_STATUSES:
            return True
        if job["TrainingJobStatus"] == "InProgress":
            jobs.stop(sagemaker, name)
    except CALL_ERRORS:
        pass
    return False


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
        tell(f"{len(left)} jobs have not ended yet, so that the folder stays: {', '.join(left)}. Run --clean again")
        return False
    deleted = delete(s3, f"s3://{bucket}/{FOLDER}")
    tell(f"{len(names)} jobs stopped, {deleted} objects deleted")
    return True
