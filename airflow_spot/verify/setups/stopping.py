"""How jobs end that are stopped, or reach a limit of their own."""

from __future__ import annotations

from datetime import datetime

from airflow_spot.verify.experiment import Experiment, Setup
from airflow_spot.verify.pace import Length
from airflow_spot.verify.scratch import Description, NotReached, Scratch, messages, statuses
from airflow_spot.verify.scripts import OUTLIVE_SIGTERM
from airflow_spot.verify.verdicts import between, equals, in_order, one_of

_LOCAL = "docs/local-sagemaker.md"


def _waiting(scratch: Scratch) -> None:
    """Stop a spot job before it has its instance."""
    facts = scratch.facts
    name = scratch.create(scratch.request(spot=True))
    before = scratch.describe(name)
    scratch.stop(name)
    facts["status_when_stopped"] = before["SecondaryStatus"]
    job = scratch.end(name)
    if job.get("TrainingStartTime") is not None or "Downloading" in statuses(job):
        raise NotReached("the job had its instance before the stop")
    facts["end"] = f"{job['TrainingJobStatus']}, {job['SecondaryStatus']}"
    facts["statuses"], facts["messages"] = statuses(job), messages(job)
    facts["billable_seconds"] = job.get("BillableTimeInSeconds")
    facts["training_seconds"] = job.get("TrainingTimeInSeconds")
    facts["failure_reason"] = job.get("FailureReason")
    stopping = next(each for each in job["SecondaryStatusTransitions"] if each["Status"] == "Stopping")
    facts["stopping_took_seconds"] = round((job["LastModifiedTime"] - stopping["StartTime"]).total_seconds(), 1)


WAITING = Setup("waiting", (Length.BRIEF,), _waiting)


def _grace(scratch: Scratch) -> None:
    """Stop a script that does not heed SIGTERM."""
    name = scratch.create(scratch.request(OUTLIVE_SIGTERM, length=Length.TRAINS, checkpoints="ck", seconds=600))
    scratch.until(name, "Training")
    scratch.pause(scratch.service.pace.poll)  # the status may come before the script has set its handler
    while scratch.read_json("ck/seen.json") is None:
        if scratch.describe(name)["TrainingJobStatus"] != "InProgress":
            raise NotReached("the job ended before it wrote a checkpoint")
        scratch.pause(scratch.service.pace.poll)
    scratch.stop(name)
    _note_grace(scratch, name, scratch.end(name))


def _note_grace(scratch: Scratch, name: str, job: Description) -> None:
    facts = scratch.facts
    facts["end"] = f"{job['TrainingJobStatus']}, {job['SecondaryStatus']}"
    facts["failure_reason"] = job.get("FailureReason")
    facts["statuses"], facts["messages"] = statuses(job), messages(job)
    saved = scratch.read_json("ck/seen.json") or {}
    try:
        model = scratch.model(name) or {}
    except NotReached:
        model = {}
    facts["checkpoint_of_the_grace_uploaded"] = bool(saved.get("sigterm"))
    facts["model_of_the_grace_uploaded"] = bool(model.get("sigterm"))
    facts["sigterm"] = bool(saved.get("sigterm") or model.get("sigterm"))
    if facts["sigterm"]:
        grace = max(saved.get("grace", 0.0), model.get("grace", 0.0))
        facts["grace_seconds"] = round(grace, 1)
        facts["grace_beyond_promise_seconds"] = round(grace - scratch.service.pace.grace, 1)


GRACE = Setup("grace", (Length.TRAINS,), _grace)


def _limited(scratch: Scratch, *, spot: bool) -> tuple[str, Description]:
    max_run = scratch.service.pace.max_run[Length.LIMITED]
    # As long as it may run, so that the wait for its instance makes MaxWaitTimeInSeconds the first limit.
    wait = max_run if spot else None
    request = scratch.request(OUTLIVE_SIGTERM, length=Length.LIMITED, spot=spot, max_wait=wait, checkpoints="ck")
    name = scratch.create(request)
    return name, scratch.end(name)


def _max_runtime(scratch: Scratch) -> None:
    name, job = _limited(scratch, spot=False)
    if "Training" not in statuses(job):
        raise NotReached(f"the job never trained: {job.get('FailureReason') or job['SecondaryStatus']}")
    max_run = scratch.service.pace.max_run[Length.LIMITED]
    scratch.facts["beyond_limit_seconds"] = _late(job, job["TrainingStartTime"], max_run)
    _note_grace(scratch, name, job)


