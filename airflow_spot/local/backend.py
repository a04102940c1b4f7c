"""Everything that a handler may need, in one object."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from airflow_spot.local.api.call import Call
from airflow_spot.local.api.call_rate import CallRate
from airflow_spot.local.aws.events import Events
from airflow_spot.local.aws.logs import Logs
from airflow_spot.local.aws.moto import Aws
from airflow_spot.local.clock import Clock
from airflow_spot.local.container.container import Containers
from airflow_spot.local.container.images import Images
from airflow_spot.local.container.requirements import Environments
from airflow_spot.local.faults.plan import Faults
from airflow_spot.local.job_threads import JobThreads
from airflow_spot.local.market.capacity import Capacity
from airflow_spot.local.market.placement import Configurations
from airflow_spot.local.market.quotas import Quota
from airflow_spot.local.settings import Settings
from airflow_spot.local.storage.audit import Audit
from airflow_spot.local.storage.store import Store


class Engine(Protocol):
    """Drives the lives of training jobs."""

    def submit(self, job: Any) -> None: ...

    def stop(self, job: Any) -> None: ...

    def interrupt(
        self, region: str, name: str, capacity_gap: float = 0.0, reclaim: str | None = None, *, refuse: bool = False
    ) -> None: ...

    def crash(self, region: str, name: str) -> None: ...

    def wake_all(self) -> None: ...

    def close(self) -> None: ...


class Journal(Protocol):
    """What is remembered over a crash."""

    jobs: list[Any]
    tags: dict[str, dict[str, str]]

    def created(self, job: Any) -> None: ...

    def changed(self, job: Any) -> None: ...

    def deleted(self, job: Any) -> None: ...

    def tagged(self, arn: str, tags: dict[str, str]) -> None: ...

    def close(self) -> None: ...


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
    :param events: sends state changes to EventBridge.
    :param logs: CloudWatch Logs streams.
    :param capacity: the markets.
    :param engine: drives training jobs.
    :param quotas: limits of instances at once.
    :param configurations: for which spot placement scores were asked.
    :param call_rate: how many calls are answered.
    :param faults: how calls, and jobs, fail.
    :param journal: what is remembered over a crash.
    :param environments: of scripts that bring a requirements.txt.
    :param threads: of the jobs that have one each.
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
    configurations: Configurations
    call_rate: CallRate
    faults: Faults
    journal: Journal
    threads: JobThreads = field(default_factory=JobThreads)

    def close(self) -> None:
        """End all jobs and processes. Called once."""
        self.threads.close()
        self.engine.close()
        self.journal.close()
        self.events.close()
        self.containers.close()
        self.logs.close()
        self.audit.write("service", action="stopped")
        self.audit.close()


Handler: TypeAlias = Callable[[Backend, Call], dict[str, Any]]
"""Answers a call. Times in the answer are seconds since the epoch (floats).

Raises :class:`~airflow_spot.local.errors.ServiceError` for an error answer. Called on a thread per request.
"""

Operations: TypeAlias = Mapping[str, Handler]
"""What a module of operations exports as ``OPERATIONS``; :mod:`airflow_spot.local.http.registry` joins them."""
