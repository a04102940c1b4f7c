"""What becomes of jobs when the service comes back after a crash."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

from airflow_spot.local.aws.events import TRAINING
from airflow_spot.local.backend import Backend
from airflow_spot.local.errors import InternalError
from airflow_spot.local.state_changes import publish_event
from airflow_spot.local.training.job import TRAINING_JOBS, TrainingJob

TAIL_BYTES = 64 * 1024


def last_time(audit: Path) -> float:
    """Return when the service before this one was last alive, by its audit log; 0 if there was none."""
    if not audit.exists():
        return 0.0
    with audit.open("rb") as file:
        file.seek(max(0, audit.stat().st_size - TAIL_BYTES))
        lines = file.read().split(b"\n")
    for line in reversed(lines[:-1]):
        try:
            return float(json.loads(line)["time"])
        except (ValueError, KeyError):
            continue
    return 0.0


def lock(directory: Path) -> int:
    """Check that no other service uses the directory.

    :returns: a descriptor that holds the lock for as long as this process lives.
    :raises OSError: if one does.
    """
    fd = os.open(directory / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise OSError(f"another Local SageMaker uses {directory}") from None
    return fd


def remember(backend: Backend) -> None:
    """Put the jobs and tags of the service before this one into the store."""
    for job in backend.journal.jobs:
        backend.store.table(TRAINING_JOBS).add(job)
    backend.store.tags.update(backend.journal.tags)


def resume(backend: Backend, died: float) -> None:
    """Resume all jobs that have not ended.

    Those that held instances lost them: a spot job is interrupted, an on-demand job is restarted if its
    RetryStrategy allows it, or else fails with InternalServerError.

    :param died: when their instances went away.
    """
    for job in backend.journal.jobs:
        if not job.terminal:
            _resume(backend, job, died)


def _resume(backend: Backend, job: TrainingJob, died: float) -> None:
    now = backend.clock.now()
    with job.lock:
        held = job.instance_start is not None
        if held:
            job.end_instances(max(died, job.instance_start or 0.0))
        stopping = job.status == "Stopping"
        if held and not stopping:
            if job.spot:
                job.interruptions += 1
                job.enter("Interrupted", now)
            elif job.retries < job.max_retries:
                job.retries += 1
                job.enter("Restarting", now)
            else:
                job.finish("Failed", "Failed", now, str(InternalError()))
        if not job.terminal and job.secondary in ("Interrupted", "Restarting", "Downloading"):
            job.enter("Starting", now)
        backend.journal.changed(job)
        publish_event(backend, TRAINING, job)
        backend.audit.write(
            "state",
            kind="training",
            job=job.name,
            status=job.status,
            secondary=job.secondary,
            message="the service was restarted",
        )
        exceeded = job.trained(now) >= job.max_runtime or (
            job.max_wait is not None and now - job.creation_time >= job.max_wait
        )
    if not job.terminal:
        backend.engine.submit(job)
        # A job that was Stopping for a limit ends by that limit; any other was stopped by a StopTrainingJob.
        if stopping and not exceeded:
            backend.engine.stop(job)
