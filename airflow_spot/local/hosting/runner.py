"""The life of an endpoint: its processes come up, are replaced by an update, and end."""

from __future__ import annotations

import logging

from airflow_spot.local.aws.events import ENDPOINT
from airflow_spot.local.backend import Backend
from airflow_spot.local.errors import JobError
from airflow_spot.local.hosting.endpoint import ENDPOINTS, Deployment, Endpoint
from airflow_spot.local.state_changes import record_status

log = logging.getLogger(__name__)


class EndpointRunner:
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
        self._backend.store.table(ENDPOINTS).pop(endpoint.region, endpoint.name)

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
        record_status(backend, endpoint, ("endpoint", ENDPOINT), status, reason, endpoint.event)
