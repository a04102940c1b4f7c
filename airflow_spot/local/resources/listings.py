"""The List operations of processing and transform jobs, models, endpoint configurations and endpoints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from airflow_spot.local.api.call import Call
from airflow_spot.local.api.pagination import in_order, select
from airflow_spot.local.backend import Backend, Operations
from airflow_spot.local.storage.store import Table

Description = dict[str, Any]


@dataclass(frozen=True)
class Listing:
    """One List operation.

    :param kind: the word in the members' names: ``Endpoint`` of EndpointName, EndpointArn, EndpointStatus.
    :param answer: the member that holds the summaries.
    :param members: of a description, those that are in its summary; absent ones are left out.
    :param describe: gives an item's description.
    """

    kind: str
    answer: str
    members: tuple[str, ...]
    table: Callable[[Backend], Table[Any]]
    describe: Callable[[Any], Description]

    def __call__(self, backend: Backend, call: Call) -> dict[str, Any]:
        """Answer with one page."""
        described = [self.describe(item) for item in self.table(backend).list(call.region)]
        lines = [{name: value for name, value in line.items() if name in self.members} for line in described]
        items, token = in_order(select(lines, call.params, self._fields), call, self._fields)
        return {self.answer: items, **token}

    def _fields(self, line: Description) -> Description:
        return {
            "Name": line[f"{self.kind}Name"],
            "Status": line.get(f"{self.kind}Status"),
            "CreationTime": line["CreationTime"],
            "LastModifiedTime": line.get("LastModifiedTime", line["CreationTime"]),
        }


def _members(kind: str, *more: str) -> tuple[str, ...]:
    return (f"{kind}Name", f"{kind}Arn", "CreationTime", *more)


def _resource(kind: str) -> Callable[[Any], Description]:
    return lambda made: {f"{kind}Name": made.name, f"{kind}Arn": made.arn, "CreationTime": made.creation_time}


OPERATIONS: Operations = {
    "ListProcessingJobs": Listing(
        "ProcessingJob",
        "ProcessingJobSummaries",
        _members(
            "ProcessingJob",
            "ProcessingJobStatus",
            "LastModifiedTime",
            "ProcessingEndTime",
            "FailureReason",
            "ExitMessage",
        ),
        lambda backend: backend.store.processing_jobs,
        lambda job: job.describe(),
    ),
    "ListTransformJobs": Listing(
        "TransformJob",
        "TransformJobSummaries",
        _members("TransformJob", "TransformJobStatus", "LastModifiedTime", "TransformEndTime", "FailureReason"),
        lambda backend: backend.store.transform_jobs,
        lambda job: job.summary(),
    ),
    "ListModels": Listing(
        "Model", "Models", _members("Model"), lambda backend: backend.store.models, _resource("Model")
    ),
    "ListEndpointConfigs": Listing(
        "EndpointConfig",
        "EndpointConfigs",
        _members("EndpointConfig"),
        lambda backend: backend.store.endpoint_configs,
        _resource("EndpointConfig"),
    ),
    "ListEndpoints": Listing(
        "Endpoint",
        "Endpoints",
        _members("Endpoint", "EndpointStatus", "LastModifiedTime"),
        lambda backend: backend.store.endpoints,
        lambda endpoint: endpoint.describe(),
    ),
}
