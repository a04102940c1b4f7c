"""
A spot job that trains until MaxRuntimeInSeconds, and what an interruption does to it.

On AWS an interruption cannot be caused: it is recorded if it comes. On Local SageMaker it is caused.
"""

from __future__ import annotations

import re
import time
from typing import Any

from airflow_spot.verify.experiment import Experiment, Setup
from airflow_spot.verify.pace import Length
from airflow_spot.verify.scratch import (
    Description,
    NotReached,
    Scratch,
    messages,
    statuses,
)
from airflow_spot.verify.scripts import SURVIVE
from airflow_spot.verify.verdicts import between, equals, in_order, matches

_LOCAL = "docs/local-sagemaker.md"
_BEGINS = ("Downloading", "Training")
_ENDS = ("Interrupted", "Stopping", "Uploading", "MaxRuntimeExceeded", "MaxWaitTimeExceeded")


def _interrupted(scratch: Scratch) -> None:
    service, facts = scratch.service, scratch.facts
    name = scratch.create(scratch.request(SURVIVE, length=Length.LONG, spot=True, checkpoints="ck"))
    waits: list[str] = []
    training_since: float | None = None
    meanwhile: list[str] = []
    caused = False
    for job in scratch.watch(name):
        if job["SecondaryStatus"] == "Starting" and "Training" not in statuses(job):
            waits += [text for text in messages(job)[-1:] if text not in waits]
        if job["SecondaryStatus"] == "Training" and training_since is None:
            training_since = time.monotonic()
        if "Interrupted" in statuses(job) and statuses(job).count("Training") == 1:
            meanwhile += [job["TrainingJobStatus"]] if job["TrainingJobStatus"] not in meanwhile else []
        ready = training_since is not None and time.monotonic() - training_since > service.pace.interrupt_after
        if service.control is not None and ready and not caused and scratch.read_json("ck/start-0.json") is not None:
            service.control.interrupt(name, service.region, service.pace.capacity_gap)
            caused = True
    last = scratch.end(name)
    facts["messages_while_starting"] = waits
    scratch.why["message_of_the_wait"] = "the job did not have to wait for capacity"
    if any("capacity" in text.lower() for text in waits):
        facts["message_of_the_wait"] = next(text for text in waits if "capacity" in text.lower())
    facts["end"] = f"{last['TrainingJobStatus']}, {last['SecondaryStatus']}"
    if "Training" not in statuses(last):
        raise NotReached(f"the job never trained: {last.get('FailureReason') or last['SecondaryStatus']}")
    _note_billing(facts, last)
    if "Interrupted" not in statuses(last):
        raise NotReached("no interruption came; on AWS none can be caused")
    if meanwhile:
        facts["status_until_it_trained_again"] = meanwhile
    _note_interruption(scratch, facts, last)


def _note_billing(facts: dict[str, Any], job: Description) -> None:
    training, billable = job.get("TrainingTimeInSeconds"), job.get("BillableTimeInSeconds")
    facts["training_seconds"], facts["billable_seconds"] = training, billable
    if training:
        facts["billed_part"] = round((billable or 0) / training, 2)


def _note_interruption(scratch: Scratch, facts: dict[str, Any], job: Description) -> None:
    pace, transitions = scratch.service.pace, job["SecondaryStatusTransitions"]
    facts["statuses"], facts["messages"] = statuses(job), messages(job)
    facts["interruptions"] = statuses(job).count("Interrupted")
    facts["message_of_the_interruption"] = next(
        str(each.get("StatusMessage", "")) for each in transitions if each["Status"] == "Interrupted"
    )
    first = scratch.read_json("ck/start-0.json") or {}
    second = scratch.read_json("ck/start-1.json")
    facts["sigterm_before_the_interruption"] = bool(first.get("sigterm"))
    facts["grace_before_the_interruption_seconds"] = round(first.get("grace", 0.0), 1)
    if second is None:
        raise NotReached("the job did not train again after its interruption")
    facts["checkpoint_at_the_next_start"] = "start-0.json" in second.get("found", ())
    _note_counting(facts, job, pace.max_run[Length.LONG])


