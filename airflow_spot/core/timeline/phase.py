"""What a run does now, in one word of the ledger's format, since when and why."""

from __future__ import annotations

from airflow_spot.core.attempt import Attempt
from airflow_spot.core.outcomes import ENDED_STATUSES, WAITING_STATUSES
from airflow_spot.core.timeline.state import LedgerState, Phase

#: Secondary statuses in which a job has its instances, and its script does not run yet.
_STARTING = frozenset({"Downloading", "DownloadingTrainingImage", "PreparingTrainingStack"})
_STOPPING = frozenset({"Stopping", "MaxRuntimeExceeded", "MaxWaitTimeExceeded", "Stopped"})


def phase_of(state: LedgerState) -> Phase:
    """Return what a run does now: by the word of an event, else by its newest job."""
    if state.phase is not None:
        return state.phase
    if state.awaited is not None:
        name, status = state.awaited
        return Phase(_word(status), state.began, f"training job {name}, which was adopted")
    job = state.live
    if job is None:
        ended = state.attempts[-1].ended if state.attempts else None
        return Phase("pausing", ended or state.began, "no training job is live")
    return _of_job(job, state)


def _of_job(job: Attempt, state: LedgerState) -> Phase:
    if job.status in ENDED_STATUSES:
        # Whoever waits in a worker reads how it ended, and decides. Until then nothing is over.
        return Phase("uploading" if job.status == "Completed" else "pausing", job.ended or state.began)
    word = "stopping" if job.status == "Stopping" else _word(job.secondary_status)
    start = job.starts[-1] if job.starts else None
    moments = {
        "waiting": start.asked if start else None,
        "starting": (start.granted or start.asked) if start else None,
        "training": start.training if start else None,
        "uploading": job.uploading,
        "stopping": start.ended if start else None,
    }
    reason = "capacity" if word == "waiting" else ""
    return Phase(word, moments.get(word) or job.created or state.began, reason)


def _word(status: str) -> str:
    if status in WAITING_STATUSES:
        return "waiting"
    if status in _STARTING:
        return "starting"
    if status in _STOPPING:
        return "stopping"
    return "uploading" if status in ("Uploading", "Completed") else "training"
