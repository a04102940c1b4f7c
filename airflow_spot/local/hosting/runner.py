"""The life of an endpoint: its processes come up, are replaced by an update, and end."""

from __future__ import annotations

from airflow_spot.local.aws.events import ENDPOINT
from airflow_spot.local.backend import Backend
from airflow_spot.local.errors import JobError
from airflow_spot.local.hosting.endpoint import ENDPOINTS, Deployment, Endpoint
from airflow_spot.local.job_threads import Runner
from airflow_spot.local.state_changes import record_status


class EndpointRunner(Runner):
    """Brings one endpoint into service and keeps it there until it is deleted."""

    def __init__(self, backend: Backend, endpoint: Endpoint) -> None:
        super().__init__(f"endpoint {endpoint.name}")
        self._backend = backend
        self._endpoint = endpoint

    def run(self) -> None:
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

    def clean_up(self) -> None:
        """End all processes."""
        endpoint = self._endpoint
        with endpoint.lock:
            fleet, endpoint.fleet = endpoint.fleet, None
            pending, endpoint.pending = endpoint.pending, None
        if pending is not None:
            pending.fleet.close()
        if fleet is not None:
            fleet.close()

    def record_end(self, failure: str | None) -> None:
        """Remove it from the store. A failed endpoint stays, without a process, until it is deleted."""
        endpoint = self._endpoint
        if failure is not None:
            enter(self._backend, endpoint, "Failed", failure)
        endpoint.deleted.wait()
        self._backend.store.tags.pop(endpoint.arn, None)
        self._backend.store.table(ENDPOINTS).pop(endpoint.region, endpoint.name)

    def wake(self) -> None:
        self._endpoint.deleted.set()
        self._endpoint.wake.set()

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
        record_status(backend, endpoint, ("endpoint", ENDPOINT), status, reason, endpoint.event)
