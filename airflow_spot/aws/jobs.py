"""Jobs of ours by a plain client: listed, read, told to stop. Needs no Airflow: the commands use it too."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError

from airflow_spot.core.identity import MARKER, JobName

#: What may still write: a job that is told to stop trains on for two minutes, and uploads.
LIVE_STATUSES = ("InProgress", "Stopping")


def listed(sagemaker: Any, name_contains: str = f"{MARKER}-", **filters: Any) -> list[str]:
    """
    Name jobs of ours, oldest first.

    :param name_contains: only those with this in their names, such as one run's.
    :param filters: more of ListTrainingJobs'.
    """
    pages = sagemaker.get_paginator("list_training_jobs").paginate(
        NameContains=name_contains, SortBy="CreationTime", SortOrder="Ascending", **filters
    )
    names = (str(job["TrainingJobName"]) for page in pages for job in page["TrainingJobSummaries"])
    return [name for name in names if JobName.parse(name)]


def live(sagemaker: Any, name_contains: str = f"{MARKER}-") -> list[str]:
    """Name the jobs of ours that may still train or write checkpoints; each once, though it moves between two lists."""
    names = (name for status in LIVE_STATUSES for name in listed(sagemaker, name_contains, StatusEquals=status))
    return list(dict.fromkeys(names))


def find(sagemaker: Any, job_name: str) -> dict[str, Any] | None:
    """Describe a training job; None where there is none of that name."""
    try:
        description: dict[str, Any] = sagemaker.describe_training_job(TrainingJobName=job_name)
    except ClientError as error:
        code, message = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
        if code == "ResourceNotFound" or (code == "ValidationException" and "not found" in message.lower()):
            return None
        raise
    return description


def checkpoint_folder(description: dict[str, Any]) -> str:
    """Return where a job keeps its checkpoints, as an S3 URI; empty where nowhere."""
    return str((description.get("CheckpointConfig") or {}).get("S3Uri") or "")


def stop(sagemaker: Any, job_name: str) -> None:
    """Stop a job; that it has ended meanwhile is what was wanted."""
    try:
        sagemaker.stop_training_job(TrainingJobName=job_name)
    except ClientError:
        if sagemaker.describe_training_job(TrainingJobName=job_name)["TrainingJobStatus"] == "InProgress":
            raise
