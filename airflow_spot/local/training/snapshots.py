"""How jobs look from outside: as they are, or as a lagging service shows them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from airflow_spot.local.backend import Backend
from airflow_spot.local.training.job import TERMINAL, TRAINING_JOBS, TrainingJob

_END_FIELDS = (
    "TrainingEndTime",
    "TrainingTimeInSeconds",
    "BillableTimeInSeconds",
    "FailureReason",
    "ModelArtifacts",
)


def snapshot(backend: Backend, job: TrainingJob, operation: str) -> dict[str, Any]:
    """Return a job's description, as an operation shows it now."""
    with job.lock:
        answer = job.describe(backend.clock.now())
    return _frozen(backend, answer, operation)


def snapshots(
    backend: Backend, region: str, operation: str, *, full: bool
) -> Iterator[tuple[TrainingJob, dict[str, Any]]]:
    """Return all jobs of a region that an operation shows, with their descriptions or (``full`` is False) summaries."""
    lag = backend.faults.state("lag", operation)
    moment = None if lag is None else backend.clock.now() - lag
    for job in backend.store.table(TRAINING_JOBS).list(region):
        now = backend.clock.now()
        with job.lock:
            answer = job.describe(now) if full or moment is not None else job.summary(now)
        if moment is not None:
            past = as_of(answer, moment)
            if past is None:
                continue
            answer = past if full else {key: value for key, value in past.items() if key in _SUMMARY}
        yield job, _frozen(backend, answer, operation)


_SUMMARY = frozenset(
    {
        "TrainingJobName",
        "TrainingJobArn",
        "CreationTime",
        "TrainingEndTime",
        "LastModifiedTime",
        "TrainingJobStatus",
        "SecondaryStatus",
    }
)


def as_of(answer: dict[str, Any], moment: float) -> dict[str, Any] | None:
    """Return a description as it was at a moment, from its transitions; None if the job did not exist."""
    if answer["CreationTime"] > moment:
        return None
    transitions = [dict(item) for item in answer["SecondaryStatusTransitions"] if item["StartTime"] <= moment]
    if not transitions:
        transitions = [{"Status": "Starting", "StartTime": answer["CreationTime"], "StatusMessage": ""}]
    last = transitions[-1]
    if len(transitions) < len(answer["SecondaryStatusTransitions"]):
        last.pop("EndTime", None)
    past = {**answer, "SecondaryStatusTransitions": transitions, "SecondaryStatus": last["Status"]}
    past["TrainingJobStatus"] = _status(last["Status"], [item["Status"] for item in transitions])
    past["LastModifiedTime"] = last["StartTime"]
    if past["TrainingJobStatus"] not in TERMINAL:
        for name in _END_FIELDS:
            past.pop(name, None)
    if past.get("TrainingStartTime", 0) > moment:
        del past["TrainingStartTime"]
    return past


def _status(secondary: str, so_far: list[str]) -> str:
    if secondary in ("Completed", "Failed", "Stopped"):
        return secondary
    if secondary in ("MaxRuntimeExceeded", "MaxWaitTimeExceeded"):
        return "Stopped"
    return "Stopping" if "Stopping" in so_far else "InProgress"


def _frozen(backend: Backend, answer: dict[str, Any], operation: str) -> dict[str, Any]:
    frozen = backend.faults.state("frozen-last-modified", operation) is not None
    if frozen and answer["TrainingJobStatus"] == "InProgress":
        return {**answer, "LastModifiedTime": answer["CreationTime"]}
    return answer
