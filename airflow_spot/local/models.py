"""Models and endpoint configurations: names for what an endpoint will run. Nothing runs yet."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, TypeVar

from airflow_spot.local.api import Call, Operations
from airflow_spot.local.backend import Backend
from airflow_spot.local.errors import ServiceError, validation
from airflow_spot.local.store import Table, arn
from airflow_spot.local.tags import to_dict

T = TypeVar("T")


@dataclass(frozen=True)
class Resource:
    """What was created, as it was asked for.

    :param request: the body of the Create call, tags left out.
    """

    region: str
    name: str
    arn: str
    request: dict[str, Any]
    creation_time: float

    @property
    def container(self) -> dict[str, Any]:
        """Of a model: its only container."""
        only: dict[str, Any] = self.request.get("PrimaryContainer") or self.request["Containers"][0]
        return only

    @property
    def variant(self) -> dict[str, Any]:
        """Of an endpoint configuration: its only production variant."""
        only: dict[str, Any] = self.request["ProductionVariants"][0]
        return only


def take_name(table: Table[Any], region: str, name: str, item: Any) -> None:
    """Add to a table, with the words that SageMaker has for these kinds when the name is taken.

    :raises ServiceError: ValidationException.
    """
    try:
        table.add(region, name, item)
    except ServiceError:
        raise validation(
            f'Cannot create already existing {table.label.lower()} "{arn(region, table.kind, name)}".'
        ) from None


def find(table: Table[T], region: str, name: str) -> T:
    """Return a resource, with the words that SageMaker has for these kinds when there is none.

    :raises ServiceError: ValidationException.
    """
    item = table.find(region, name)
    if item is None:
        raise validation(f'Could not find {table.label.lower()} "{arn(region, table.kind, name)}".')
    return item


def drop(table: Table[Any], region: str, name: str) -> dict[str, Any]:
    """Delete a resource; raises as :func:`find` does."""
    find(table, region, name)
    table.pop(region, name)
    return {}


def _create(backend: Backend, call: Call, table: Table[Resource], name: str) -> Resource:
    request = copy.deepcopy(call.params)
    tags = to_dict(request.pop("Tags", []))
    made = Resource(call.region, name, arn(call.region, table.kind, name), request, backend.clock.now())
    take_name(table, call.region, name, made)
    if tags:
        backend.store.tags[made.arn] = tags
    return made


def create_model(backend: Backend, call: Call) -> dict[str, Any]:
    primary: dict[str, Any] = call.params.get("PrimaryContainer", {})
    several: list[dict[str, Any]] = call.params.get("Containers", [])
    if bool(primary) == bool(several):
        raise validation("You must provide either PrimaryContainer or Containers, and not both.")
    if len(several) > 1:
        raise validation(f"Containers has {len(several)} members; inference pipelines are not implemented here")
    if not (primary or several[0]).get("Image"):
        raise validation("PrimaryContainer.Image is required: model packages are not implemented by Local SageMaker")
    made = _create(backend, call, backend.store.models, call.params["ModelName"])
    return {"ModelArn": made.arn}


def describe_model(backend: Backend, call: Call) -> dict[str, Any]:
    model = find(backend.store.models, call.region, call.params["ModelName"])
    return {
        "EnableNetworkIsolation": False,
        **model.request,
        "ModelArn": model.arn,
        "CreationTime": model.creation_time,
    }


def delete_model(backend: Backend, call: Call) -> dict[str, Any]:
    return drop(backend.store.models, call.region, call.params["ModelName"])


def create_endpoint_config(backend: Backend, call: Call) -> dict[str, Any]:
    variants = call.params["ProductionVariants"]
    if len(variants) != 1:
        raise validation(f"ProductionVariants has {len(variants)} members; Local SageMaker serves one variant")
    if not variants[0].get("ModelName"):
        raise validation("ProductionVariants.1.member.ModelName is required")
    find(backend.store.models, call.region, variants[0]["ModelName"])
    made = _create(backend, call, backend.store.endpoint_configs, call.params["EndpointConfigName"])
    return {"EndpointConfigArn": made.arn}


def describe_endpoint_config(backend: Backend, call: Call) -> dict[str, Any]:
    config = find(backend.store.endpoint_configs, call.region, call.params["EndpointConfigName"])
    return {**config.request, "EndpointConfigArn": config.arn, "CreationTime": config.creation_time}


def delete_endpoint_config(backend: Backend, call: Call) -> dict[str, Any]:
    return drop(backend.store.endpoint_configs, call.region, call.params["EndpointConfigName"])


OPERATIONS: Operations = {
    "CreateModel": create_model,
    "DescribeModel": describe_model,
    "DeleteModel": delete_model,
    "CreateEndpointConfig": create_endpoint_config,
    "DescribeEndpointConfig": describe_endpoint_config,
    "DeleteEndpointConfig": delete_endpoint_config,
}
