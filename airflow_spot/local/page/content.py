"""What the web page shows: the jobs, one job's life, and the markets. Read only.

Each value is taken by name from what a job is. A request's hyperparameters, environment, command and tags are never
among them; what a script prints is its own affair.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from botocore.exceptions import BotoCoreError, ClientError

from airflow_spot.local.backend import Backend
from airflow_spot.local.market.capacity import Outlook
from airflow_spot.local.market.prices import billable_seconds
from airflow_spot.local.market.spec import State
from airflow_spot.local.page.rendering import duration
from airflow_spot.local.storage.store import Kind, Resource
from airflow_spot.local.training.job import TRAINING_JOBS, TrainingJob
from airflow_spot.local.training.process_instances import LOG_GROUP

MOST_JOBS = 200
LOG_HOSTS = 4
LOG_LINES = 40

#: The colours of statuses, see the macro ``badge``.
_KINDS = {
    "Training": "go",
    "Completed": "go",
    "InService": "go",
    "Interrupted": "bad",
    "Failed": "bad",
    "MaxRuntimeExceeded": "bad",
    "MaxWaitTimeExceeded": "bad",
    "Starting": "wait",
    "Pending": "wait",
    "Restarting": "wait",
    "Downloading": "move",
    "Uploading": "move",
    "InProgress": "move",
    "Creating": "move",
    "Updating": "move",
}


@dataclass(frozen=True)
class JobView:
    """One training job at one moment (``now``); durations in seconds, times in service seconds since the epoch."""

    now: float
    region: str
    name: str
    status: str
    secondary: str
    failure_reason: str
    spot: bool
    instance_type: str
    instance_count: int
    created: float
    starts: int
    interruptions: int
    training_seconds: float
    billable_seconds: float
    holds_instances: bool
    terminal: bool
    transitions: tuple[dict[str, Any], ...]
    max_runtime: float
    max_wait: float | None
    checkpoint_uri: str
    model_uri: str
    last_stream: int

    @classmethod
    def of(cls, job: TrainingJob, now: float) -> JobView:
        """Return what a job is at a moment."""
        with job.lock:
            trained = job.trained(now)
            return cls(
                now=now,
                region=job.region,
                name=job.name,
                status=job.status,
                secondary=job.secondary,
                failure_reason=job.told_reason or "",
                spot=job.spot,
                instance_type=job.instance_type,
                instance_count=job.instance_count,
                created=job.creation_time,
                starts=job.starts,
                interruptions=job.interruptions,
                training_seconds=trained,
                billable_seconds=billable_seconds(trained, job.instance_type, job.spot),
                holds_instances=job.instance_start is not None,
                terminal=job.terminal,
                transitions=tuple(dict(transition) for transition in job.transitions),
                max_runtime=job.max_runtime,
                max_wait=job.max_wait,
                checkpoint_uri=str(job.request.get("CheckpointConfig", {}).get("S3Uri", "")),
                model_uri=job.model_uri,
                last_stream=job.last_stream,
            )

    @property
    def status_text(self) -> str:
        """Both statuses; one where they are the same."""
        return self.status if self.secondary == self.status else f"{self.status}: {self.secondary}"

    @property
    def status_kind(self) -> str:
        return _KINDS.get(self.secondary, "")

    @property
    def fields(self) -> dict[str, str]:
        """What a form for this job sends."""
        return {"region": self.region, "job": self.name}

    @property
    def path(self) -> str:
        """The path of its page, below the prefix of all pages."""
        return f"training/{quote(self.region, safe='')}/{quote(self.name, safe='')}"

    @property
    def instances(self) -> str:
        return f"{self.instance_count} x {self.instance_type}, {'spot' if self.spot else 'on-demand'}"

    @property
    def savings(self) -> str:
        if not self.training_seconds:
            return ""
        return f"{100 * (1 - self.billable_seconds / self.training_seconds):.1f} %"

    @property
    def can_be_interrupted(self) -> bool:
        return self.spot and self.holds_instances and self.status == "InProgress"

    @property
    def can_be_stopped(self) -> bool:
        return self.status == "InProgress"


def training_jobs(backend: Backend) -> tuple[list[JobView], int]:
    """Return the newest training jobs, newest first, and how many older ones there are."""
    now = backend.clock.now()
    jobs = list(backend.store.table(TRAINING_JOBS))
    newest = heapq.nlargest(MOST_JOBS, jobs, key=lambda job: job.creation_time)
    return [JobView.of(job, now) for job in newest], len(jobs) - len(newest)


@dataclass(frozen=True)
class ResourceView:
    """A resource of any other kind."""

    name: str
    region: str
    status_text: str
    created: float | None
    modified: float | None
    reason: str

    @classmethod
    def of(cls, kind: Kind[Any], item: Resource, now: float) -> ResourceView:
        """Return what a resource is at a moment, by its description."""
        described = item.describe(now)
        return cls(
            name=item.name,
            region=item.region,
            status_text=str(described.get(f"{kind.member_prefix}Status", "")),
            created=described.get("CreationTime"),
            modified=described.get("LastModifiedTime"),
            reason=str(described.get("FailureReason") or ""),
        )

    @property
    def status_kind(self) -> str:
        return _KINDS.get(self.status_text, "")


@dataclass(frozen=True)
class Section:
    """The newest resources of one kind, newest first."""

    label: str
    items: list[ResourceView]


def other_resources(backend: Backend) -> list[Section]:
    """Return a section for each other kind that there is a resource of, whatever kinds the service has."""
    now = backend.clock.now()
    return [
        Section(kind.label, [ResourceView.of(kind, item, now) for item in items[-MOST_JOBS:][::-1]])
        for kind, items in backend.store.resources()
        if kind != TRAINING_JOBS and items
    ]


@dataclass(frozen=True)
class PoolView:
    """What a market has of one instance type."""

    instance_type: str
    text: str
    kind: str
    lasts: str

    @classmethod
    def of(cls, instance_type: str, outlook: Outlook) -> PoolView:
        kind, text = {
            State.UP: ("go", "capacity"),
            State.DOWN: ("wait", "no capacity"),
            State.FAIL: ("bad", "CapacityError"),
        }[outlook.state]
        return cls(instance_type, text, kind, "" if outlook.lasts == math.inf else duration(outlook.lasts))


@dataclass(frozen=True)
class MarketView:
    """A market: its specification, and what its pools have now."""

    name: str
    spot: bool
    spec: str
    on: bool
    pools: list[PoolView]


def markets(backend: Backend) -> list[MarketView]:
    """Return both markets."""
    capacity = backend.capacity
    return [
        MarketView(
            name=name,
            spot=spot,
            spec=capacity.market(spot=spot),
            on=capacity.is_on(spot=spot),
            pools=[PoolView.of(*pool) for pool in capacity.pools(spot=spot).items()],
        )
        for spot, name in ((True, "Spot"), (False, "On-demand"))
    ]


@dataclass(frozen=True)
class Step:
    """One transition of a job.

    :param begin: as a part of the whole life so far, between 0 and 1; so is ``length``.
    :param after: seconds since the first transition.
    """

    status: str
    kind: str
    begin: float
    length: float
    after: float
    seconds: float
    message: str


def timeline(view: JobView) -> list[Step]:
    """Return a job's transitions."""
    if not view.transitions:
        return []
    begin = view.transitions[0]["StartTime"]
    whole = max(view.transitions[-1].get("EndTime", view.now) - begin, 1e-6)
    steps = []
    for transition in view.transitions:
        status, after = str(transition["Status"]), transition["StartTime"] - begin
        seconds = transition.get("EndTime", view.now) - transition["StartTime"]
        steps.append(
            Step(
                status=status,
                kind=_KINDS.get(status, ""),
                begin=after / whole,
                length=seconds / whole,
                after=after,
                seconds=seconds,
                message=str(transition.get("StatusMessage") or ""),
            )
        )
    return steps


@dataclass(frozen=True)
class LogTail:
    """The end of one log stream, or why it cannot be read."""

    stream: str
    lines: list[str]
    error: str = ""


def log_tails(backend: Backend, view: JobView) -> Iterator[LogTail]:
    """Return the end of what the hosts of the newest start have printed."""
    for host in range(1, min(view.instance_count, LOG_HOSTS) + 1) if view.last_stream else ():
        stream = f"{view.name}/algo-{host}-{view.last_stream}"
        try:
            answer = backend.aws.client("logs", view.region).get_log_events(
                logGroupName=LOG_GROUP, logStreamName=stream, limit=LOG_LINES, startFromHead=False
            )
        except (ClientError, BotoCoreError) as error:
            # Logs do not outlive the service; a region may be none that botocore knows.
            yield LogTail(stream, [], str(error))
        else:
            yield LogTail(stream, [event["message"] for event in answer["events"][-LOG_LINES:]])
