"""The List operations of processing and transform jobs, models, endpoint configurations and endpoints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic

from airflow_spot.local.api.call import Call
from airflow_spot.local.api.pagination import in_order, select
from airflow_spot.local.backend import Backend, Operations
from airflow_spot.local.hosting.endpoint import ENDPOINTS
from airflow_spot.local.hosting.model_packages import MODEL_PACKAGE_GROUPS
from airflow_spot.local.hosting.models import ENDPOINT_CONFIGS, MODELS
from airflow_spot.local.processing.job import PROCESSING_JOBS
from airflow_spot.local.storage.store import Kind, R
from airflow_spot.local.transform.job import TRANSFORM_JOBS, TransformJob

Description = dict[str, Any]


@dataclass(frozen=True)
class Listing(Generic[R]):
    """One List operation. A summary has Name, Arn, Status and CreationTime of the description, and what is given here.

    :param answer: the member that holds the summaries.
    :param more: further members of a summary; those that a description has not are left out.
    :param describe: what the summaries are taken from, given an item and the service time; default: its description.
    """

    kind: Kind[R]
    answer: str
    more: tuple[str, ...] = ()
    describe: Callable[[R, float], Description] | None = None

    def __call__(self, backend: Backend, call: Call) -> dict[str, Any]:
        """Answer with one page."""
        now = backend.clock.now()
        items = backend.store.table(self.kind).list(call.region)
        described = [item.describe(now) if self.describe is None else self.describe(item, now) for item in items]
        members = (*(self._member(name) for name in ("Name", "Arn", "Status")), "CreationTime", *self.more)
        lines = [{name: value for name, value in line.items() if name in members} for line in described]
        shown, token = in_order(select(lines, call.params, self._fields), call, self._fields)
        return {self.answer: shown, **token}

    def _member(self, name: str) -> str:
        return f"{self.kind.member_prefix}{name}"

    def _fields(self, line: Description) -> Description:
        return {
            "Name": line[self._member("Name")],
            "Status": line.get(self._member("Status")),
            "CreationTime": line["CreationTime"],
            "LastModifiedTime": line.get("LastModifiedTime", line["CreationTime"]),
        }


OPERATIONS: Operations = {
    "ListProcessingJobs": Listing(
        PROCESSING_JOBS,
        "ProcessingJobSummaries",
        ("LastModifiedTime", "ProcessingEndTime", "FailureReason", "ExitMessage"),
    ),
    "ListTransformJobs": Listing(
        TRANSFORM_JOBS,
        "TransformJobSummaries",
        ("LastModifiedTime", "TransformEndTime", "FailureReason"),
        TransformJob.summary,
    ),
    "ListModelPackageGroups": Listing(
        MODEL_PACKAGE_GROUPS, "ModelPackageGroupSummaryList", ("ModelPackageGroupDescription",)
    ),
    "ListModels": Listing(MODELS, "Models"),
    "ListEndpointConfigs": Listing(ENDPOINT_CONFIGS, "EndpointConfigs"),
    "ListEndpoints": Listing(ENDPOINTS, "Endpoints", ("LastModifiedTime",)),
}
