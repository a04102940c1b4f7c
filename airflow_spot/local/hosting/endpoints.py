"""Endpoints: the operations."""

from __future__ import annotations

from typing import Any

from airflow_spot.local.api.call import Call
from airflow_spot.local.api.tagging import to_dict
from airflow_spot.local.backend import Backend, Operations
from airflow_spot.local.errors import validation
from airflow_spot.local.hosting.endpoint import ENDPOINTS, IN_PROGRESS, Deployment, Endpoint
from airflow_spot.local.hosting.fleet import Fleet
from airflow_spot.local.hosting.models import ENDPOINT_CONFIGS, MODELS, EndpointConfig, add, find
from airflow_spot.local.hosting.runner import EndpointRunner, enter


def _deployment(backend: Backend, call: Call, endpoint: Endpoint, config: EndpointConfig) -> Deployment:
    """Return a fleet of a configuration for an endpoint. Nothing runs yet.

    :raises ServiceError: ValidationException, if a model is gone or Local SageMaker cannot deploy so.
    """
    settings = call.params.get("DeploymentConfig")
    _check_deployment(settings or {})
    found = [find(backend, MODELS, call.region, each["ModelName"]) for each in config.variants]
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
    config = find(backend, ENDPOINT_CONFIGS, call.region, call.params["EndpointConfigName"])
    tags = to_dict(call.params.get("Tags", []))
    now = backend.clock.now()
    endpoint = Endpoint(call.region, call.params["EndpointName"], config, now, now)
    endpoint.pending = _deployment(backend, call, endpoint, config)
    add(backend, ENDPOINTS, endpoint)
    if tags:
        backend.store.tags[endpoint.arn] = tags
    enter(backend, endpoint, "Creating")
    backend.threads.start(EndpointRunner(backend, endpoint))
    return {"EndpointArn": endpoint.arn}


def describe_endpoint(backend: Backend, call: Call) -> dict[str, Any]:
    endpoint = find(backend, ENDPOINTS, call.region, call.params["EndpointName"])
    return endpoint.describe(backend.clock.now())


def update_endpoint(backend: Backend, call: Call) -> dict[str, Any]:
    endpoint = find(backend, ENDPOINTS, call.region, call.params["EndpointName"])
    config = find(backend, ENDPOINT_CONFIGS, call.region, call.params["EndpointConfigName"])
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
    """Change weights and counts: Updating, and at once InService again [A for the time]."""
    endpoint = find(backend, ENDPOINTS, call.region, call.params["EndpointName"])
    with endpoint.lock:
        fleet = _fleet_in_service(endpoint)
        fleet.change(call.params["DesiredWeightsAndCapacities"])
        enter(backend, endpoint, "Updating")
        enter(backend, endpoint, "InService")
    return {"EndpointArn": endpoint.arn}


def _fleet_in_service(endpoint: Endpoint) -> Fleet:
    """Return what an update starts from.

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
    endpoint = find(backend, ENDPOINTS, call.region, call.params["EndpointName"])
    with endpoint.lock:
        _refuse(endpoint, ("Creating", "Updating"))
        enter(backend, endpoint, "Deleting")
    endpoint.deleted.set()
    endpoint.wake.set()
    return {}


OPERATIONS: Operations = {
    "CreateEndpoint": create_endpoint,
    "DescribeEndpoint": describe_endpoint,
    "DeleteEndpoint": delete_endpoint,
    "UpdateEndpoint": update_endpoint,
    "UpdateEndpointWeightsAndCapacities": update_weights,
}
