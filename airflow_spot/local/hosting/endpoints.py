"""Endpoints: a fleet of serving processes each, in service once all answer /ping, and replaced by an update."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from airflow_spot.local.api.call import Call
from airflow_spot.local.api.tagging import to_dict
from airflow_spot.local.aws.events import ENDPOINT
from airflow_spot.local.backend import Backend, Operations
from airflow_spot.local.container.helpers import join_all
from airflow_spot.local.errors import JobError, ServiceError, validation
from airflow_spot.local.hosting import models
from airflow_spot.local.hosting.fleet import Fleet, Variant
from airflow_spot.local.settings import ACCOUNT
from airflow_spot.local.state_changes import entered
from airflow_spot.local.storage.store import arn

log = logging.getLogger(__name__)

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
        """PendingDeploymentSummary."""
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
    :ivar lock: held by whoever reads or changes several of these.
    :ivar deleted: set to have its processes ended.
    :ivar wake: set when its thread has something to look at.
    """

    region: str
    name: str
    config: models.Resource
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
    thread: threading.Thread | None = None

    @property
    def arn(self) -> str:
        return arn(self.region, "endpoint", self.name)

    def describe(self) -> dict[str, Any]:
        """The answer of DescribeEndpoint. While it is updated, it is that of the fleet in service."""
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

    def event(self) -> dict[str, Any]:
        """The detail of its event, which has the status in capitals [D]."""
        answer = self.describe()
        status = answer["EndpointStatus"]
        return {**answer, "EndpointStatus": _EVENT_STATUS.get(status, status.upper())}

    @contextmanager
    def request(self, target: str | None) -> Iterator[Variant]:
        """Give the variant that answers one request, whose process is there until the block is left.

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


class Hosting:
    """The life of one endpoint, on a thread of its own."""

    def __init__(self, backend: Backend, endpoint: Endpoint) -> None:
        self._backend = backend
        self._endpoint = endpoint

    def __call__(self) -> None:
        """Bring the endpoint into service, keep it there until it is deleted, and clear up."""
        endpoint = self._endpoint
        try:
            self._hold()
        except JobError as error:
            enter(self._backend, endpoint, "Failed", str(error))
        except Exception as error:
            log.exception("endpoint %s", endpoint.name)
            enter(self._backend, endpoint, "Failed", f"InternalServerError: {type(error).__name__}: {error}")
        finally:
            with endpoint.lock:
                fleet, endpoint.fleet = endpoint.fleet, None
                pending, endpoint.pending = endpoint.pending, None
            if pending is not None:
                pending.fleet.close()
            if fleet is not None:
                fleet.close()
        # A failed endpoint stays, without a process, until it is deleted.
        endpoint.deleted.wait()
        self._backend.store.tags.pop(endpoint.arn, None)
        self._backend.store.endpoints.pop(endpoint.region, endpoint.name)

    def _hold(self) -> None:
        """Deploy what is pending, until the endpoint is deleted.

        :raises JobError: if its first fleet fails.
        """
        endpoint = self._endpoint
        while not endpoint.deleted.is_set():
            if endpoint.pending is not None:
                self._deploy(endpoint.pending)
            else:
                endpoint.wake.wait()
                endpoint.wake.clear()

    def _deploy(self, pending: Deployment) -> None:
        """Bring a fleet up, give it the requests, then end the one before it.

        :raises JobError: if it fails and there is none before it; else that one stays in service [D].
        """
        endpoint, old = self._endpoint, self._endpoint.fleet
        try:
            if not pending.fleet.launch(endpoint.deleted):
                return
        except JobError as error:
            if old is None:
                raise
            pending.fleet.close()
            with endpoint.lock:
                endpoint.pending = None
                enter(self._backend, endpoint, "InService", str(error))
            return
        with endpoint.lock:
            endpoint.fleet = pending.fleet
        if old is not None:
            old.drain()
            old.close()
        with endpoint.lock:
            endpoint.config, endpoint.pending = pending.fleet.config, None
            endpoint.deployed = pending.settings or endpoint.deployed
            enter(self._backend, endpoint, "InService")


def enter(backend: Backend, endpoint: Endpoint, status: str, reason: str | None = None) -> None:
    """Change an endpoint's status, unless it is being deleted."""
    with endpoint.lock:
        if endpoint.status == "Deleting":
            return
        endpoint.status, endpoint.failure_reason = status, reason
        endpoint.last_modified = backend.clock.now()
        entered(backend, endpoint, ("endpoint", ENDPOINT), endpoint.event, status, reason)


def _deployment(backend: Backend, call: Call, endpoint: Endpoint, config: models.Resource) -> Deployment:
    """A fleet of a configuration for an endpoint. Nothing runs yet.

    :raises ServiceError: ValidationException, if a model is gone or Local SageMaker cannot deploy so.
    """
    settings = call.params.get("DeploymentConfig")
    _check_deployment(settings or {})
    found = [models.find(backend.store.models, call.region, each["ModelName"]) for each in config.variants]
    endpoint.fleets += 1
    return Deployment(Fleet(backend, endpoint.name, config, found, endpoint.fleets), backend.clock.now(), settings)


