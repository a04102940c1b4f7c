"""Models and endpoint configurations: names for what an endpoint will run. Nothing runs yet."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from airflow_spot.local.api.call import Call
from airflow_spot.local.api.ignored import ignored as inert
from airflow_spot.local.api.ignored import tell_inert
from airflow_spot.local.api.tagging import to_dict
from airflow_spot.local.aws.events import ENDPOINT_CONFIG, MODEL
from airflow_spot.local.backend import Backend, Operations
from airflow_spot.local.errors import ServiceError, validation
from airflow_spot.local.state_changes import tell
from airflow_spot.local.storage.store import Table, arn

T = TypeVar("T")

_INERT_MODEL = ("VpcConfig", "EnableNetworkIsolation")
_INERT_CONFIG = ("DataCaptureConfig", "KmsKeyId", "VpcConfig", "EnableNetworkIsolation", "MetricsConfig")
_INERT_VARIANT = (
    "CoreDumpConfig",
    "EnableSSMAccess",
    "ManagedInstanceScaling",
    "RoutingConfig",
    "CapacityReservationConfig",
)
#: Of an endpoint configuration: other ways to answer, which the endpoints here do not have.
_REFUSED = ("ShadowProductionVariants", "AsyncInferenceConfig", "ExplainerConfig")


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
    def variants(self) -> list[dict[str, Any]]:
        """Of an endpoint configuration: its production variants."""
        found: list[dict[str, Any]] = self.request["ProductionVariants"]
        return found


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


def _drop(backend: Backend, call: Call, kind: Kind, name: str) -> dict[str, Any]:
    """Delete a resource with its tags; raises as :func:`find` does."""
    table = kind.table(backend)
    with table.lock:
        gone = find(table, call.region, name)
        tell(backend, kind.event, gone, lambda: kind.describe(gone))
        backend.store.tags.pop(gone.arn, None)
        table.pop(call.region, name)
    return {}


def _create(backend: Backend, call: Call, kind: Kind, name: str) -> Resource:
    table = kind.table(backend)
    request = copy.deepcopy(call.params)
    tags = to_dict(request.pop("Tags", []))
    made = Resource(call.region, name, arn(call.region, table.kind, name), request, backend.clock.now())
    take_name(table, call.region, name, made)
    if tags:
        backend.store.tags[made.arn] = tags
    tell(backend, kind.event, made, lambda: kind.describe(made))
    return made


def _describe_model(model: Resource) -> dict[str, Any]:
    return {
        "EnableNetworkIsolation": False,
        **model.request,
        "ModelArn": model.arn,
        "CreationTime": model.creation_time,
    }


def _describe_config(config: Resource) -> dict[str, Any]:
    return {**config.request, "EndpointConfigArn": config.arn, "CreationTime": config.creation_time}


@dataclass(frozen=True)
class Kind:
    """What the two kinds of resources differ in.

    :param event: the detail type of its events, which it has when it is created and when it is deleted [D].
    """

    event: str
    table: Callable[[Backend], Table[Resource]]
    describe: Callable[[Resource], dict[str, Any]]


_MODEL = Kind(MODEL, lambda backend: backend.store.models, _describe_model)
_CONFIG = Kind(ENDPOINT_CONFIG, lambda backend: backend.store.endpoint_configs, _describe_config)


def create_model(backend: Backend, call: Call) -> dict[str, Any]:
    primary: dict[str, Any] = call.params.get("PrimaryContainer", {})
    several: list[dict[str, Any]] = call.params.get("Containers", [])
    if bool(primary) == bool(several):
        raise validation("You must provide either PrimaryContainer or Containers, and not both.")
    if len(several) > 1:
        raise validation(f"Containers has {len(several)} members; inference pipelines are not implemented here")
    container = primary or several[0]
    if not container.get("Image"):
        raise validation("PrimaryContainer.Image is required: model packages are not implemented by Local SageMaker")
    if container.get("Mode", "SingleModel") != "SingleModel":
        raise validation(f"Mode {container['Mode']} is not implemented by Local SageMaker; use SingleModel")
    made = _create(backend, call, _MODEL, call.params["ModelName"])
    tell_inert(backend.audit, "model", made.name, inert(made.request, _INERT_MODEL))
    return {"ModelArn": made.arn}


def describe_model(backend: Backend, call: Call) -> dict[str, Any]:
    return _describe_model(find(backend.store.models, call.region, call.params["ModelName"]))


def delete_model(backend: Backend, call: Call) -> dict[str, Any]:
    return _drop(backend, call, _MODEL, call.params["ModelName"])


def check_weights(weights: Sequence[float]) -> None:
    """Make sure that somebody gets the requests.

    :raises ServiceError: ValidationException. [A]: what AWS does with all weights at 0 is not known to us.
    """
    if min(weights) < 0 or not 0 < sum(weights) < math.inf:
        raise validation("Weights must not be negative, and at least one variant must have one above 0")


def create_endpoint_config(backend: Backend, call: Call) -> dict[str, Any]:
    variants = call.params["ProductionVariants"]
    names = [variant["VariantName"] for variant in variants]
    if len(set(names)) != len(names):
        raise validation(f"Production variant names must be unique, and these are not: {', '.join(names)}")
    for member in _REFUSED:
        if member in call.params:
            raise validation(f"{member} is not implemented by Local SageMaker")
    for place, variant in enumerate(variants, 1):
        if "ServerlessConfig" in variant:
            raise validation(
                f"ProductionVariants.{place}.member.ServerlessConfig is not implemented by Local SageMaker; use "
                "InstanceType"
            )
        if not variant.get("InstanceType"):
            raise validation(f"ProductionVariants.{place}.member.InstanceType is required")
        if not variant.get("ModelName"):
            raise validation(f"ProductionVariants.{place}.member.ModelName is required")
        find(backend.store.models, call.region, variant["ModelName"])
    check_weights([float(variant.get("InitialVariantWeight", 1.0)) for variant in variants])
    made = _create(backend, call, _CONFIG, call.params["EndpointConfigName"])
    members = inert(made.request, _INERT_CONFIG)
    of_variants = {name for variant in variants for name in inert(variant, _INERT_VARIANT)}
    members += [f"ProductionVariants.{name}" for name in sorted(of_variants)]
    tell_inert(backend.audit, "endpoint configuration", made.name, members)
    return {"EndpointConfigArn": made.arn}


def describe_endpoint_config(backend: Backend, call: Call) -> dict[str, Any]:
    return _describe_config(find(backend.store.endpoint_configs, call.region, call.params["EndpointConfigName"]))


def delete_endpoint_config(backend: Backend, call: Call) -> dict[str, Any]:
    return _drop(backend, call, _CONFIG, call.params["EndpointConfigName"])


OPERATIONS: Operations = {
    "CreateModel": create_model,
    "DescribeModel": describe_model,
    "DeleteModel": delete_model,
    "CreateEndpointConfig": create_endpoint_config,
    "DescribeEndpointConfig": describe_endpoint_config,
    "DeleteEndpointConfig": delete_endpoint_config,
}
