"""What the web page shows: the jobs, one job's life, and the markets. Read only.

Each value is taken by name from what a job is. A request's hyperparameters, environment, command and tags are never
among them; what a script prints is its own affair.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from botocore.exceptions import BotoCoreError, ClientError
from markupsafe import Markup

from airflow_spot.local.backend import Backend
from airflow_spot.local.market.capacity import Outlook
from airflow_spot.local.market.prices import billable_seconds
from airflow_spot.local.market.spec import State
from airflow_spot.local.page import html
from airflow_spot.local.page.html import Content
from airflow_spot.local.storage.store import Kind, Resource
from airflow_spot.local.training.job import TRAINING_JOBS, TrainingJob
from airflow_spot.local.training.process_instances import LOG_GROUP

MOST_JOBS = 200
LOG_HOSTS = 4
LOG_LINES = 40

#: Makes the button of an action, given its label and fields; the page knows path and token.
Button = Callable[[str, dict[str, str]], Markup]

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
    """One training job at one moment (``now``), seconds and service times throughout."""

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
        """Look at a job."""
        with job.lock:
            trained = job.trained(now)
            return cls(
                now=now,
                region=job.region,
                name=job.name,
                status=job.status,
                secondary=job.secondary,
                failure_reason=job.failure_reason or "",
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
    def path(self) -> str:
        """Of its page, below the page's own."""
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


def training_jobs(backend: Backend, prefix: str, button: Button) -> Content:
    """
    The list of training jobs, newest first.

    :param prefix: path of the jobs' pages.
    """
    now = backend.clock.now()
    jobs = list(backend.store.table(TRAINING_JOBS))
    if not jobs:
        return html.paragraph("None yet. Send some with the variables that airflow-spot local --env prints.")
    newest = heapq.nlargest(MOST_JOBS, jobs, key=lambda job: job.creation_time)
    rows = []
    for view in (JobView.of(job, now) for job in newest):
        row: list[Content] = [
            html.link(prefix + view.path, view.name),
            status_badge(view.status, view.secondary),
            view.instances,
            view.region,
            html.moment(view.created),
            view.interruptions,
            html.duration(view.training_seconds),
            html.duration(view.billable_seconds),
            view.savings,
            button("interrupt", _fields(view)) if view.can_be_interrupted else "",
        ]
        rows.append(row)
    columns = ("job", "status", "instances", "region", "created (UTC)", "interruptions", "training", "billable")
    shown: Content = html.table((*columns, "savings", ""), rows)
    if len(jobs) > len(newest):
        shown = html.join((shown, html.paragraph(f"{len(jobs) - len(newest)} older ones are not shown.")))
    return shown


def other_resources(backend: Backend) -> Iterable[Content]:
    """A list of each other kind that there is, whatever kinds the service has."""
    now = backend.clock.now()
    for kind, items in backend.store.resources():
        if kind == TRAINING_JOBS or not items:
            continue
        rows = [_resource(kind, item, now) for item in items[-MOST_JOBS:][::-1]]
        yield html.heading(f"{kind.label}s")
        yield html.table(("name", "status", "region", "created (UTC)", "modified (UTC)", "reason"), rows)


def _resource(kind: Kind[Any], item: Resource, now: float) -> list[Content]:
    described = item.describe(now)
    status = str(described.get(f"{kind.member_prefix}Status", ""))
    return [
        html.clean(item.name),
        status_badge(status) if status else "",
        item.region,
        html.moment(described.get("CreationTime")),
        html.moment(described.get("LastModifiedTime")),
        html.clean(described.get("FailureReason") or ""),
    ]


def markets(backend: Backend, button: Button) -> Iterable[Content]:
    """Both markets: what they were told to do, and what their pools have now."""
    for spot, name in ((True, "Spot"), (False, "On-demand")):
        on = backend.capacity.is_on(spot=spot)
        spec = html.clean(backend.capacity.market(spot=spot))
        parts: list[Content] = [Markup("<strong>{}:</strong> <code>{}</code>").format(name, spec)]
        if not on:
            parts.append(html.badge("switched off", "bad"))
        if spot:
            parts.append(button("capacity off" if on else "capacity on", {}))
        yield html.paragraph(*parts)
        pools = backend.capacity.pools(spot=spot)
        if pools:
            yield html.table(("pool", "now", "for"), [_pool(*pool) for pool in pools.items()])


