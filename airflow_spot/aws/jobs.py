"""Jobs of ours by a plain client: listed, read, told to stop. Needs no Airflow: the commands use it too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError, PaginationError

from airflow_spot.core.identity import MARKER, JobName
from airflow_spot.core.job_window import live_since
from airflow_spot.core.outcomes import ENDED_STATUSES

#: The most that SageMaker gives; by itself it gives ten.
PAGE_SIZE = 100


def summaries(
    sagemaker: Any, name_contains: str = f"{MARKER}-", since: datetime | None = None
) -> Iterator[Mapping[str, Any]]:
    """
    List jobs of ours as ListTrainingJobs sums them up: newest first, each once, whatever its status.

    No status is asked for: SageMaker leaves the others out after it has cut the page, so that each status would cost
    as many calls as all of them. Public threads report the same of NameContains: then the pages behind the oldest job
    of interest come empty, and nothing tells where that is. So where a page came short the list is read without
    filters, whose lines say how old they are.

    :param name_contains: only those with this in their names, such as one run's.
    :param since: only those that were created since; None for all.
    """
    order: dict[str, Any] = {"SortBy": "CreationTime", "SortOrder": "Descending", "MaxResults": PAGE_SIZE}
    filters: dict[str, Any] = {"NameContains": name_contains}
    if since is not None:
        filters["CreationTimeAfter"] = since
    seen: set[str] = set()
    token: str | None = None
    while True:
        asked = {"NextToken": token} if token else {}
        page = sagemaker.list_training_jobs(**order, **filters, **asked)
        lines = page["TrainingJobSummaries"]
        for line in lines:
            name = str(line["TrainingJobName"])
            if name in seen or name_contains not in name or JobName.parse(name) is None or _is_older(line, since):
                continue
            seen.add(name)
            yield line
        before, token = token, page.get("NextToken")
        if not token or (lines and _is_older(lines[-1], since)):
            return
        if token == before:
            raise PaginationError(message="ListTrainingJobs returned the same NextToken twice")
        if since is not None and filters and len(lines) < PAGE_SIZE:
            filters, token = {}, None


def _is_older(line: Mapping[str, Any], since: datetime | None) -> bool:
    return since is not None and line["CreationTime"] < since


def listed(sagemaker: Any, name_contains: str = f"{MARKER}-", since: datetime | None = None) -> list[str]:
    """Name jobs of ours, oldest first; the parameters are those of :func:`summaries`."""
    return [str(line["TrainingJobName"]) for line in summaries(sagemaker, name_contains, since)][::-1]


def live(sagemaker: Any, now: datetime, name_contains: str = f"{MARKER}-") -> list[str]:
    """Name the jobs of ours that may still write: one that is told to stop still trains, and uploads. Oldest first."""
    lines = summaries(sagemaker, name_contains, live_since(now))
    return [str(line["TrainingJobName"]) for line in lines if line["TrainingJobStatus"] not in ENDED_STATUSES][::-1]


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
