"""An endpoint as SageMaker describes it, with the fleets that serve it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from airflow_spot.local.errors import ServiceError
from airflow_spot.local.hosting.fleet import Fleet, Variant
from airflow_spot.local.hosting.models import EndpointConfig
from airflow_spot.local.settings import ACCOUNT
from airflow_spot.local.storage.store import Kind

IN_PROGRESS = ("Creating", "Updating", "Deleting")
SERVING = ("InService", "Updating")
_EVENT_STATUS = {"InService": "IN_SERVICE"}


@dataclass
class Deployment:
    """A fleet that is coming up.

    :param settings: the request's DeploymentConfig, if it has one.
    """

    fleet: Fleet
    started: float
    settings: dict[str, Any] | None = None

    def describe(self) -> dict[str, Any]:
        """Return PendingDeploymentSummary."""
        variants = [
            variant.pending(self.started, "Creating", f"Launching {variant.count} instance(s).")
            for variant in self.fleet.variants
        ]
        return {
            "EndpointConfigName": self.fleet.config.name,
            "ProductionVariants": variants,
            "StartTime": self.started,
        }


@dataclass
class Endpoint:
    """One endpoint.

    :ivar status: Creating, InService, Updating, Failed or Deleting.
    :ivar fleet: that gets the requests; None before one is in service, and after it has failed.
    :ivar pending: a deployment that is under way.
    :ivar fleets: how many it has had.
    :ivar lock: held while several of these are read or changed.
    :ivar deleted: set to have its processes ended.
    :ivar wake: set when its thread has something to look at.
    """

    region: str
    name: str
    config: EndpointConfig
    creation_time: float
    last_modified: float
    status: str = "Creating"
    failure_reason: str | None = None
    fleet: Fleet | None = None
    pending: Deployment | None = None
    deployed: dict[str, Any] | None = None
    fleets: int = 0
    lock: threading.RLock = field(default_factory=threading.RLock)
    deleted: threading.Event = field(default_factory=threading.Event)
    wake: threading.Event = field(default_factory=threading.Event)

    @property
    def arn(self) -> str:
        return ENDPOINTS.arn(self.region, self.name)

    def describe(self, now: float) -> dict[str, Any]:
        """Return the answer of DescribeEndpoint; while it is updated, it shows the fleet that is in service."""
        with self.lock:
            answer: dict[str, Any] = {
                "EndpointName": self.name,
                "EndpointArn": self.arn,
                "EndpointConfigName": self.config.name,
                "EndpointStatus": self.status,
                "CreationTime": self.creation_time,
                "LastModifiedTime": self.last_modified,
            }
            if self.fleet is not None and self.status in SERVING:
                answer["ProductionVariants"] = [each.summary(self.creation_time) for each in self.fleet.variants]
            if self.pending is not None and self.status in IN_PROGRESS:
                answer["PendingDeploymentSummary"] = self.pending.describe()
            if self.deployed is not None:
                answer["LastDeploymentConfig"] = self.deployed
            if self.failure_reason is not None:
                answer["FailureReason"] = self.failure_reason
            return answer

    def event(self, now: float) -> dict[str, Any]:
        """Return the detail of its event, which has the status in capitals [D]."""
        answer = self.describe(now)
        status = answer["EndpointStatus"]
        return {**answer, "EndpointStatus": _EVENT_STATUS.get(status, status.upper())}

    @contextmanager
    def request(self, target: str | None) -> Iterator[Variant]:
        """Yield the variant that answers one request, whose process is there until the block is left.

        :param target: the variant that the request asks for, if it does.
        :raises ServiceError: ValidationError if the endpoint is not in service, or has no such variant.
        """
        with self.lock:
            fleet = self.fleet
            if fleet is None or self.status not in SERVING:
                raise ServiceError("ValidationError", f"Endpoint {self.name} of account {ACCOUNT} not found.")
            variant = fleet.take(target)
        try:
            yield variant
        finally:
            fleet.give_back(variant)


ENDPOINTS = Kind[Endpoint]("endpoint", "Endpoint")
