"""Everything that SageMaker can say has one outcome, and nothing that is not a Completed job reads as one."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_spot.core.outcomes import ENDED_STATUSES, Outcome, classify, count_interruptions, exit_code

CAPACITY = (
    "CapacityError: Unable to provision requested ML compute capacity. Please retry using a different ML instance type."
)


@pytest.mark.parametrize(
    ("status", "secondary", "reason", "ours", "outcome"),
    [
        ("Completed", "Completed", None, False, Outcome.COMPLETED),
        ("Completed", "Completed", None, True, Outcome.COMPLETED),  # it ended before our stop reached it
        ("Stopped", "MaxWaitTimeExceeded", None, False, Outcome.CAPACITY_TIMEOUT),
        ("Stopped", "MaxRuntimeExceeded", None, False, Outcome.MAX_RUNTIME_EXCEEDED),
        ("Stopped", "Stopped", None, False, Outcome.STOPPED_EXTERNALLY),
        ("Stopped", "Stopped", None, True, Outcome.STOPPED_BY_OPERATOR),
        ("Stopped", "Stopped", CAPACITY, False, Outcome.STOPPED_EXTERNALLY),
        ("Failed", "Failed", CAPACITY, False, Outcome.NO_CAPACITY),
        ("Failed", "Failed", "Insufficient capacity for ml.p4d.24xlarge", False, Outcome.NO_CAPACITY),
        ("Failed", "Failed", "InsufficientCapacityError: none left", False, Outcome.NO_CAPACITY),
        ("Failed", "Failed", "InternalServerError: We encountered an internal error.", False, Outcome.SERVICE_ERROR),
        ("Failed", "Failed", "AlgorithmError: Exit Code: 1", False, Outcome.SCRIPT_ERROR),
        ("Failed", "Failed", "AlgorithmError: , exit code: 137", True, Outcome.SCRIPT_ERROR),
        ("Failed", "Failed", "AlgorithmError: CapacityError: insufficient capacity", False, Outcome.SCRIPT_ERROR),
        ("Failed", "Failed", "AlgorithmError: InternalServerError: ClientError", False, Outcome.SCRIPT_ERROR),
        ("Failed", "Failed", "ClientError: Data download failed: 403", False, Outcome.INVALID_REQUEST),
        ("Failed", "Failed", "Something new: went wrong", False, Outcome.UNKNOWN),
        ("Failed", "Failed", "", False, Outcome.UNKNOWN),
        ("Failed", "Failed", None, False, Outcome.UNKNOWN),
    ],
)
def test_each_end_has_its_outcome(
    status: str, secondary: str, reason: str | None, ours: bool, outcome: Outcome
) -> None:
    description: dict[str, Any] = {"TrainingJobStatus": status, "SecondaryStatus": secondary}
    if reason is not None:
        description["FailureReason"] = reason
    assert classify(description, stop_reason="killed" if ours else None) is outcome


@pytest.mark.parametrize("status", ["InProgress", "Stopping", "Deleting", "SomethingNew"])
@pytest.mark.parametrize("secondary", ["Starting", "Training", "Interrupted", "MaxWaitTimeExceeded", "Stopped"])
def test_a_live_job_has_no_outcome(status: str, secondary: str) -> None:
    for ours in (True, False):
        assert (
            classify(
                {"TrainingJobStatus": status, "SecondaryStatus": secondary}, stop_reason="killed" if ours else None
            )
            is None
        )


TOOLKIT = 'AlgorithmError: {}:\nExitCode {}\nErrorMessage "{}"\nCommand "python train.py", exit code: 1'
KILLED = '"\nExtraInfo "OutOfMemory: Process killed by SIGKILL (signal 9)'


@pytest.mark.parametrize(
    ("reason", "outcome", "code"),
    [
        (TOOLKIT.format("ExecuteUserScriptError", 42, ""), Outcome.SCRIPT_ERROR, 42),
        # The container names the first class that it finds in the output: the form stays the toolkit's.
        (TOOLKIT.format("NotFoundError", 42, "ModuleNotFoundError: x"), Outcome.SCRIPT_ERROR, 42),
        (TOOLKIT.format("ResourceExhaustedError", 3, ""), Outcome.SCRIPT_ERROR, 3),
        (TOOLKIT.format("ExecuteUserScriptError", -9, ""), Outcome.SCRIPT_ERROR, -9),
        (TOOLKIT.format("ExecuteUserScriptError", 5, "it says ExitCode 7, exit code: 8"), Outcome.SCRIPT_ERROR, 5),
        (TOOLKIT.format("ExecuteUserScriptError", 137, KILLED), Outcome.OUT_OF_MEMORY, 137),
        # Not the script's: the toolkit's own, and of what is installed before it.
        (TOOLKIT.format("InstallRequirementsError", 2, ""), Outcome.SCRIPT_ERROR, None),
        ('AlgorithmError: InstallModuleError:\nCommand "pip install", exit code: 1', Outcome.SCRIPT_ERROR, None),
        ("AlgorithmError: Framework Error: \n[Errno 2] No such file, exit code: 2", Outcome.SCRIPT_ERROR, None),
        # A container of one's own may print what it likes.
        ('AlgorithmError: my words\nExtraInfo "OutOfMemory", exit code: 3', Outcome.SCRIPT_ERROR, 3),
        ("ClientError: Artifact upload failed:Insufficient disk space", Outcome.SCRIPT_ERROR, None),
        ("ClientError: Artifact upload failed:ClientError: Out of Memory. x", Outcome.OUT_OF_MEMORY, None),
        ("ClientError: Data download failed: the file system has insufficient capacity", Outcome.INVALID_REQUEST, None),
    ],
)
def test_what_a_container_says_of_its_script(reason: str, outcome: Outcome, code: int | None) -> None:
    job = {"TrainingJobStatus": "Failed", "SecondaryStatus": "Failed", "FailureReason": reason}
    assert classify(job, stop_reason=None) is outcome
    assert exit_code(reason) == code


@pytest.mark.parametrize(
    ("limit", "waited", "statuses", "outcome"),
    [
        (1800, 1800, ["Starting", "Pending"], Outcome.CAPACITY_TIMEOUT),
        (1800, 1900, ["Pending", "Pending", "Stopping"], Outcome.CAPACITY_TIMEOUT),
        (1800, 1700, ["Starting", "Pending"], Outcome.STOPPED_EXTERNALLY),  # a person, before it was over
        (1800, 9000, ["Starting", "Downloading", "Training"], Outcome.STOPPED_EXTERNALLY),
        (None, 9000, ["Starting", "Pending"], Outcome.STOPPED_EXTERNALLY),
    ],
)
def test_what_pends_to_the_end_of_its_pending_time_was_stopped_by_no_person(
    limit: int | None, waited: int, statuses: list[str], outcome: Outcome
) -> None:
    created = datetime(2026, 1, 1, tzinfo=timezone.utc)
    job = {
        "TrainingJobStatus": "Stopped",
        "SecondaryStatus": "Stopped",
        "CreationTime": created,
        "LastModifiedTime": created + timedelta(seconds=waited),
        "StoppingCondition": {"MaxRuntimeInSeconds": 60, **({"MaxPendingTimeInSeconds": limit} if limit else {})},
        "SecondaryStatusTransitions": [{"Status": status} for status in statuses],
    }
    assert classify(job, stop_reason=None) is outcome
    assert classify(job, stop_reason="killed") is Outcome.STOPPED_BY_OPERATOR


@pytest.mark.parametrize("status", ["Pausing", "", None])
def test_a_status_that_nobody_knows_is_live(status: str | None) -> None:
    """To take it for an end would start a second job beside one that may be training."""
    assert classify({"TrainingJobStatus": status}, stop_reason=None) is None


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "TrainingJobStatus": st.sampled_from([*ENDED_STATUSES, "InProgress", "Stopping", "New"]),
            "SecondaryStatus": st.sampled_from(["Completed", "Stopped", "MaxWaitTimeExceeded", "Failed", "New"]),
            "FailureReason": st.none() | st.text(),
        },
    ),
    st.booleans(),
)
def test_only_a_completed_job_is_completed_and_a_stop_is_ours_only_with_our_mark(
    description: dict[str, Any], ours: bool
) -> None:
    outcome = classify(description, stop_reason="killed" if ours else None)
    assert (outcome is Outcome.COMPLETED) == (description.get("TrainingJobStatus") == "Completed")
    if outcome is Outcome.STOPPED_BY_OPERATOR:
        assert ours
    if outcome is Outcome.STOPPED_EXTERNALLY:
        assert not ours


def test_an_outcome_reads_the_same_in_json_and_in_text() -> None:
    assert json.loads(json.dumps(Outcome.COMPLETED)) == str(Outcome.COMPLETED) == f"{Outcome.COMPLETED}" == "completed"


@pytest.mark.parametrize(
    ("statuses", "count"),
    [
        ([], 0),
        (["Starting", "Downloading", "Training"], 0),
        (["Starting", "Training", "Interrupted", "Starting", "Training", "Uploading", "Completed"], 1),
        (["Training", "Interrupted", "Starting", "Interrupted", "Starting", "Training", "Interrupted"], 3),
    ],
)
def test_interruptions_are_counted_over_the_whole_list(statuses: list[str], count: int) -> None:
    transitions = [{"Status": status, "StatusMessage": "Interrupted"} for status in statuses]
    assert count_interruptions([*transitions, {}]) == count