def _check_deployment(settings: dict[str, Any]) -> None:
    routing = (
        settings.get("BlueGreenUpdatePolicy", {}).get("TrafficRoutingConfiguration", {}).get("Type", "ALL_AT_ONCE")
    )
    if "RollingUpdatePolicy" in settings or routing != "ALL_AT_ONCE":
        raise validation(
            "DeploymentConfig: Local SageMaker deploys ALL_AT_ONCE; canary, linear and rolling deployments are not "
            "implemented"
        )
    if settings.get("AutoRollbackConfiguration", {}).get("Alarms"):
        raise validation("DeploymentConfig.AutoRollbackConfiguration: Local SageMaker watches no alarms")


def create_endpoint(backend: Backend, call: Call) -> dict[str, Any]:
    config = models.find(backend.store.endpoint_configs, call.region, call.params["EndpointConfigName"])
    tags = to_dict(call.params.get("Tags", []))
    now = backend.clock.now()
    endpoint = Endpoint(call.region, call.params["EndpointName"], config, now, now)
    endpoint.pending = _deployment(backend, call, endpoint, config)
    models.take_name(backend.store.endpoints, call.region, endpoint.name, endpoint)
    if tags:
        backend.store.tags[endpoint.arn] = tags
    enter(backend, endpoint, "Creating")
    endpoint.thread = threading.Thread(target=Hosting(backend, endpoint), name=f"endpoint-{endpoint.name}", daemon=True)
    endpoint.thread.start()
    return {"EndpointArn": endpoint.arn}


def describe_endpoint(backend: Backend, call: Call) -> dict[str, Any]:
    endpoint = models.find(backend.store.endpoints, call.region, call.params["EndpointName"])
    described: dict[str, Any] = endpoint.describe()
    return described


def update_endpoint(backend: Backend, call: Call) -> dict[str, Any]:
    endpoint = models.find(backend.store.endpoints, call.region, call.params["EndpointName"])
    config = models.find(backend.store.endpoint_configs, call.region, call.params["EndpointConfigName"])
    with endpoint.lock:
        fleet = _fleet_in_service(endpoint)
        pending = _deployment(backend, call, endpoint, config)
        if call.params.get("RetainAllVariantProperties"):
            excluded = call.params.get("ExcludeRetainedVariantProperties", [])
            names = {item["VariantPropertyType"] for item in excluded}
            weights, counts = "DesiredWeight" not in names, "DesiredInstanceCount" not in names
            pending.fleet.retain(fleet, weights=weights, counts=counts)
        if call.params.get("RetainDeploymentConfig"):
            pending.settings = endpoint.deployed
        endpoint.pending = pending
        enter(backend, endpoint, "Updating")
    endpoint.wake.set()
    return {"EndpointArn": endpoint.arn}


def update_weights(backend: Backend, call: Call) -> dict[str, Any]:
    """Updating, and at once InService again: nothing has to come up [A for the time]."""
    endpoint = models.find(backend.store.endpoints, call.region, call.params["EndpointName"])
    with endpoint.lock:
        fleet = _fleet_in_service(endpoint)
        fleet.change(call.params["DesiredWeightsAndCapacities"])
        enter(backend, endpoint, "Updating")
        enter(backend, endpoint, "InService")
    return {"EndpointArn": endpoint.arn}


def _fleet_in_service(endpoint: Endpoint) -> Fleet:
    """What an update starts from.

    :raises ServiceError: ValidationException: only an endpoint in service can be updated [D].
    """
    _refuse(endpoint, IN_PROGRESS)
    if endpoint.fleet is None:
        raise validation(f'Cannot update endpoint "{endpoint.arn}": it is {endpoint.status}, and can only be deleted.')
    return endpoint.fleet


def _refuse(endpoint: Endpoint, statuses: tuple[str, ...]) -> None:
    if endpoint.status in statuses:
        raise validation(f'Cannot update in-progress endpoint "{endpoint.arn}".')


def delete_endpoint(backend: Backend, call: Call) -> dict[str, Any]:
    endpoint = models.find(backend.store.endpoints, call.region, call.params["EndpointName"])
    with endpoint.lock:
        _refuse(endpoint, ("Creating", "Updating"))
        enter(backend, endpoint, "Deleting")
    endpoint.deleted.set()
    endpoint.wake.set()
    return {}


def close(backend: Backend) -> None:
    """End all endpoints, because the service ends."""
    running = list(backend.store.endpoints)
    for endpoint in running:
        endpoint.deleted.set()
        endpoint.wake.set()
    join_all(endpoint.thread for endpoint in running)


OPERATIONS: Operations = {
    "CreateEndpoint": create_endpoint,
    "DescribeEndpoint": describe_endpoint,
    "DeleteEndpoint": delete_endpoint,
    "UpdateEndpoint": update_endpoint,
    "UpdateEndpointWeightsAndCapacities": update_weights,
}
