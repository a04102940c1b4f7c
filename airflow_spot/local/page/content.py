"""What the web page shows: the jobs, one job's life, and the markets. Read only.

Each value is taken by name from what a job is. A request's hyperparameters, environment, command and tags are never
among them; what a script prints is its own affair.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from botocore.exceptions import BotoCoreError, ClientError

from airflow_spot.local.backend import Backend
from airflow_spot.local.market.capacity import Outlook
from airflow_spot.local.market.spec import State
from airflow_spot.local.storage.store import Kind, Resource
from airflow_spot.local.training.job import TRAINING_JOBS, TrainingJob
from airflow_spot.local.training.process_instances import LOG_GROUP
from airflow_spot.render.tiles import Tile
from airflow_spot.render.words import NOTHING, duration, number, rough

MOST_JOBS = 200
LOG_HOSTS = 4
LOG_LINES = 40

#: The kinds of statuses, as the chips of the style sheet have them.
_KINDS = {
    "Training": "run",
    "Completed": "ok",
    "InService": "ok",
    "Interrupted": "bad",
    "Failed": "bad",
    "MaxRuntimeExceeded": "bad",
    "MaxWaitTimeExceeded": "bad",
    "Starting": "wait",
    "Pending": "wait",
    "Restarting": "wait",
    "Downloading": "run",
    "Uploading": "run",
    "InProgress": "run",
    "Creating": "run",
    "Updating": "run",
}


@dataclass(frozen=True)
class JobView:
    """
    One training job at one moment (``now``), in the figures that SageMaker's API gives.

    Durations are in seconds, times in service seconds since 1970.
    """

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
    training_seconds: int
    billable_seconds: int | None
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
            described = job.describe(now)
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
                training_seconds=described.get("TrainingTimeInSeconds", 0),
                billable_seconds=described.get("BillableTimeInSeconds"),
                holds_instances=job.instance_start is not None,
                terminal=job.terminal,
                transitions=tuple(dict(transition) for transition in job.transitions),
                max_runtime=job.max_runtime,
                max_wait=job.max_wait,
                checkpoint_uri=str(job.request.get("CheckpointConfig", {}).get("S3Uri", "")),
                # SageMaker names it for every job that has ended; that it was made is another matter.
                model_uri=job.model_uri if job.secondary == "Completed" else "",
                last_stream=job.last_stream,
            )

    @property
    def status_text(self) -> str:
        """Both statuses; one where they are the same."""
        return self.status if self.secondary == self.status else f"{self.status}: {self.secondary}"

    @property
    def status_kind(self) -> str:
        return _KINDS.get(self.secondary, "dim")

    @property
    def age(self) -> float:
        """How long it has been there: until its end, or now."""
        end = self.transitions[-1].get("EndTime", self.now) if self.transitions else self.now
        return max(0.0, (end if self.terminal else self.now) - self.created)

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
        """AWS's own figure; nothing before it says what it bills."""
        if not self.training_seconds or self.billable_seconds is None:
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
        return _KINDS.get(self.status_text, "dim")


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
            State.UP: ("ok", "capacity"),
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
    """
    One transition of a job.

    :param after: since the job was created, in words.
    :param lasted: for how long, in words.
    """

    status: str
    kind: str
    after: str
    lasted: str
    message: str


def steps(view: JobView) -> list[Step]:
    """Return a job's transitions."""
    found = []
    for transition in view.transitions:
        status = str(transition["Status"])
        seconds = transition.get("EndTime", view.now) - transition["StartTime"]
        found.append(
            Step(
                status=status,
                kind=_KINDS.get(status, "dim"),
                after=duration(transition["StartTime"] - view.created),
                lasted=duration(seconds) if seconds >= 0.5 else "under 1 s",
                message=str(transition.get("StatusMessage") or ""),
            )
        )
    return found


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


def tiles(jobs: Sequence[JobView]) -> list[Tile]:
    """Return the figures of the jobs that are shown."""
    live = sum(1 for job in jobs if not job.terminal)
    failed = sum(1 for job in jobs if job.status == "Failed")
    taken = sum(job.interruptions for job in jobs)
    over = [job for job in jobs if job.billable_seconds is not None]
    trained, billed = sum(job.training_seconds for job in over), sum(job.billable_seconds or 0 for job in over)
    saved = f"{100 * (1 - billed / trained):.1f} %" if trained else NOTHING
    return [
        Tile("Training jobs", number(len(jobs)), f"{live} in progress" if live else "none in progress"),
        Tile("Failed", number(failed), "of them", "bad" if failed else ""),
        Tile("Interruptions", number(taken), "instances taken"),
        Tile("Trained", rough(sum(job.training_seconds for job in jobs)), f"{duration(billed)} billed"),
        Tile("Savings", saved, "as AWS counts, of what has ended"),
    ]
