"""
SageMaker as a dictionary, behind the real hook: for what has to be driven step by step, thousands of times.

What SageMaker does is tested against Local SageMaker; here a test says what has happened, and looks at what was asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from types import SimpleNamespace
from typing import Any

from botocore.exceptions import ClientError

from airflow_spot.hooks.training import SageMakerSpotTrainingHook

ARN = "arn:aws:sagemaker:us-east-1:123456789012:training-job/"
#: What a line of the list tells of a job.
SUMMARY = (
    "TrainingJobName",
    "TrainingJobArn",
    "CreationTime",
    "TrainingEndTime",
    "LastModifiedTime",
    "TrainingJobStatus",
    "SecondaryStatus",
)


def error(code: str, message: str = "", operation: str = "Operation") -> ClientError:
    """An error as botocore raises it."""
    return ClientError({"Error": {"Code": code, "Message": message}}, operation)


class DictionarySageMaker:
    """
    The calls that the hook makes.

    :ivar unlisted: how many of the newest jobs no list shows yet.
    :ivar denied: the operations that are not permitted.
    :ivar page_size: jobs that a page of the list has at most, whatever is asked for.
    :ivar filters_late: names and times are looked at after a page of the list is cut, as public threads report.
    """

    meta = SimpleNamespace(endpoint_url="memory:")

    def __init__(self) -> None:
        self.jobs: dict[str, dict[str, Any]] = {}
        self.marks: dict[str, dict[str, str]] = {}
        self.calls: list[str] = []
        self.unlisted = 0
        self.denied: set[str] = set()
        self.page_size = 100
        self.filters_late = False
        self.clock: Callable[[], datetime] = lambda: datetime.now(timezone.utc)

    # ---- what a test does

    def put(self, name: str, status: str = "InProgress", secondary: str = "Training", **fields: Any) -> None:
        """Have a job, or change one."""
        job = self.jobs.setdefault(
            name,
            {
                "TrainingJobName": name,
                "TrainingJobArn": f"{ARN}{name}",
                "CreationTime": self.clock(),
                "SecondaryStatusTransitions": [],
                "EnableManagedSpotTraining": True,
            },
        )
        job.update(TrainingJobStatus=status, SecondaryStatus=secondary, LastModifiedTime=self.clock(), **fields)

    def passes(self, name: str, *statuses: str) -> None:
        """Have a job go through statuses."""
        job = self.jobs[name]
        for status in statuses:
            job["SecondaryStatusTransitions"].append({"Status": status, "StartTime": self.clock()})
            job["SecondaryStatus"] = status

    def live(self) -> list[str]:
        """The jobs that may train."""
        return [name for name, job in self.jobs.items() if job["TrainingJobStatus"] in ("InProgress", "Stopping")]

    def tags_of(self, name: str) -> dict[str, str]:
        """A job's tags."""
        return self.marks.get(f"{ARN}{name}", {})

    # ---- what boto3's client does

    def describe_training_job(self, TrainingJobName: str) -> dict[str, Any]:
        self._called("DescribeTrainingJob")
        if TrainingJobName not in self.jobs:
            raise error("ValidationException", "Requested resource not found.", "DescribeTrainingJob")
        job = self.jobs[TrainingJobName]
        return {**job, "SecondaryStatusTransitions": list(job["SecondaryStatusTransitions"])}

    def create_training_job(self, **request: Any) -> dict[str, str]:
        self._called("CreateTrainingJob")
        name = request["TrainingJobName"]
        if name in self.jobs:
            raise error("ResourceInUse", "Training job names must be unique", "CreateTrainingJob")
        tags = request.pop("Tags", [])
        if tags and "AddTags" in self.denied:
            raise error("AccessDeniedException", "not authorized to perform: sagemaker:AddTags", "CreateTrainingJob")
        self.put(name, secondary="Starting", **request)
        self.marks[f"{ARN}{name}"] = {tag["Key"]: tag["Value"] for tag in tags}
        return {"TrainingJobArn": f"{ARN}{name}"}

    def list_training_jobs(
        self, NameContains: str = "", CreationTimeAfter: datetime | None = None, MaxResults: int = 10, **asked: Any
    ) -> dict[str, Any]:
        self._called("ListTrainingJobs")
        listed = list(self.jobs.values())[: len(self.jobs) - self.unlisted]
        listed.sort(key=lambda job: job["CreationTime"], reverse=asked.get("SortOrder") == "Descending")

        def wanted(job: dict[str, Any]) -> bool:
            old = CreationTimeAfter is not None and job["CreationTime"] <= CreationTimeAfter
            return NameContains in job["TrainingJobName"] and not old

        lines = listed if self.filters_late else [job for job in listed if wanted(job)]
        begin = int(asked.get("NextToken") or 0)
        end = begin + min(MaxResults, self.page_size)
        status = asked.get("StatusEquals")  # left out after the page is cut, in any case
        page = [
            {field: job[field] for field in SUMMARY if job.get(field) is not None}
            for job in lines[begin:end]
            if wanted(job) and status in (None, job["TrainingJobStatus"])
        ]
        return {"TrainingJobSummaries": page, **({"NextToken": str(end)} if end < len(lines) else {})}

    def stop_training_job(self, TrainingJobName: str) -> None:
        self._called("StopTrainingJob")
        if self.jobs[TrainingJobName]["TrainingJobStatus"] != "InProgress":
            raise error("ValidationException", "The request was rejected: the job has ended.", "StopTrainingJob")
        self.put(TrainingJobName, "Stopping", "Stopping")

    def add_tags(self, ResourceArn: str, Tags: list[dict[str, str]]) -> None:
        self._called("AddTags")
        self.marks.setdefault(ResourceArn, {}).update({tag["Key"]: tag["Value"] for tag in Tags})

    def get_paginator(self, operation: str) -> Any:
        return _Pages(self, operation)

    def pages(self, operation: str, **asked: Any) -> Iterator[dict[str, Any]]:
        """One tag a page: whoever reads the first page only is found out."""
        assert operation == "list_tags"
        self._called("ListTags")
        for key, value in self.marks.get(asked["ResourceArn"], {}).items():
            yield {"Tags": [{"Key": key, "Value": value}]}
        yield {"Tags": []}

    def _called(self, operation: str) -> None:
        self.calls.append(operation)
        if operation in self.denied:
            raise error("AccessDeniedException", f"not authorized to perform sagemaker:{operation}", operation)


