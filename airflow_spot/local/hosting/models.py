"""Models and endpoint configurations: names for what an endpoint will run. Nothing runs yet."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_spot.local.api.call import Call
from airflow_spot.local.api.ignored import ignored_members, log_ignored
from airflow_spot.local.api.tagging import to_dict
from airflow_spot.local.aws.events import ENDPOINT_CONFIG, MODEL
from airflow_spot.local.backend import Backend, Operations
from airflow_spot.local.errors import ServiceError, validation
from airflow_spot.local.hosting.model_data import check_model_data
from airflow_spot.local.hosting.model_packages import package_container
from airflow_spot.local.state_changes import publish_event
from airflow_spot.local.storage.store import Kind, R

_IGNORED_MODEL = ("VpcConfig", "EnableNetworkIsolation")
_IGNORED_CONFIG = ("DataCaptureConfig", "KmsKeyId", "VpcConfig", "EnableNetworkIsolation", "MetricsConfig")
_IGNORED_VARIANT = (
    "CoreDumpConfig",
    "EnableSSMAccess",
    "ManagedInstanceScaling",
    "RoutingConfig",
    "CapacityReservationConfig",
)
#: Of an endpoint configuration: other ways to answer, which the endpoints here do not have.
_REFUSED = ("ShadowProductionVariants", "AsyncInferenceConfig", "ExplainerConfig")


@dataclass(frozen=True)
class _Requested:
    """What was created, as it was asked for.

    :param request: the body of the Create call, tags left out.
    """

    region: str
    name: str
    request: dict[str, Any]
    creation_time: float


@dataclass(frozen=True)
class Model(_Requested):
    """A model.

    :param container: its only container: of a package, with what the package said when the model was made.
    """

    container: dict[str, Any]

    @property
    def arn(self) -> str:
        return MODELS.arn(self.region, self.name)

    def describe(self, now: float) -> dict[str, Any]:
        """Return the answer of DescribeModel: the same at any time."""
        return {
            "EnableNetworkIsolation": False,
            **self.request,
            "ModelArn": self.arn,
            "CreationTime": self.creation_time,
        }


class EndpointConfig(_Requested):
    """An endpoint configuration."""

    @property
    def arn(self) -> str:
        return ENDPOINT_CONFIGS.arn(self.region, self.name)

    @property
    def variants(self) -> list[dict[str, Any]]:
        """Its production variants."""
        found: list[dict[str, Any]] = self.request["ProductionVariants"]
        return found

    def describe(self, now: float) -> dict[str, Any]:
        """Return the answer of DescribeEndpointConfig: the same at any time."""
        return {**self.request, "EndpointConfigArn": self.arn, "CreationTime": self.creation_time}


MODELS = Kind[Model]("model", "Model")
ENDPOINT_CONFIGS = Kind[EndpointConfig]("endpoint-config", "Endpoint configuration")


def add(backend: Backend, kind: Kind[R], item: R) -> None:
    """Add a resource, with the words that SageMaker has for these kinds when the name is taken.

    :raises ServiceError: ValidationException.
    """
    try:
        backend.store.table(kind).add(item)
    except ServiceError:
        raise validation(f'Cannot create already existing {kind.label.lower()} "{item.arn}".') from None


def find(backend: Backend, kind: Kind[R], region: str, name: str) -> R:
    """Return a resource, with the words that SageMaker has for these kinds when there is none.

    :raises ServiceError: ValidationException.
    """
    item = backend.store.table(kind).find(region, name)
    if item is None:
        raise validation(f'Could not find {kind.label.lower()} "{kind.arn(region, name)}".')
    return item


def _create(backend: Backend, kind: Kind[R], event: str, make: Callable[[dict[str, Any]], R], call: Call) -> R:
    """Create a resource of a request.

    :param event: the detail type of its events, which it has when it is created and when it is deleted [D].
    :param make: makes it of the request without its tags.
    """
    request = copy.deepcopy(call.params)
    tags = to_dict(request.pop("Tags", []))
    made = make(request)
    add(backend, kind, made)
    if tags:
        backend.store.tags[made.arn] = tags
    publish_event(backend, event, made)
    return made


def _delete(backend: Backend, kind: Kind[R], event: str, region: str, name: str) -> dict[str, Any]:
    """Delete a resource with its tags; raises as :func:`find` does."""
    table = backend.store.table(kind)
    with table.lock:
        gone = find(backend, kind, region, name)
        publish_event(backend, event, gone)
        backend.store.tags.pop(gone.arn, None)
        table.pop(region, name)
    return {}


def create_model(backend: Backend, call: Call) -> dict[str, Any]:
    primary: dict[str, Any] = call.params.get("PrimaryContainer", {})
    several: list[dict[str, Any]] = call.params.get("Containers", [])
    if bool(primary) == bool(several):
        raise validation("You must provide either PrimaryContainer or Containers, and not both.")
    if len(several) > 1:
        raise validation(f"Containers has {len(several)} members; inference pipelines are not implemented here")
    container = copy.deepcopy(primary or several[0])
    if container.get("ModelPackageName"):
        container = package_container(backend, call.region, container)
    if not container.get("Image"):
        raise validation("PrimaryContainer.Image is required, or PrimaryContainer.ModelPackageName")
    if container.get("Mode", "SingleModel") != "SingleModel":
        raise validation(f"Mode {container['Mode']} is not implemented by Local SageMaker; use SingleModel")
    if backend.settings.engine == "process":
        check_model_data(backend.aws.s3, container)
    made = _create(
        backend,
        MODELS,
        MODEL,
        lambda request: Model(call.region, request["ModelName"], request, backend.clock.now(), container),
        call,
    )
    log_ignored(backend.audit, "model", made.name, ignored_members(made.request, _IGNORED_MODEL))
    return {"ModelArn": made.arn}


def describe_model(backend: Backend, call: Call) -> dict[str, Any]:
    return find(backend, MODELS, call.region, call.params["ModelName"]).describe(backend.clock.now())


def delete_model(backend: Backend, call: Call) -> dict[str, Any]:
    return _delete(backend, MODELS, MODEL, call.region, call.params["ModelName"])


def check_weights(weights: Sequence[float]) -> None:
    """Check that at least one variant gets requests.

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
        find(backend, MODELS, call.region, variant["ModelName"])
    check_weights([float(variant.get("InitialVariantWeight", 1.0)) for variant in variants])
    made = _create(
        backend,
        ENDPOINT_CONFIGS,
        ENDPOINT_CONFIG,
        lambda request: EndpointConfig(call.region, request["EndpointConfigName"], request, backend.clock.now()),
        call,
    )
    members = ignored_members(made.request, _IGNORED_CONFIG)
    of_variants = {name for variant in variants for name in ignored_members(variant, _IGNORED_VARIANT)}
    members += [f"ProductionVariants.{name}" for name in sorted(of_variants)]
    log_ignored(backend.audit, "endpoint configuration", made.name, members)
    return {"EndpointConfigArn": made.arn}


def describe_endpoint_config(backend: Backend, call: Call) -> dict[str, Any]:
    config = find(backend, ENDPOINT_CONFIGS, call.region, call.params["EndpointConfigName"])
    return config.describe(backend.clock.now())


def delete_endpoint_config(backend: Backend, call: Call) -> dict[str, Any]:
    return _delete(backend, ENDPOINT_CONFIGS, ENDPOINT_CONFIG, call.region, call.params["EndpointConfigName"])


OPERATIONS: Operations = {
    "CreateModel": create_model,
    "DescribeModel": describe_model,
    "DeleteModel": delete_model,
    "CreateEndpointConfig": create_endpoint_config,
    "DescribeEndpointConfig": describe_endpoint_config,
    "DeleteEndpointConfig": delete_endpoint_config,
}