def _max_wait(scratch: Scratch) -> None:
    name, job = _limited(scratch, spot=True)
    if "Training" not in statuses(job):
        raise NotReached(f"the job never trained: {job.get('FailureReason') or job['SecondaryStatus']}")
    max_wait = scratch.service.pace.max_run[Length.LIMITED]
    scratch.facts["beyond_limit_seconds"] = _late(job, job["CreationTime"], max_wait)
    _note_grace(scratch, name, job)


def _late(job: Description, begun: datetime, limit: int) -> float | None:
    """Return how long after a limit a job was told to end."""
    for each in job["SecondaryStatusTransitions"]:
        if each["Status"] == "Stopping":
            seconds: float = (each["StartTime"] - begun).total_seconds()
            return round(seconds - limit, 1)
    return None


MAX_RUNTIME = Setup("max-runtime", (Length.LIMITED,), _max_runtime)
MAX_WAIT = Setup("max-wait", (Length.LIMITED,), _max_wait)

EXPERIMENTS = (
    Experiment(
        "stop-waiting",
        "StopTrainingJob of a spot job that waits for its instance",
        "It ends as Stopped without a reason, and nothing is billed.",
        f"[A] {_LOCAL}",
        WAITING,
        (
            equals("end", "Stopped, Stopped"),
            in_order("statuses", "Starting", "Stopping", "Stopped"),
            one_of("billable_seconds", None, 0),
            equals("failure_reason", None),
        ),
        ("status_when_stopped", "training_seconds", "messages", "stopping_took_seconds"),
    ),
    Experiment(
        "stop-training",
        "StopTrainingJob of a job that trains",
        "Training, Stopping, Stopped; no reason.",
        f"[D] {_LOCAL}",
        GRACE,
        (
            equals("end", "Stopped, Stopped"),
            in_order("statuses", "Training", "Stopping", "Stopped"),
            equals("failure_reason", None),
        ),
        ("messages",),
    ),
    Experiment(
        "stop-grace",
        "SIGTERM at a stop, and how long the script then has",
        "SIGTERM reaches the script; SIGKILL comes 120 s later (Local SageMaker: what its --grace says).",
        f"[D] {_LOCAL}",
        GRACE,
        (equals("sigterm", True), between("grace_beyond_promise_seconds", -3, 15)),
        ("grace_seconds",),
    ),
    Experiment(
        "stop-uploads",
        "what the script writes between SIGTERM and SIGKILL",
        "Checkpoints and model are uploaded.",
        f"[D] {_LOCAL}",
        GRACE,
        (equals("checkpoint_of_the_grace_uploaded", True), equals("model_of_the_grace_uploaded", True)),
    ),
    Experiment(
        "max-runtime",
        "a job that trains up to MaxRuntimeInSeconds",
        "It is Stopped, MaxRuntimeExceeded, after Uploading, without a reason, at most five minutes late; SIGTERM "
        "reaches the script.",
        f"[T] {_LOCAL}",
        MAX_RUNTIME,
        (
            equals("end", "Stopped, MaxRuntimeExceeded"),
            in_order("statuses", "Training", "Stopping", "Uploading", "MaxRuntimeExceeded"),
            equals("failure_reason", None),
            between("beyond_limit_seconds", -5, 300),
            equals("sigterm", True),
        ),
        ("messages", "grace_seconds", "checkpoint_of_the_grace_uploaded"),
    ),
    Experiment(
        "max-wait-training",
        "a spot job that trains up to MaxWaitTimeInSeconds",
        "It is Stopped, MaxWaitTimeExceeded, after Uploading, without a reason, at most five minutes late.",
        f"[T] {_LOCAL}",
        MAX_WAIT,
        (
            equals("end", "Stopped, MaxWaitTimeExceeded"),
            in_order("statuses", "Training", "Stopping", "Uploading", "MaxWaitTimeExceeded"),
            equals("failure_reason", None),
            between("beyond_limit_seconds", -5, 300),
        ),
        ("messages", "sigterm", "grace_seconds", "checkpoint_of_the_grace_uploaded"),
    ),
)