def _pool(instance_type: str, outlook: Outlook) -> list[Content]:
    kind, text = {
        State.UP: ("go", "capacity"),
        State.DOWN: ("wait", "no capacity"),
        State.FAIL: ("bad", "CapacityError"),
    }[outlook.state]
    lasts = "" if outlook.lasts == float("inf") else f"{html.duration(outlook.lasts)} more"
    return [instance_type, html.badge(text, kind), lasts]


def training_job(backend: Backend, view: JobView, button: Button) -> Iterable[Content]:
    """A job's own page."""
    buttons: list[Content] = []
    if view.can_be_interrupted:
        buttons.append(button("interrupt", _fields(view)))
    if view.status == "InProgress":
        buttons.append(button("stop", _fields(view)))
    yield html.paragraph(status_badge(view.status, view.secondary), *buttons)
    yield html.heading("Timeline")
    yield from timeline(view)
    yield html.heading("The job")
    yield html.facts(
        (
            ("instances", view.instances),
            ("region", view.region),
            ("created (UTC)", html.moment(view.created)),
            ("failure reason", html.clean(view.failure_reason)),
            ("starts", view.starts),
            ("interruptions", view.interruptions),
            ("training", html.duration(view.training_seconds)),
            ("billable", f"{html.duration(view.billable_seconds)}{'' if view.terminal else ' so far'}"),
            ("savings", view.savings),
            ("MaxRuntimeInSeconds", html.duration(view.max_runtime)),
            ("MaxWaitTimeInSeconds", "" if view.max_wait is None else html.duration(view.max_wait)),
            ("checkpoints", html.clean(view.checkpoint_uri)),
            ("model", html.clean(view.model_uri)),
        )
    )
    yield html.heading(f"The last lines of its log{_which(view)}")
    yield from log_tail(backend, view)


def _which(view: JobView) -> str:
    return f", start {view.starts}" if view.starts > 1 else ""


def timeline(view: JobView) -> Iterable[Content]:
    """A job's transitions: a bar of all, and a line for each."""
    if not view.transitions:
        yield html.paragraph("It has not begun.")
        return
    begin = view.transitions[0]["StartTime"]
    end = view.transitions[-1].get("EndTime", view.now)
    whole = max(end - begin, 1e-6)
    rows: list[list[Content]] = []
    segments = []
    for transition in view.transitions:
        status, started = str(transition["Status"]), transition["StartTime"]
        ended = transition.get("EndTime", view.now)
        segment = ((started - begin) / whole, (ended - begin) / whole, _KINDS.get(status, ""))
        segments.append(segment)
        rows.append(
            [
                status_badge(status),
                f"+{html.duration(started - begin)}",
                html.duration(ended - started),
                html.bar([segment]),
                html.clean(transition.get("StatusMessage") or ""),
            ]
        )
    yield html.bar(segments, "strip")
    yield html.table(("status", "after", "for", "", "message"), rows)


def log_tail(backend: Backend, view: JobView) -> Iterable[Content]:
    """The end of what the hosts of the newest start have printed."""
    if not view.last_stream:
        yield html.paragraph("Nothing has been printed.")
        return
    for host in range(1, min(view.instance_count, LOG_HOSTS) + 1):
        stream = f"{view.name}/algo-{host}-{view.last_stream}"
        try:
            answer = backend.aws.client("logs", view.region).get_log_events(
                logGroupName=LOG_GROUP, logStreamName=stream, limit=LOG_LINES, startFromHead=False
            )
        except (ClientError, BotoCoreError) as error:
            # Logs do not outlive the service; a region may be none that botocore knows.
            yield html.paragraph(html.clean(f"{stream}: {error}"))
            continue
        yield html.paragraph(Markup("<small>{}</small>").format(html.clean(stream)))
        yield html.lines(event["message"] for event in answer["events"][-LOG_LINES:])


def status_badge(status: str, secondary: str = "") -> Markup:
    """A status in its colour; of two that say the same, one."""
    newest = secondary or status
    text = newest if newest == status else f"{status}: {newest}"
    return html.badge(text, _KINDS.get(newest, ""))


def _fields(view: JobView) -> dict[str, str]:
    return {"region": view.region, "job": view.name}
