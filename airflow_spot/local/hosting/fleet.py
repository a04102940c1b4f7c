"""The serving processes of one endpoint configuration, one a variant, and how requests are shared among them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_spot.local.errors import JobError, ServiceError, validation
from airflow_spot.local.hosting.models import EndpointConfig, Model, check_weights
from airflow_spot.local.serving.model_server import STARTUP_SECONDS, ModelServer, Owner
from airflow_spot.local.serving.supervisor import Supervisor

if TYPE_CHECKING:
    from airflow_spot.local.backend import Backend

NOT_HEALTHY = (
    "The primary container for production variant {variant} did not pass the ping health check. "
    "Please check CloudWatch logs for this endpoint."
)
INVOCATION_SECONDS = 60.0  # AWS's, for an answer of the container


class Variant:
    """One production variant with its process.

    :param settings: its member of ProductionVariants.
    :param model: that it serves.
    :ivar weight: its share of the requests is this, divided by the sum of all.
    :ivar count: instances that are described; there is one process however many these are.
    :ivar in_flight: requests that have not been answered.
    :ivar supervisor: restarts its process, once it is in service.
    """

    def __init__(self, settings: dict[str, Any], model: Model, server: ModelServer) -> None:
        self.settings = settings
        self.name = str(settings["VariantName"])
        self.model = model
        self.server = server
        seconds = settings.get("ContainerStartupHealthCheckTimeoutInSeconds", STARTUP_SECONDS)
        self.startup_seconds = float(seconds)
        self.supervisor = Supervisor(server, f"variant {self.name} of model {model.name}", self.startup_seconds)
        self.weight = float(settings.get("InitialVariantWeight", 1.0))
        self.count = int(settings.get("InitialInstanceCount", 1))
        self.in_flight = 0
        self.credit = 0.0

    def summary(self, since: float) -> dict[str, Any]:
        """Return it as DescribeEndpoint has it.

        :param since: when its image was resolved.
        """
        return {
            "VariantName": self.name,
            "DeployedImages": [{"SpecifiedImage": self.model.container["Image"], "ResolutionTime": since}],
            "CurrentWeight": self.weight,
            "DesiredWeight": self.weight,
            "CurrentInstanceCount": self.count,
            "DesiredInstanceCount": self.count,
        }

    def pending(self, since: float, status: str, message: str) -> dict[str, Any]:
        """Return it as PendingDeploymentSummary has it, while its instances come up."""
        answer = {**self.summary(since), "CurrentInstanceCount": 0}
        answer["VariantStatus"] = [{"Status": status, "StatusMessage": message, "StartTime": since}]
        if "InstanceType" in self.settings:
            answer["InstanceType"] = self.settings["InstanceType"]
        return answer


class Fleet:
    """All variants of a configuration. Thread-safe.

    Guarantee: of any number of requests in a row each variant gets its share to within one, and one that was taken is
    given back before :meth:`drain` returns, unless its answer takes longer than AWS allows.

    :param config: the endpoint configuration.
    :param models: of its variants, in their order.
    :param number: how many fleets the endpoint has had, with this one.
    """

    def __init__(
        self, backend: Backend, endpoint: str, config: EndpointConfig, models: Sequence[Model], number: int
    ) -> None:
        self.config = config
        self.variants: list[Variant] = []
        self._idle = threading.Condition()
        # Two endpoints of one name may overlap for a moment: one is being deleted, one created.
        self._folder = backend.settings.root / "endpoints" / f"{endpoint}-{id(self):x}"
        for place, (settings, model) in enumerate(zip(config.request["ProductionVariants"], models, strict=True)):
            owner = Owner(
                "endpoint",
                config.region,
                endpoint,
                f"/aws/sagemaker/Endpoints/{endpoint}",
                f"{settings['VariantName']}/local-{number}",
            )
            server = ModelServer(backend, owner, model.container, self._folder / str(place))
            self.variants.append(Variant(settings, model, server))

    def launch(self, cancelled: threading.Event) -> bool:
        """Start all processes and wait until each answers /ping. Then a :class:`Supervisor` restarts them.

        :param cancelled: ends the wait.
        :returns: False if it was cancelled.
        :raises JobError: if a process ends, or does not become healthy in time.
        """
        for variant in self.variants:
            variant.server.start({}, variant.supervisor.ended)
        for variant in self.variants:
            if variant.server.await_ping(variant.startup_seconds, cancelled):
                continue
            if cancelled.is_set():
                return False
            reason, code = NOT_HEALTHY.format(variant=variant.name), variant.server.poll()
            raise JobError(reason if code is None else f"{reason} (It exited with {code}.)")
        for variant in self.variants:
            variant.supervisor.begin()
        return True

    def take(self, target: str | None) -> Variant:
        """Return the variant for a request, which has to be given back.

        :param target: the name that the request asks for; None for one by weight.
        :raises ServiceError: ValidationError if there is none of that name.
        """
        with self._idle:
            variant = self._next() if target is None else self._find(target)
            if variant is None:
                raise ServiceError("ValidationError", f"Variant {target} not found for Request")
            variant.in_flight += 1
            return variant

    def give_back(self, variant: Variant) -> None:
        """Count a request as answered."""
        with self._idle:
            variant.in_flight -= 1
            self._idle.notify_all()

    def _next(self) -> Variant:
        # Smooth weighted round robin: each gains its weight, and the chosen one pays the sum.
        for variant in self.variants:
            variant.credit += variant.weight
        chosen = max(self.variants, key=lambda variant: variant.credit)
        chosen.credit -= sum(variant.weight for variant in self.variants)
        return chosen

    def _find(self, name: str) -> Variant | None:
        return next((variant for variant in self.variants if variant.name == name), None)

    def change(self, wanted: Sequence[dict[str, Any]]) -> None:
        """Change weights and counts, all or none.

        :param wanted: DesiredWeightsAndCapacities.
        :raises ServiceError: ValidationException.
        """
        with self._idle:
            weights = {variant.name: variant.weight for variant in self.variants}
            counts = {variant.name: variant.count for variant in self.variants}
            for item in wanted:
                name = item["VariantName"]
                if name not in weights:
                    raise validation(f'The endpoint has no production variant "{name}".')
                if "ServerlessUpdateConfig" in item:
                    raise validation("ServerlessUpdateConfig: Local SageMaker has no serverless variants")
                weights[name] = float(item.get("DesiredWeight", weights[name]))
                counts[name] = int(item.get("DesiredInstanceCount", counts[name]))
            check_weights(list(weights.values()))
            if min(counts.values()) < 1:
                raise validation("DesiredInstanceCount must be at least 1")
            for variant in self.variants:
                variant.weight, variant.count, variant.credit = weights[variant.name], counts[variant.name], 0.0

    def retain(self, other: Fleet, *, weights: bool, counts: bool) -> None:
        """Take over what another fleet's variants of the same name have now."""
        for variant in self.variants:
            known = other._find(variant.name)
            if known is not None:
                variant.weight = known.weight if weights else variant.weight
                variant.count = known.count if counts else variant.count

    def drain(self) -> None:
        """Wait until all requests are answered. No new one may come meanwhile."""
        with self._idle:
            self._idle.wait_for(lambda: not any(variant.in_flight for variant in self.variants), INVOCATION_SECONDS)

    def close(self) -> None:
        """End all processes. May be called again, and before they have started."""
        for variant in self.variants:
            variant.supervisor.cancel()
        for variant in self.variants:
            variant.supervisor.close()
        for variant in self.variants:
            variant.server.terminate()
        for variant in self.variants:
            variant.server.close()
        if self._folder.is_dir() and not any(self._folder.iterdir()):
            self._folder.rmdir()
