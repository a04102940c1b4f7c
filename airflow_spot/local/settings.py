"""What a Local SageMaker is started with."""

from __future__ import annotations

import json
import logging
import math
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path

ACCOUNT = "123456789012"
"""The account of every ARN; moto's own default, so that both halves agree."""

DEFAULT_REGION = "us-east-1"
DEFAULT_PORT = 5005
MAX_PORT = 65535


def url(host: str, port: int) -> str:
    """Return where this machine reaches a service that listens there: one on all addresses is on loopback too."""
    name = "127.0.0.1" if host in ("0.0.0.0", "::", "") else host
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


@dataclass(frozen=True)
class Settings:
    """Settings of one service; JSON-clean, since they cross a process boundary.

    :param host: address to listen on. Use loopback unless you know who can reach it: the
        service runs the code of every job.
    :param names: further names under which it is reached, such as that of a service of Docker Compose.
    :param port: TCP port; 0 takes a free one.
    :param directory: where the audit log and the jobs live.
    :param market: spec of the spot market, see :mod:`airflow_spot.local.market.spec`.
    :param on_demand_market: spec of the on-demand market.
    :param images: ``(pattern, command)`` pairs: what runs for an image whose name matches the shell pattern.
    :param reclaim: how an instance is taken back: ``term`` (SIGTERM, grace, SIGKILL, last checkpoint upload) or
        ``kill`` (SIGKILL, no last upload).
    :param grace_seconds: from SIGTERM to SIGKILL, when an instance is reclaimed and when a job is stopped. AWS: 120
        for a stop.
    :param pending_timeout_seconds: how long an on-demand job may be Pending before it fails with CapacityError; None
        for ever.
    :param checkpoint_seconds: how often checkpoints are uploaded while a job runs, in seconds; at most 2.
    :param checkpoint_markers: whether files beside each checkpoint say how far its upload is, as SageMaker's do.
    :param quotas: specification of service quotas, see :mod:`airflow_spot.local.market.quotas`.
    :param list_rate: how many ListTrainingJobs a second are answered, in each region; None for any number. AWS: 2.
    :param faults: fault plan, see :mod:`airflow_spot.local.faults.plan`.
    :param engine: ``process``, or ``simulated``: see :mod:`airflow_spot.local.training.simulated_instances`.
    :param time_scale: service seconds per machine second; other than 1 with the simulated engine only.
    :param isolation: ``auto``, ``namespace`` or ``relocate``, see :mod:`airflow_spot.local.container.container`.
    :param region: what the environment of jobs and clients is set to.
    :param python: interpreter for scripts of images that ``images`` does not name.
    :param keep: leave the working directories of ended jobs, to look into.
    :param temporary: the directory is the service's own, and goes when it ends.
    :param log_level: of the service's own log on stderr.
    """

    directory: str
    host: str = "127.0.0.1"
    names: tuple[str, ...] = ()
    port: int = DEFAULT_PORT
    market: str = "always"
    on_demand_market: str = "always"
    images: tuple[tuple[str, str], ...] = ()
    reclaim: str = "term"
    grace_seconds: float = 120.0
    pending_timeout_seconds: float | None = None
    checkpoint_seconds: float = 1.0
    checkpoint_markers: bool = True
    quotas: str = ""
    list_rate: float | None = None
    faults: str = ""
    engine: str = "process"
    time_scale: float = 1.0
    isolation: str = "auto"
    region: str = DEFAULT_REGION
    python: str = field(default=sys.executable)
    keep: bool = False
    temporary: bool = False
    log_level: str = "WARNING"

    def __post_init__(self) -> None:
        if self.reclaim not in ("term", "kill"):
            raise ValueError(f"reclaim is {self.reclaim!r}; it can be 'term' or 'kill'")
        if self.isolation not in ("auto", "namespace", "relocate"):
            raise ValueError(f"isolation is {self.isolation!r}; it can be 'auto', 'namespace' or 'relocate'")
        if self.engine not in ("process", "simulated"):
            raise ValueError(f"engine is {self.engine!r}; it can be 'process' or 'simulated'")
        if not 0 <= self.port <= MAX_PORT:
            raise ValueError(f"port is {self.port}; it must be from 0 to {MAX_PORT}")
        if not isinstance(logging.getLevelName(self.log_level), int):
            raise ValueError(f"log_level is {self.log_level!r}; it can be DEBUG, INFO, WARNING, ERROR or CRITICAL")
        if not 0 < self.time_scale < math.inf:
            raise ValueError(f"time_scale is {self.time_scale}; it must be finite and above 0")
        if self.time_scale != 1 and self.engine != "simulated":
            raise ValueError(f"time_scale is {self.time_scale}; only the simulated engine can be hurried")
        for name in ("grace_seconds", "pending_timeout_seconds"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be finite and not negative")

        if self.list_rate is not None and not 0 < self.list_rate < math.inf:
            raise ValueError(f"list_rate is {self.list_rate}; it must be finite and above 0")

    @property
    def root(self) -> Path:
        """The directory, as a path."""
        return Path(self.directory)

    def to_json(self) -> str:
        """Return one line of JSON, which :meth:`from_json` reads."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Settings:
        """Return the reverse of :meth:`to_json`."""
        values = json.loads(text)
        values["images"] = tuple((pattern, command) for pattern, command in values["images"])
        values["names"] = tuple(values["names"])
        return cls(**values)
