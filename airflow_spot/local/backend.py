"""Everything that a handler may need, in one object."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_spot.local.audit import Audit
from airflow_spot.local.aws import Aws
from airflow_spot.local.clock import Clock
from airflow_spot.local.container import Containers
from airflow_spot.local.events import Events
from airflow_spot.local.faults import Faults
from airflow_spot.local.images import Images
from airflow_spot.local.journal import Journal
from airflow_spot.local.logs import Logs
from airflow_spot.local.quotas import Quota
from airflow_spot.local.requirements import Environments
from airflow_spot.local.settings import Settings
from airflow_spot.local.store import Store

if TYPE_CHECKING:
    from airflow_spot.local.capacity import Capacity
    from airflow_spot.local.engine import Engine


@dataclass
class Backend:
    """One running service.

    :param settings: what it was started with.
    :param clock: the only source of time for what is reported.
    :param audit: where calls, states, processes and checkpoints are written down.
    :param store: resources and tags.
    :param aws: clients for S3 and CloudWatch Logs that talk to this very service.
    :param containers: starts processes that see a directory of their own at ``/opt/ml``.
    :param images: what runs for a container image.
    :param events: tells EventBridge of state changes.
    :param logs: CloudWatch Logs streams.
    :param capacity: the markets.
    :param engine: drives training jobs.
    :param quotas: limits of instances at once.
    :param faults: how calls fail.
    :param journal: what is remembered over a crash.
    :param environments: of scripts that bring a requirements.txt.
    """

    settings: Settings
    clock: Clock
    audit: Audit
    store: Store
    aws: Aws
    containers: Containers
    images: Images
    events: Events
    logs: Logs
    capacity: Capacity
    engine: Engine
    quotas: tuple[Quota, ...]
    environments: Environments
    faults: Faults
    journal: Journal
    _closers: list[Callable[[], None]] = field(default_factory=list)

    def on_close(self, closer: Callable[[], None]) -> None:
        """Have ``closer`` called when the service ends, in the reverse order of registration."""
        self._closers.append(closer)

    def close(self) -> None:
        """End all jobs and processes. Called once."""
        for closer in reversed(self._closers):
            closer()
        self.engine.close()
        self.journal.close()
        self.events.close()
        self.containers.close()
        self.logs.close()
        self.audit.write("service", action="stopped")
        self.audit.close()
