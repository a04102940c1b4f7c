"""Requests that are assumed to be refused when they are created."""

from __future__ import annotations

from typing import Any

from airflow_spot.verify.experiment import Experiment, Setup
from airflow_spot.verify.pace import Length
from airflow_spot.verify.scratch import Scratch
from airflow_spot.verify.verdicts import equals, matches

_LOCAL = "docs/local-sagemaker.md"


def _note(scratch: Scratch, request: dict[str, Any]) -> None:
    answer = scratch.refused(request)
    scratch.facts["code"], scratch.facts["message"] = answer or (None, None)


def _max_wait_below_run(scratch: Scratch) -> None:
    max_run = scratch.service.pace.max_run[Length.BRIEF]
    _note(scratch, scratch.request(spot=True, max_wait=max_run - 1))


def _max_wait_missing(scratch: Scratch) -> None:
    request = scratch.request(spot=True)
    del request["StoppingCondition"]["MaxWaitTimeInSeconds"]
    _note(scratch, request)


def _wrong_name(scratch: Scratch) -> None:
    request = scratch.request()
    _note(scratch, {**request, "TrainingJobName": request["TrainingJobName"] + "_"})


def _max_wait_without_spot(scratch: Scratch) -> None:
    _note(scratch, scratch.request(max_wait=scratch.service.pace.max_run[Length.BRIEF]))


def _empty_channel(scratch: Scratch) -> None:
    source = {"S3DataType": "S3Prefix", "S3Uri": scratch.uri("nothing-is-here/")}
    channel = {"ChannelName": "train", "DataSource": {"S3DataSource": source}}
    _note(scratch, {**scratch.request(), "InputDataConfig": [channel]})


EXPERIMENTS = (
    Experiment(
        "validation-words",
        "a name that the model's pattern refuses",
        "The create is refused with a ValidationException that names the member and the constraint.",
        f"[T] {_LOCAL}",
        Setup("wrong-name", (Length.BRIEF,), _wrong_name),
        (
            equals("code", "ValidationException"),
            matches(
                "message", "1 validation error detected: Value .* at 'trainingJobName' failed to satisfy constraint"
            ),
        ),
    ),
    Experiment(
        "max-wait-missing",
        "spot without MaxWaitTimeInSeconds",
        "The create is refused with a ValidationException that names MaxWaitTimeInSeconds.",
        f"[A] {_LOCAL}",
        Setup("wait-missing", (Length.BRIEF,), _max_wait_missing),
        (equals("code", "ValidationException"), matches("message", "MaxWaitTimeInSeconds")),
    ),
    Experiment(
        "max-wait-below-run",
        "MaxWaitTimeInSeconds below MaxRuntimeInSeconds",
        "The create is refused with a ValidationException that names MaxWaitTimeInSeconds.",
        f"[D] {_LOCAL}",
        Setup("wait-below-run", (Length.BRIEF,), _max_wait_below_run),
        (equals("code", "ValidationException"), matches("message", "MaxWaitTimeInSeconds")),
    ),
    Experiment(
        "max-wait-without-spot",
        "MaxWaitTimeInSeconds without spot",
        "The create is refused with a ValidationException, in the recorded words.",
        f"[T] {_LOCAL}",
        Setup("wait-no-spot", (Length.BRIEF,), _max_wait_without_spot),
        (
            equals("code", "ValidationException"),
            matches(
                "message",
                "Invalid MaxWaitTimeInSeconds. It is only supported when EnableManagedSpotTraining is set to true",
            ),
        ),
    ),
    Experiment(
        "empty-channel",
        "a channel below whose prefix nothing lies",
        "The create is refused with a ValidationException, in the recorded words.",
        f"[T] {_LOCAL}",
        Setup("empty-channel", (Length.BRIEF,), _empty_channel),
        (equals("code", "ValidationException"), matches("message", "No S3 objects found under S3 URL")),
    ),
)
