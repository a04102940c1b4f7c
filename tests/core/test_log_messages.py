"""The log's lines tell what happened and no secret."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any, get_args

import pytest

from airflow_spot.core.attempt import Attempt
from airflow_spot.core.events import (
    AttemptAttached,
    AttemptCreated,
    AttemptDecided,
    AttemptFound,
    CapacityAwaited,
    CheckpointMissing,
    CheckpointsNotSeen,
    CheckpointsSeen,
    CreateRefused,
    Event,
    GenerationBegan,
    JobStopped,
    Paused,
    ProgressMissing,
    RunFailed,
    RunSucceeded,
    ScriptProgressed,
    ServiceErrorsRepeated,
    StartEnded,
    TrainedLong,
    Transitioned,
    as_line,
)
from airflow_spot.core.findings import NothingYet, NotSeen, StartEnd, Stuck
from airflow_spot.core.log_messages import attempt_line, is_warning, label_of, lines, ordinal, totals_line
from airflow_spot.core.money.totals import RunTotals, total
from airflow_spot.core.outcomes import Outcome
from airflow_spot.core.script_progress import ScriptProgress
from airflow_spot.core.service_errors import SeenFolder
from airflow_spot.core.starts import Start
from airflow_spot.core.stop_reasons import StopReason
from airflow_spot.watch.observe import read
from tests.core.cases import NOW, RUN, attempt, description, later, refusal


def line_of(transition: dict[str, Any], label: str = "attempt 1") -> str:
    (line,) = lines(Transitioned.of("job", label, transition))
    return line


@pytest.mark.parametrize(
    ("transition", "line"),
    [
        ({"Status": "Training", "StartTime": NOW}, "attempt 1: Training, since 2026-01-02 03:04:05 UTC"),
        (
            {"Status": "Training", "StartTime": NOW, "StatusMessage": " Training image download completed. "},
            "attempt 1: Training (Training image download completed.), since 2026-01-02 03:04:05 UTC",
        ),
        ({"Status": "Starting", "StatusMessage": ""}, "attempt 1: Starting, since an unknown time"),
        (
            {"Status": "Training", "StartTime": NOW.astimezone(timezone(timedelta(hours=9)))},
            "attempt 1: Training, since 2026-01-02 03:04:05 UTC",
        ),
    ],
)
def test_a_transition_is_told_with_its_time(transition: dict[str, Any], line: str) -> None:
    assert line_of(transition) == line


@pytest.mark.parametrize(
    ("status", "says"),
    [
        ("Interrupted", "Spot instance reclaimed"),
        ("MaxWaitTimeExceeded", "max_wait exceeded"),
        ("MaxRuntimeExceeded", "max_run exceeded"),
    ],
)
def test_what_matters_is_explained_whatever_the_message(status: str, says: str) -> None:
    assert says in line_of({"Status": status, "StatusMessage": "", "StartTime": NOW})
    assert says in line_of({"Status": status, "StatusMessage": "Other words", "StartTime": NOW})


@pytest.mark.parametrize(
    ("job_name", "label"),
    [
        (f"train-afspot-{RUN.key}-1-2", "attempt 2"),
        (f"train-afspot-{RUN.key}-1-p3", "probe 3"),
        ("somebodys-job", "somebodys-job"),
    ],
)
def test_a_job_is_known_by_its_number(job_name: str, label: str) -> None:
    assert label_of(job_name) == label


@pytest.mark.parametrize(
    ("told", "parts"),
    [
        (attempt(1, None), ["attempt 1", "on ml.g5.xlarge spot: in progress"]),
        (attempt(2, Outcome.COMPLETED, interruptions=1), ["completed; 1 interruption"]),
        (attempt(2, Outcome.COMPLETED, interruptions=2), ["2 interruptions"]),
        (
            attempt(2, Outcome.COMPLETED, training_seconds=3_600, billable_seconds=90),
            ["trained 60 min 00 s, billed 90 s"],
        ),
        (attempt(1, Outcome.NO_CAPACITY, failure_reason="CapacityError: none"), ["no capacity; CapacityError: none"]),
    ],
)
def test_an_attempt_is_told_in_one_line(told: Attempt, parts: list[str]) -> None:
    line = attempt_line(told)
    assert "\n" not in line
    assert all(part in line for part in parts)


def test_the_end_adds_everything_up() -> None:
    attempts = (
        attempt(1, Outcome.CAPACITY_TIMEOUT, training_seconds=100, billable_seconds=40, interruptions=2),
        attempt(2, Outcome.COMPLETED, training_seconds=100, billable_seconds=20, interruptions=1),
    )
    *each, whole = lines(RunSucceeded(attempts, total(attempts, NOW)))
    assert each == [attempt_line(one) for one in attempts]
    assert whole == (
        "2 attempts, 3 interruptions; waited 0 s, trained 3 min 20 s, billed 60 s; spot discount 70.0 %, seconds that "
        "were trained twice included"
    )


def test_the_end_of_a_run_that_failed_tells_its_newest_attempts_and_the_sums() -> None:
    attempts = tuple(
        attempt(number, Outcome.NO_CAPACITY, failure_reason="CapacityError: none") for number in range(1, 13)
    )
    first, *each, whole = lines(RunFailed(Outcome.NO_CAPACITY, "no capacity", total(attempts, NOW), attempts=attempts))
    assert first == "The run ends here: no capacity"
    assert each == [attempt_line(one) for one in attempts[-10:]]
    assert "CapacityError: none" in each[0]
    assert whole.startswith("12 attempts")


def test_the_end_of_a_run_that_never_trained() -> None:
    assert totals_line(RunTotals(attempts=1)) == "1 attempt, 0 interruptions; waited 0 s, trained 0 s, billed 0 s"


EVENTS: list[Event] = [
    GenerationBegan(RUN.key, 2, "s3://bucket/c", keeps_folder=True),
    AttemptFound(attempt(1, Outcome.NO_CAPACITY)),
    AttemptDecided(1, "ml.g5.xlarge spot", "job", "first attempt"),
    AttemptCreated(attempt(1, None)),
    AttemptAttached(attempt(1, None)),
    CreateRefused(refusal(1)),
    Transitioned("job", "attempt 1", "Training", NOW),
    CapacityAwaited("job", "attempt 1", NOW, NOW, "Insufficient capacity error from EC2"),
    Paused(NOW, "no capacity; again in 8 s"),
    ServiceErrorsRepeated(2, 2, SeenFolder("s3://bucket/c", 5000, 10**11, more=True)),
    StartEnded("train-afspot-abcdefghij-1-2", "s3://bucket/c", StartEnd(3, NOW, 1800.0, 480.0, NOW)),
    CheckpointMissing("job", "s3://bucket/c", NothingYet(3600.0)),
    CheckpointsSeen("job", "s3://bucket/c", (NOW,)),
    CheckpointsNotSeen("job", "s3://bucket/c", NotSeen("AccessDenied at ListObjectsV2")),
    ProgressMissing("job", "s3://bucket/c", Stuck(3, 3600.0)),
    TrainedLong(180_000.0, 86_400),
    ScriptProgressed("job", ScriptProgress(1, 2, {"loss": 0.5}, NOW)),
    JobStopped("job", StopReason.KILLED, "killed by Airflow", None, "s3://bucket/c"),
    JobStopped("job", StopReason.KILLED, "killed by Airflow", "it is Stopped already"),
    RunSucceeded((attempt(1, Outcome.COMPLETED),), RunTotals(attempts=1)),
    RunFailed(Outcome.SCRIPT_ERROR, "the training script failed", RunTotals(attempts=1)),
    RunFailed(None, "the task's time is up", RunTotals()),
    RunFailed(None, "killed by Airflow", RunTotals(), killed=True),
]


@pytest.mark.parametrize(
    ("folder", "says", "facts"),
    [
        (
            SeenFolder("s3://b/c", 3, 369_000_000_000),
            "Its checkpoint folder s3://b/c has 3 files, 369.0 GB. ",
            (3, False),
        ),
        (SeenFolder("s3://b/c", 1, 12), "has 1 file, 12 B. ", (1, False)),
        (
            SeenFolder("s3://b/c", 5_000, 2_500_000_000_000, more=True),
            "has more than 5,000 files, more than 2.5 TB. ",
            (5_000, True),
        ),
        (SeenFolder("s3://b/c", 0), "Its checkpoint folder s3://b/c is empty. ", (0, False)),
        (
            SeenFolder("s3://b/c", problem="AccessDenied at ListObjectsV2"),
            "The size of its checkpoint folder s3://b/c is unknown (AccessDenied at ListObjectsV2). ",
            (None, False),
        ),
        (SeenFolder(""), "SageMaker keeps no checkpoints of it", (None, False)),
    ],
)
def test_repeated_errors_of_sagemakers_tell_how_large_the_folder_is(
    folder: SeenFolder, says: str, facts: tuple[int | None, bool]
) -> None:
    event = ServiceErrorsRepeated(3, 2, folder)
    (line,) = lines(event)
    assert line.startswith("attempt 3: SageMaker internal error, 2 in a row. ")
    assert says in line
    # Of a job without a folder the checkpoints are not the reason.
    assert ("some hundred GB" in line) == bool(folder.uri)
    told = event.to_json()
    assert (told["objects"], told["more"], told["checkpoint_s3_uri"]) == (*facts, folder.uri or None)
    assert (told["bytes"] is None) == (folder.objects is None)


def test_a_job_that_keeps_its_own_checkpoints_is_told_of_so() -> None:
    (created,) = lines(AttemptCreated(attempt(1, None, checkpoint_s3_uri="")))
    assert created == "attempt 1: created; the script manages its own checkpoints (use_checkpoints=False)"
    transition = {"Status": "Interrupted", "StartTime": NOW}
    (line,) = lines(Transitioned.of("job", "attempt 1", transition, keeps_checkpoints=False))
    assert "with the checkpoints that the script keeps itself" in line
    assert "newest checkpoint" not in line
    stopped = JobStopped("job", StopReason.KILLED, "killed by Airflow")
    assert as_line(stopped, RUN.key, NOW)["checkpoint_s3_uri"] is None
    assert not any("checkpoints are kept" in line for line in lines(stopped))


START = Start(NOW, later(seconds=9), later(seconds=20), later(seconds=980), later(seconds=980))
SECOND = Start(later(seconds=980), later(seconds=990), None, later(seconds=999), later(seconds=999))


@pytest.mark.parametrize(
    ("at", "says"),
    [
        (980, "attempt 1: Interrupted (1st time) after 16 min 00 s of training: Spot instance reclaimed"),
        (999, "attempt 1: Interrupted (2nd time) before it trained: Spot instance reclaimed"),
        (1500, "attempt 1: Interrupted: Spot instance reclaimed"),
    ],
)
def test_an_interruption_is_numbered_and_says_how_long_it_had_trained(at: float, says: str) -> None:
    transition = {"Status": "Interrupted", "StartTime": later(seconds=at)}
    event = Transitioned.of("job", "attempt 1", transition, heard=later(seconds=at + 30), starts=(START, SECOND))
    (line,) = lines(event)
    assert line.startswith(says)
    assert line.endswith("waiting for capacity, then resuming from the newest checkpoint, if any")
    assert is_warning(event)


def test_the_clock_is_told_where_the_lines_own_does_not_say_it() -> None:
    transition = {"Status": "Training", "StartTime": NOW}
    prompt = Transitioned.of("job", "attempt 1", transition, heard=later(seconds=100))
    late = Transitioned.of("job", "attempt 1", transition, heard=later(seconds=130))
    again = Transitioned.of("job", "attempt 1", transition, heard=later(seconds=100), repeated=True)
    assert [*lines(prompt), *lines(late), *lines(again)] == [
        "attempt 1: Training",
        "attempt 1: Training, since 2026-01-02 03:04:05 UTC",
        "attempt 1: Training, since 2026-01-02 03:04:05 UTC",
    ]
    assert not is_warning(prompt)


def test_a_failed_job_is_told_with_the_reason_and_no_secret() -> None:
    fields = {"TrainingJobStatus": "Failed", "SecondaryStatus": "Failed"}
    transitions = [{"Status": "Failed", "StartTime": NOW, "StatusMessage": "Training job failed"}]
    for reason, says in (
        ("CapacityError: Unable to provision", "attempt 1: Failed (CapacityError: Unable to provision)"),
        ("AlgorithmError: hunter2\nmore", "attempt 1: Failed (AlgorithmError: "),
        (f"ClientError: {'x' * 900}", "attempt 1: Failed (ClientError: xx"),
        ("", "attempt 1: Failed (Training job failed)"),
    ):
        said = description(**fields, FailureReason=reason, SecondaryStatusTransitions=transitions)
        (told,) = read(said, 0).new
        event = Transitioned.of("job", "attempt 1", told, heard=NOW)
        (line,) = lines(event)
        assert line.startswith(says)
        assert "hunter2" not in line
        assert len(line) < 340
        assert is_warning(event)


@pytest.mark.parametrize(
    ("number", "word"), [(1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (21, "21st")]
)
def test_a_place_in_a_row_in_words(number: int, word: str) -> None:
    assert ordinal(number) == word


def test_every_event_has_a_log_message_and_is_json() -> None:
    assert {type(event) for event in EVENTS} == set(get_args(Event))
    for event in EVENTS:
        assert all(isinstance(line, str) and "\n" not in line for line in lines(event))
        line = as_line(event, RUN.key, NOW)
        assert (line["event"], line["run"], line["at"]) == (event.name, RUN.key, NOW.isoformat())


def test_no_line_holds_a_secret() -> None:
    """The description that the lines are made from has both, and the script's own words may hold them."""
    for status, reason in (("Completed", ""), ("Failed", "AlgorithmError: login with hunter2 and s3cr3t failed")):
        said = Attempt.from_description(
            description(
                TrainingJobStatus=status,
                FailureReason=reason,
                SecondaryStatusTransitions=[{"Status": "Training", "StartTime": datetime.now(timezone.utc)}],
            ),
            {},
        )
        ended = RunSucceeded((said,), total((said,), NOW))
        told = "\n".join([*lines(AttemptFound(said)), *lines(ended), str(as_line(ended, RUN.key, NOW))])
        assert "hunter2" not in told
        assert "s3cr3t" not in told