class _Pages:
    def __init__(self, service: DictionarySageMaker, operation: str) -> None:
        self._service = service
        self._operation = operation

    def paginate(self, **asked: Any) -> Iterator[dict[str, Any]]:
        return self._service.pages(self._operation, **asked)


class EmptyBucket:
    """S3 without an object."""

    def list_objects_v2(self, **_: Any) -> dict[str, Any]:
        """No page of a list has anything."""
        return {}

    def put_object(self, **_: Any) -> dict[str, Any]:
        """Keep nothing."""
        return {}

    def get_paginator(self, _: str) -> Any:
        """Pages, likewise."""
        return SimpleNamespace(paginate=lambda **__: iter([{}]))


class DictionaryHook(SageMakerSpotTrainingHook):
    """The real hook, on a dictionary."""

    def __init__(self, service: DictionarySageMaker) -> None:
        super().__init__(aws_conn_id=None, region_name="us-east-1")
        self.service = service
        # Without a folder to look at: a test that has one puts it in its place.
        self.s3_hook = SimpleNamespace(get_conn=EmptyBucket)  # type: ignore[assignment]

    @property
    def client(self) -> Any:
        """The dictionary."""
        return self.service

    @property
    def endpoint_url(self) -> str:
        """AWS's, as far as anybody asks."""
        return "https://api.sagemaker.us-east-1.amazonaws.com"

    def enable_retries(self, *_: Any, **__: Any) -> None:
        """Nothing: the dictionary answers at once, or is meant not to."""

    def get_client_type(self, *_: Any, **__: Any) -> Any:
        """The dictionary, for a signal handler too."""
        return self.service
