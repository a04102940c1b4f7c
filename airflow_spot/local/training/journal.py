"""What a service with a directory of its own remembers over a crash: training jobs and tags.

Guarantee: what was answered before a SIGKILL is there after it, since each change is one write to a file opened for
appending, before the answer goes out. (A crash of the machine itself may lose the last lines; nothing is fsynced.)
"""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

from airflow_spot.local.training.job import TrainingJob

_STATE = (
    "status",
    "secondary",
    "last_modified",
    "transitions",
    "failure_reason",
    "training_start",
    "training_end",
    "starts",
    "interruptions",
    "retries",
    "training_seconds",
    "stopping_seconds",
    "instance_start",
    "instance_type",
    "last_stream",
    "metrics",
)


class Journal:
    """An append-only file of JSON lines; for a directory that will not outlive the service, None and nothing happens.

    :param path: the file.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._fd: int | None = None
        self.jobs: list[TrainingJob] = []
        """Those of earlier services in this directory, as they were last written down."""
        self.tags: dict[str, dict[str, str]] = {}
        """Theirs, by ARN."""
        if path is not None:
            self._load(path)
            self._compact(path)
            self._fd = os.open(path, os.O_APPEND | os.O_WRONLY | os.O_CLOEXEC)

    def created(self, job: TrainingJob) -> None:
        """Record a new job, with its request."""
        self._write(_created(job))

    def changed(self, job: TrainingJob) -> None:
        """Record a job's new state. Its lock is held."""
        if self._fd is not None:
            self._write(_changed(job))

    def deleted(self, job: TrainingJob) -> None:
        """Record that a job and its tags are gone."""
        self._write({"deleted": [job.region, job.name], "arn": job.arn})

    def tagged(self, arn: str, tags: dict[str, str]) -> None:
        """Record all tags of a training job; those of other kinds are not kept, as these are not."""
        if ":training-job/" in arn:
            self._write({"tagged": arn, "tags": tags})

    def close(self) -> None:
        """Close the file; later changes are not remembered."""
        with self._lock:
            if self._fd is not None:
                os.close(self._fd)
                self._fd = None

    def _write(self, line: dict[str, Any]) -> None:
        with self._lock:
            if self._fd is not None:
                os.write(self._fd, json.dumps(line).encode() + b"\n")

    def _load(self, path: Path) -> None:
        jobs: dict[tuple[str, str], TrainingJob] = {}
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        # A line that a crash cut short has no line end.
        for line in map(json.loads, text[: text.rfind("\n") + 1].splitlines()):
            if "created" in line:
                region, name = line["created"]
                jobs[region, name] = TrainingJob(region, name, line["request"], line["creation_time"])
            elif "changed" in line:
                job = jobs.get(tuple(line["changed"]))
                for field, value in line["state"].items() if job is not None else ():
                    setattr(job, field, value)
            elif "deleted" in line:
                jobs.pop(tuple(line["deleted"]), None)
                self.tags.pop(line["arn"], None)
            elif "tagged" in line:
                self.tags[line["tagged"]] = line["tags"]
        self.jobs = list(jobs.values())
        # A file may hold those of other resources too.
        known = {job.arn for job in self.jobs}
        self.tags = {arn: tags for arn, tags in self.tags.items() if arn in known}

    def _compact(self, path: Path) -> None:
        lines = [entry for job in self.jobs for entry in (_created(job), _changed(job))]
        lines += [{"tagged": arn, "tags": tags} for arn, tags in self.tags.items()]
        partial = path.with_suffix(".new")
        partial.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
        partial.chmod(0o600)
        partial.replace(path)


def _created(job: TrainingJob) -> dict[str, Any]:
    return {"created": [job.region, job.name], "request": job.request, "creation_time": job.creation_time}


def _changed(job: TrainingJob) -> dict[str, Any]:
    return {"changed": [job.region, job.name], "state": {name: getattr(job, name) for name in _STATE}}