@pytest.mark.parametrize(
    ("found", "says", "facts"),
    [
        (
            StartEnd(3, NOW, 1800.0, 480.0, NOW - timedelta(minutes=8)),
            "attempt 2: start 3 trained 30 min 00 s; the newest checkpoint was 8 min 00 s old at its end, "
            "8 min 00 s of training lost",
            (480, 480),
        ),
        (
            StartEnd(1, NOW, 60.0, 60.0, None),
            "attempt 2: start 1 trained 60 s and left no checkpoint; 60 s of training lost",
            (None, 60),
        ),
        (
            StartEnd(1, NOW, 60.0, None, NOW),
            "attempt 2: start 1 trained 60 s; lost training time unknown: the next start has already written "
            "checkpoints",
            (None, None),
        ),
    ],
)
def test_what_an_interruption_lost_is_told(found: StartEnd, says: str, facts: tuple[int | None, int | None]) -> None:
    event = StartEnded("train-afspot-abcdefghij-1-2", "s3://bucket/c", found)
    assert list(lines(event)) == [says]
    told = as_line(event, RUN.key, NOW)
    assert (told["checkpoint_age_seconds"], told["lost_seconds"]) == facts
    assert (told["job"], told["start"], told["checkpoint_s3_uri"]) == (event.job_name, found.start, "s3://bucket/c")
