"""A job's life as the renderer's values: its starts from its transitions, and its checkpoints from the audit log."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from markupsafe import Markup

from airflow_spot.local.page.content import JobView
from airflow_spot.render import svg
from airflow_spot.render.lanes import MINI, mini
from airflow_spot.render.ledger_format import VERSION, AttemptLine, Timeline
from airflow_spot.render.picture import Moment, Picture, draw
from airflow_spot.render.scale import Scale
from airflow_spot.render.words import duration, plural

#: Of the audit log, its end is looked through: a page loads itself every two seconds.
TAIL_BYTES = 2 * 1024 * 1024
#: Files that are uploaded within these seconds are one checkpoint.
TOGETHER = 1.0

_WAITING = frozenset({"Starting", "Pending", "Interrupted", "Restarting", "LaunchingMLInstances"})
_WORKING = frozenset({"Downloading", "Training", "Uploading", "DownloadingTrainingImage", "PreparingTrainingStack"})


def starts(transitions: Sequence[Mapping[str, Any]], created: float) -> list[list[float | None]]:
    """
    Return the starts of a job, each ``[asked, granted, training, lost, ended]`` in seconds after it was created.

    :param transitions: oldest first, times in seconds since 1970.
    """
    found: list[list[float | None]] = [[0.0, None, None, None, None]]
    for transition in transitions:
        status, begun = transition["Status"], max(0.0, transition["StartTime"] - created)
        last = found[-1]
        if status == "Interrupted":
            last[3] = begun
            last[4] = begun if last[4] is None else last[4]
            found.append([begun, None, None, None, None])
        elif status in _WORKING:
            last[1] = begun if last[1] is None else last[1]
            if status == "Training" and last[2] is None:
                last[2] = begun
            last[4] = max(0.0, transition["EndTime"] - created) if "EndTime" in transition else None
        elif status in _WAITING and last[1] is not None:
            last[4] = begun if last[4] is None else last[4]
            found.append([begun, None, None, None, None])
    return found


def checkpoints(audit: Path, job: str, created: float) -> list[list[Any]]:
    """Return when a job's checkpoints came, each ``[seconds after it was created, None]``, as far as the log tells."""
    times: list[float] = []
    try:
        with audit.open("rb") as file:
            file.seek(max(0, audit.stat().st_size - TAIL_BYTES))
            lines = file.read().splitlines()
    except OSError:
        return []
    name = json.dumps(job).encode()
    for line in lines:
        if name not in line or b'"checkpoint"' not in line:
            continue
        try:
            said = json.loads(line)
            is_one = said["event"] == "checkpoint" and said["action"] == "upload" and said["job"] == job
            at = float(said["time"]) - created
        except (ValueError, KeyError, TypeError):  # the first line may be cut
            continue
        if is_one and (not times or at - times[-1] >= TOGETHER):
            times.append(max(0.0, at))
    return [[at, None] for at in times]


def picture(view: JobView, audit: Path) -> Picture:
    """
    Return a job's life to scale.

    :param audit: the log, for its checkpoints.
    """
    attempt = _attempt(view, checkpoints(audit, view.name, view.created))
    at = Moment(view.age, live=not view.terminal)
    drawn = draw(_timeline(view, attempt), [attempt], [], at, newest=True)
    # A lane of a run is named by its number; this is the only one.
    market = "spot" if view.spot else "on-demand"
    return replace(drawn, lanes=[replace(drawn.lanes[0], name=view.instance_type, sub=f"{market} · {view.secondary}")])


def lane(view: JobView) -> Markup:
    """Return a job's life in a small lane, on a scale of its own."""
    told = (
        f"{view.status_text}, {plural(view.interruptions, 'interruption')}, trained {duration(view.training_seconds)}"
    )
    scale = Scale(view.created, view.created + max(view.age, 1.0))
    return svg.picture(MINI, mini([_attempt(view, [])], scale, view.created, view.age), told)


def _attempt(view: JobView, ticks: list[list[Any]]) -> AttemptLine:
    uploads = [each for each in view.transitions if each["Status"] == "Uploading"]
    uploading: list[float] | None = None
    if uploads:
        end = uploads[-1].get("EndTime")
        uploading = [uploads[-1]["StartTime"] - view.created, view.age if end is None else end - view.created]
    return {
        "generation": 1,
        "number": 1,
        "role": "",
        "job": view.name,
        "type": view.instance_type,
        "count": view.instance_count,
        "spot": view.spot,
        "rung": "",
        "why": "",
        "tried_by": None,
        "created": 0.0,
        "ended": view.age if view.terminal else None,
        "status": view.status,
        "secondary_status": view.secondary,
        "outcome": view.secondary.lower() if view.terminal else None,
        "label": view.status_text,
        "reason": "",
        "exit_code": None,
        "interruptions": view.interruptions,
        "training_seconds": view.training_seconds,
        "billable_seconds": view.billable_seconds,
        "cost": None,
        "checkpoint_s3_uri": view.checkpoint_uri or None,
        "starts": starts(view.transitions, view.created),
        "uploading": uploading,
        "ticks": ticks,
        "again": [],
        "more_starts": 0,
        "more_ticks": 0,
    }


def _timeline(view: JobView, attempt: AttemptLine) -> Timeline:
    """Return a job's life as the renderer draws it: a run of one attempt."""
    return {
        "v": VERSION,
        "key": "",
        "dag_id": "",
        "run_id": "",
        "task_id": "",
        "map_index": -1,
        "try_number": 1,
        "region": view.region,
        "partition": "aws",
        "t0": view.created,
        "updated": view.age,
        "state": "completed" if view.terminal else "training",
        "since": 0.0,
        "reason": "",
        "generation": 1,
        "attempts": [attempt],
        "more_attempts": 0,
        "decisions": [],
        "more_decisions": 0,
        "progress": None,
        "points": [],
        "model": None,
        "deadline": None,
        "forecast": None,
        "totals": {},
    }