def _note_counting(facts: dict[str, Any], job: Description, limit: int) -> None:
    """Note what TrainingTimeInSeconds and MaxRuntimeInSeconds count, by the seconds that each reading gives."""
    stays, span = stays_of(job)
    facts["seconds_of_each_stay"] = [round(each, 1) for each in stays]
    readings = {"all stays": sum(stays), "the last stay": stays[-1], "the gaps too": span}
    ends = [each for each in job["SecondaryStatusTransitions"] if each["Status"] == "Stopping"]
    stopping = sum((each["EndTime"] - each["StartTime"]).total_seconds() for each in ends if each.get("EndTime"))
    if job.get("BillableTimeInSeconds") is not None and readings["all stays"] > 0:
        facts["billed_part_of_all_stays"] = round(job["BillableTimeInSeconds"] / readings["all stays"], 2)
    if (training := job.get("TrainingTimeInSeconds")) is not None:
        facts["training_time_counts"] = nearest(training, {**readings, "all stays and Stopping": sum(stays) + stopping})
    if job["SecondaryStatus"] == "MaxRuntimeExceeded":
        facts["max_runtime_counts"] = nearest(limit, readings)


def stays_of(job: Description) -> tuple[list[float], float]:
    """Return how many seconds each stay on instances took, by the transitions; and from the first to the last."""
    stays: list[float] = []
    begun = first = last = None
    for each in job["SecondaryStatusTransitions"]:
        at = each["StartTime"]
        if begun is None and each["Status"] in _BEGINS:
            begun, first = at, first or at
        elif begun is not None and each["Status"] in _ENDS:
            stays.append((at - begun).total_seconds())
            begun, last = None, at
    return stays, (last - first).total_seconds() if first and last else 0.0


def nearest(value: float, among: dict[str, float]) -> str:
    """Return the name of the number that is nearest to a value."""
    return min(among, key=lambda name: abs(among[name] - value))


SPOT = Setup("spot", (Length.LONG,), _interrupted)
_WAIT_WORDS = re.escape("Insufficient capacity error from EC2 while launching instances, retrying!")

EXPERIMENTS = (
    Experiment(
        "wait-message",
        "what a spot job that waits says",
        "Its Starting transition has the recorded words on capacity.",
        f"[T] {_LOCAL}",
        SPOT,
        (matches("message_of_the_wait", _WAIT_WORDS),),
        ("messages_while_starting",),
    ),
    Experiment(
        "spot-billing",
        "what is billed of a spot job",
        "BillableTimeInSeconds is below TrainingTimeInSeconds.",
        f"[D] {_LOCAL}",
        SPOT,
        (between("billed_part", 0.05, 0.95),),
        ("training_seconds", "billable_seconds", "end"),
    ),
    Experiment(
        "interruption",
        "the transitions of an interruption",
        "Training, Interrupted, Starting, Downloading, Training, while the status stays InProgress.",
        f"[D] {_LOCAL}",
        SPOT,
        (
            in_order("statuses", "Training", "Interrupted", "Starting", "Downloading", "Training"),
            equals("status_until_it_trained_again", ["InProgress"]),
        ),
        ("messages", "interruptions"),
    ),
    Experiment(
        "interruption-message",
        "what an interruption says",
        "Its transition's message says that it was interrupted; nothing in this package depends on it.",
        f"[A] {_LOCAL}",
        SPOT,
        (matches("message_of_the_interruption", "[Ii]nterrupt"),),
    ),
    Experiment(
        "interruption-sigterm",
        "SIGTERM before an instance is taken back",
        "The script is told by SIGTERM; no script of this package needs it.",
        f"[A] {_LOCAL}",
        SPOT,
        (equals("sigterm_before_the_interruption", True),),
        ("grace_before_the_interruption_seconds",),
    ),
    Experiment(
        "interruption-checkpoint",
        "the checkpoint folder after an interruption",
        "What was uploaded before is there at the next start.",
        f"[D] {_LOCAL}",
        SPOT,
        (equals("checkpoint_at_the_next_start", True),),
    ),
    Experiment(
        "interruption-training-time",
        "TrainingTimeInSeconds over an interruption",
        "It counts the time on instances of all starts, without the gap.",
        f"[A] {_LOCAL}",
        SPOT,
        (equals("training_time_counts", "all stays"),),
        ("training_seconds", "billable_seconds", "billed_part_of_all_stays", "seconds_of_each_stay"),
    ),
    Experiment(
        "interruption-max-runtime",
        "MaxRuntimeInSeconds over an interruption",
        "It counts the time on instances of all starts, without the gap.",
        f"[A] {_LOCAL}",
        SPOT,
        (equals("max_runtime_counts", "all stays"),),
        ("end", "seconds_of_each_stay"),
    ),
)
