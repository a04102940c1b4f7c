"""A run's timeline and summary follow from its jobs and its events, and hold no secret."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any, get_type_hints

import pytest

from airflow_spot.core.attempt import Attempt
from airflow_spot.core.events import (
    AttemptAttached,
    AttemptCreated,
    AttemptDecided,
    AttemptFound,
    CheckpointsSeen,
    CreateRefused,
    Event,
    GenerationBegan,
    JobStopped,
    Paused,
    RunFailed,
    RunSucceeded,
    ScriptProgressed,
    StartEnded,
    Transitioned,
)
from airflow_spot.core.findings import StartEnd
from airflow_spot.core.money.prices import Prices
from airflow_spot.core.money.totals import total
from airflow_spot.core.outcomes import Outcome
from airflow_spot.core.script_progress import ScriptProgress
from airflow_spot.core.stop_reasons import StopReason
from airflow_spot.core.timeline.state import LedgerState, finish, take_in
from airflow_spot.core.timeline.summary import summary_of
from airflow_spot.core.timeline.whole import timeline_of, totals_of
from airflow_spot.render.ledger_format import STATES, AttemptLine, Summary, Timeline
from tests.core.cases import FOLDER, NOW, attempt, description, later, refusal
from tests.core.test_log_messages import EVENTS
from tests.core.timeline.runs import begun, created, heard, large, passed, twice_interrupted

PRICES = Prices("USD", {"ml.g5.xlarge": Decimal("3.6")})


def state_of(state: LedgerState) -> tuple[str, float]:
    timeline = timeline_of(state, later(hours=1))
    return timeline["state"], timeline["since"]


def test_what_a_trigger_hears_is_a_lane_with_its_interruptions() -> None:
    state, job = twice_interrupted()
    timeline = timeline_of(state, later(seconds=400))
    (line,) = timeline["attempts"]
    assert line["starts"] == [
        [0.0, 10.0, 20.0, 120.0, 120.0],
        [120.0, 150.0, 160.0, 260.0, 260.0],
        [260.0, 300.0, 310.0, None, None],
    ]
    assert (line["interruptions"], line["training_seconds"], line["billable_seconds"]) == (2, 290, None)
    assert (timeline["state"], timeline["since"], timeline["updated"]) == ("training", 310.0, 400.0)
    assert timeline["decisions"] == [[0.0, "attempt 1", "first attempt"]]
    summary = summary_of(state, later(seconds=400))
    at = int(NOW.timestamp())
    assert summary["interrupted"] == [[at + 120, "ml.g5.xlarge"], [at + 260, "ml.g5.xlarge"]]
    assert (summary["state"], summary["since"], summary["job"]) == ("training", at + 310, job.job_name)
    assert (summary["waited"], summary["trained"], summary["billed"]) == (80, 290, None)


def test_a_transition_that_was_read_or_told_before_changes_nothing() -> None:
    state, job = twice_interrupted()
    story = passed(job, ("Training", 20), ("Interrupted", 120), ("Interrupted", 260), ("Training", 310))
    assert heard(state, *story).jobs == state.jobs
    assert heard(state, *(replace(each, repeated=True) for each in story if isinstance(each, Transitioned))) == state


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        ((), ("waiting", 0.0)),
        ((("Starting", 1),), ("waiting", 0.0)),
        ((("Starting", 1), ("Downloading", 9)), ("starting", 9.0)),
        ((("Downloading", 9), ("Training", 20)), ("training", 20.0)),
        ((("Downloading", 9), ("Training", 20), ("Interrupted", 30)), ("waiting", 30.0)),
        ((("Downloading", 9), ("Training", 20), ("Uploading", 30)), ("uploading", 30.0)),
        ((("Downloading", 9), ("Training", 20), ("Stopping", 30)), ("stopping", 30.0)),
        # How a job ended, only a worker reads and decides.
        ((("Downloading", 9), ("Training", 20), ("Uploading", 30), ("Completed", 31)), ("uploading", 31.0)),
        ((("Downloading", 9), ("Training", 20), ("Failed", 31)), ("pausing", 31.0)),
    ],
)
def test_a_live_job_says_what_its_run_does(spans: tuple[tuple[str, float], ...], expected: tuple[str, float]) -> None:
    job = replace(created(), secondary_status="Starting")
    assert state_of(heard(begun(), AttemptCreated(job), *passed(job, *spans))) == expected


@pytest.mark.parametrize(
    ("events", "state"),
    [
        ((), "pausing"),
        ((AttemptDecided(1, "ml.g5.xlarge spot", "job", "first attempt"),), "pausing"),
        ((Paused(later(seconds=9), "no capacity"),), "pausing"),
        ((CreateRefused(refusal(1)),), "pausing"),
        ((JobStopped("j", StopReason.RUNG_TIMEOUT, "why"),), "stopping"),
        ((JobStopped("j", StopReason.KILLED, "why"),), "stopped"),
        ((JobStopped("j", StopReason.TIMEOUT, "why"),), "failed"),
        ((JobStopped("j", StopReason.KILLED, "why", "it is Completed already"),), "pausing"),
        ((RunFailed(Outcome.SCRIPT_ERROR, "why", total([], NOW)),), "failed"),
        ((RunFailed(None, "why", total([], NOW)), JobStopped("j", StopReason.KILLED, "why")), "failed"),
        ((RunFailed(Outcome.STOPPED_EXTERNALLY, "why", total([], NOW)),), "stopped"),
        ((RunSucceeded((attempt(1, Outcome.COMPLETED),), total([], NOW)),), "completed"),
        ((JobStopped("j", StopReason.RUNG_TIMEOUT, "why"), AttemptAttached(created())), "waiting"),
    ],
)
def test_events_say_what_no_job_tells(events: tuple[Event, ...], state: str) -> None:
    assert state in STATES
    made = heard(begun(jobs={"j": replace(created(), secondary_status="Training")} if state == "-" else {}), *events)
    made = replace(made, jobs={name: replace(job, secondary_status="Starting") for name, job in made.jobs.items()})
    assert timeline_of(made, NOW)["state"] == summary_of(made, NOW)["state"] == state
    assert (summary_of(made, NOW)["ended"] is not None) == (state in ("completed", "failed", "stopped"))


def test_what_a_job_cannot_tell_is_a_decision_and_the_same_again_is_none() -> None:
    job = created(2, at=60.0)
    state = heard(
        begun(),
        CreateRefused(refusal(2, at=later(seconds=10))),
        CreateRefused(refusal(2, at=later(seconds=20))),
        AttemptCreated(job),
    )
    state = heard(state, Paused(later(seconds=99), "no capacity"), now=later(seconds=70))
    state = heard(state, JobStopped(job.job_name, StopReason.RUNG_TIMEOUT, "waited 60 s"), now=later(seconds=80))
    timeline = timeline_of(state, later(seconds=90))
    assert [what for _, what, _ in timeline["decisions"]] == [
        "attempt 2 refused",
        "attempt 2",
        "pause",
        "attempt 2 stopped",
    ]
    assert [at for at, _, _ in timeline["decisions"]] == [0.0, 0.0, 10.0, 20.0]


def test_a_try_that_begins_has_the_reasons_from_the_jobs() -> None:
    ended = attempt(1, Outcome.NO_CAPACITY, created=NOW, why="first attempt", failure_reason="CapacityError: none")
    jobs = (ended, created(2, at=50.0, interruptions=0))
    told = heard(begun(), *map(AttemptFound, jobs))
    state = take_in(told, jobs, 1, lost=0.0)
    assert [what for _, what, _ in timeline_of(state, later(seconds=60))["decisions"]] == ["attempt 1", "attempt 2"]
    assert timeline_of(state, NOW)["attempts"][0]["reason"] == "CapacityError: none"


def test_earlier_generations_are_lanes_and_count_in_no_sum() -> None:
    old = replace(
        attempt(1, Outcome.UNKNOWN, generation=1, created=NOW, status="Failed"), whole=False, checkpoint_s3_uri=""
    )
    new = attempt(1, None, generation=2, created=later(hours=2), why="first attempt")
    state = take_in(begun(), (old, new), 2, lost=0.0)
    timeline = timeline_of(state, later(hours=3))
    first, second = timeline["attempts"]
    assert (first["generation"], first["label"], first["outcome"], first["type"]) == (1, "failed", None, "")
    assert (second["generation"], second["type"]) == (2, "ml.g5.xlarge")
    assert timeline["totals"]["attempts"] == summary_of(state, later(hours=3))["attempts"] == 1
    assert heard(state, GenerationBegan(state.key, 3, FOLDER)).attempts == ()


def test_what_was_read_in_whole_stays_where_a_deferral_carries_only_a_part() -> None:
    whole = attempt(1, Outcome.NO_CAPACITY, created=NOW, training_seconds=60, billable_seconds=20, why="first attempt")
    state = take_in(begun(), (whole,), 1, lost=0.0)
    part = replace(whole, whole=False, why="", training_seconds=60)
    assert take_in(state, (part,), 1, lost=0.0).jobs[whole.job_name] == whole
    # But one that trained when it was read in whole has ended since.
    lived = take_in(begun(), (created(),), 1, lost=0.0)
    (name,) = lived.jobs
    gone = take_in(lived, (replace(part, starts=()),), 1, lost=0.0).jobs[name]
    assert (gone.live, gone.why, len(gone.starts)) == (False, "first attempt", 1)


def test_checkpoints_are_ticks_and_lost_training_is_a_span() -> None:
    state, job = twice_interrupted()
    seen = CheckpointsSeen.of(job.job_name, FOLDER, ((later(seconds=70), None), (later(seconds=110), 25)))
    end = StartEnded(job.job_name, FOLDER, StartEnd(1, later(seconds=120), 100.0, 10.0, later(seconds=110)))
    made = heard(state, seen, end, end, seen)
    (line,) = timeline_of(made, later(seconds=400))["attempts"]
    assert line["ticks"] == [[70.0, None], [110.0, 25.0]]
    assert line["again"] == [[110.0, 120.0]]
    assert made.lost == 10.0
    unknown = StartEnded(job.job_name, FOLDER, StartEnd(2, later(seconds=260), 100.0, None, later(seconds=270)))
    assert heard(made, unknown).lost is None
    assert summary_of(heard(made, unknown), NOW)["twice"] is None


def test_a_checkpoint_is_its_writers_whoever_looks() -> None:
    first, second = replace(created(), outcome=Outcome.NO_CAPACITY), created(2, at=100.0)
    state = take_in(begun(), (first, second), 1, lost=0.0)
    moments = tuple(later(seconds=each) for each in (-5, 50, 150))
    lines = timeline_of(heard(state, CheckpointsSeen(second.job_name, FOLDER, moments)), NOW)["attempts"]
    assert [line["ticks"] for line in lines] == [[[50.0, None]], [[0.0, None], [150.0, None]]]


def test_reports_of_the_script_are_points() -> None:
    reports = [ScriptProgress(step, 100, {"loss": 0.5}, later(seconds=step)) for step in (10, 20, 20)]
    state = heard(begun(), *(ScriptProgressed("job", each, is_news=False) for each in reports))
    timeline = timeline_of(state, NOW)
    assert timeline["points"] == [[10.0, 10.0], [20.0, 20.0]]
    assert timeline["progress"] is not None
    assert timeline["progress"]["step"] == 20
    assert summary_of(state, NOW)["progress"] == [20.0, 100.0]


def test_the_sums_are_the_runs_own() -> None:
    jobs = (
        attempt(1, Outcome.NO_CAPACITY, created=NOW, training_seconds=100, billable_seconds=40, interruptions=1),
        attempt(2, Outcome.COMPLETED, created=NOW, training_seconds=200, billable_seconds=60),
    )
    whole = total(jobs, NOW, PRICES, 30.0)
    state = heard(take_in(begun(), jobs, 1, lost=30.0), RunSucceeded(jobs, whole))
    assert totals_of(state, NOW, PRICES) == whole
    assert timeline_of(state, NOW, PRICES)["totals"] == {"attempts": 2, **whole.to_json()}
    summary, said = summary_of(state, NOW, PRICES), whole.to_json()
    keys = ("cost", "on_demand_cost", "saved")
    assert [summary[key] for key in keys] == [said[key] for key in keys]  # type: ignore[literal-required]
    assert (summary["billed"], summary["twice"], summary["state"]) == (100, 30, "completed")
    assert summary_of(state, NOW)["cost"] is None


def test_a_failure_says_what_sagemaker_says() -> None:
    job = attempt(1, Outcome.NO_CAPACITY, created=NOW, failure_reason="CapacityError: none left")
    state = heard(take_in(begun(), (job,), 1, lost=0.0), RunFailed(Outcome.NO_CAPACITY, "no capacity", total([], NOW)))
    assert timeline_of(state, NOW)["reason"] == "no capacity: CapacityError: none left"
    assert timeline_of(finish(state, "left", NOW), NOW)["state"] == "left"


def test_a_long_reason_says_that_it_is_cut() -> None:
    job = attempt(1, Outcome.NO_CAPACITY, created=NOW, failure_reason="word " * 100, why="a" * 400)
    state = heard(take_in(begun(), (job,), 1, lost=0.0), RunFailed(Outcome.NO_CAPACITY, "x" * 400, total([], NOW)))
    told = timeline_of(state, NOW)
    assert told["attempts"][0]["reason"] == f"{'word ' * 59}wor …"
    assert told["attempts"][0]["why"] == f"{'a' * 298} …"
    assert told["reason"].startswith(f"{'x' * 298} …: word word")
    assert told["reason"].endswith(" …")


def test_a_job_that_was_taken_over_is_waited_for_without_a_lane() -> None:
    state = heard(begun(), Transitioned("stock-job", "stock-job", "Training", NOW))
    timeline = timeline_of(state, NOW)
    assert (timeline["state"], timeline["attempts"]) == ("training", [])
    assert summary_of(state, NOW)["job"] == "stock-job"
    assert summary_of(heard(state, AttemptCreated(created())), NOW)["job"] == created().job_name


@pytest.mark.parametrize("made", [begun(), twice_interrupted()[0], large(3, 4, 5)])
def test_both_have_the_keys_of_the_format_and_are_json(made: LedgerState) -> None:
    timeline, summary = timeline_of(made, later(days=1), PRICES), summary_of(made, later(days=1), PRICES)
    assert set(timeline) == set(get_type_hints(Timeline))
    assert set(summary) == set(get_type_hints(Summary))
    assert all(set(line) == set(get_type_hints(AttemptLine)) for line in timeline["attempts"])
    for value in (timeline, summary):
        assert json.loads(json.dumps(value, allow_nan=False)) == value


def test_every_event_is_borne() -> None:
    state = begun()
    for event in EVENTS:
        state = heard(state, event)
    assert timeline_of(state, NOW)["state"] in STATES


def test_no_secret_is_in_either() -> None:
    reason = "AlgorithmError: train.py --password hunter2 with s3cr3t failed, exit code: 1"
    fields: dict[str, Any] = {"TrainingJobStatus": "Failed", "SecondaryStatus": "Failed", "FailureReason": reason}
    job = Attempt.from_description(description(**fields), {})
    state = heard(
        begun(), AttemptFound(job), AttemptCreated(job), RunFailed(job.outcome, "the script failed", total([job], NOW))
    )
    told = json.dumps([timeline_of(state, NOW), summary_of(state, NOW)])
    assert "AlgorithmError" in told
    assert "hunter2" not in told
    assert "s3cr3t" not in told


def test_a_usual_summary_is_some_hundred_bytes() -> None:
    state, _ = twice_interrupted()
    assert len(json.dumps(summary_of(state, NOW, PRICES))) < 900
