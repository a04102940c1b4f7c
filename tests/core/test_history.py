"""A run's past is read from SageMaker alone, and a try knows which generation it works on."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_spot.core.attempt import Attempt
from airflow_spot.core.history import History, begin_try
from airflow_spot.core.ladder import Rung
from airflow_spot.core.outcomes import Outcome
from airflow_spot.core.placement import Placement
from tests.core.cases import NOW, RUN, attempt, description, history, killed, later, tried


def test_an_attempt_is_read_with_all_its_marks() -> None:
    read = Attempt.from_description(
        description(
            Environment={"AIRFLOW_SPOT_TRY": "2 3 - -", "AIRFLOW_SPOT_FINGERPRINT": "image:a", "TOKEN": "s3cr3t"},
            TrainingJobStatus="Stopped",
            SecondaryStatus="Stopped",
            SecondaryStatusTransitions=[{"Status": "Training"}, {"Status": "Interrupted"}, {"Status": "Training"}],
            TrainingEndTime=later(minutes=1),
            LastModifiedTime=later(minutes=2),
        ),
        {"airflow-spot:stop": "killed 2", "airflow-spot:delivered": "4 5 - -", "team": "ml"},
    )
    assert (read.name.generation, read.number, read.name.key) == (1, 1, RUN.key)
    assert read.placement == Placement("ml.g5.xlarge", 2, True)
    assert (read.outcome, read.live, read.interruptions) == (Outcome.STOPPED_BY_OPERATOR, False, 1)
    assert (read.training_seconds, read.billable_seconds) == (100, 30)
    assert (read.created, read.ended) == (NOW, later(minutes=1))
    assert (read.stop, read.delivered_by, read.created_by) == (killed(2), tried(4, 5), tried(2, 3))
    assert (read.fingerprint, read.checkpoint_s3_uri) == ("image:a", "s3://bucket/checkpoints")
    assert "s3cr3t" not in repr(read)
    assert "hunter2" not in repr(read)


def test_an_attempt_is_read_without_tags() -> None:
    stopped = description(TrainingJobStatus="Stopped", SecondaryStatus="Stopped", LastModifiedTime=later(minutes=2))
    read = Attempt.from_description(stopped, {})
    assert (read.stop, read.delivered_by, read.created_by, read.fingerprint) == (None, None, None, "")
    assert read.outcome is Outcome.STOPPED_EXTERNALLY
    assert read.ended == later(minutes=2)


def test_a_job_that_never_got_capacity_has_next_to_nothing() -> None:
    bare = {
        "TrainingJobName": f"train-afspot-{RUN.key}-1-2",
        "TrainingJobStatus": "Stopped",
        "SecondaryStatus": "MaxWaitTimeExceeded",
    }
    read = Attempt.from_description(bare, {})
    assert (read.outcome, read.training_seconds, read.ended) == (Outcome.CAPACITY_TIMEOUT, 0, None)
    assert [start.granted for start in read.starts] == [None]


def test_a_strangers_job_is_refused() -> None:
    with pytest.raises(ValueError, match="not the name of a job"):
        Attempt.from_description(description(TrainingJobName="train"), {})


@pytest.mark.parametrize(
    ("rung", "text"),
    [
        (Rung("ml.g5.xlarge"), "ml.g5.xlarge spot"),
        (Rung("ml.g5.xlarge", 4), "4 x ml.g5.xlarge spot"),
        (Rung("ml.m5.large", 1, False), "ml.m5.large on-demand"),
    ],
)
def test_a_rung_reads_well(rung: Rung, text: str) -> None:
    assert str(rung) == text


def test_what_counts_for_a_try() -> None:
    past = history(Outcome.SCRIPT_ERROR, Outcome.NO_CAPACITY, None, first_of_try=2)
    assert [attempt.number for attempt in past.of_this_try] == [2, 3]
    assert past.last is past.attempts[2]
    assert History(1).last is None and History(1).of_this_try == ()


COMPLETED, FAILED, PERSON = Outcome.COMPLETED, Outcome.SCRIPT_ERROR, Outcome.STOPPED_EXTERNALLY
# Of the last attempt: how it ended, the try it was begun by, and the try its result was delivered by; the try that
# begins; whether that is a new generation with resume=True, and with resume=False.
TABLE: list[tuple[str, Outcome | None, tuple[int, int], tuple[int, int] | None, tuple[int, int], bool, bool]] = [
    ("a retry after a crash that lost the result", COMPLETED, (1, 2), None, (2, 2), False, False),
    ("a clear after such a crash", COMPLETED, (1, 2), None, (2, 3), False, True),
    ("a retry after a crash that came after the mark", COMPLETED, (1, 2), (1, 2), (2, 2), False, False),
    ("a clear of a success without retries", COMPLETED, (1, 0), (1, 0), (2, 1), True, True),
    ("a clear of a success with retries", COMPLETED, (1, 2), (1, 2), (2, 3), True, True),
    ("a clear of a success of a later try", COMPLETED, (1, 2), (2, 2), (3, 4), True, True),
    ("a retry of a clear that adopted and delivered", COMPLETED, (1, 2), (2, 3), (3, 3), False, True),
    ("the DAG run deleted and made again", COMPLETED, (1, 0), (1, 0), (1, 0), True, True),
    ("the same after retries", COMPLETED, (3, 3), (3, 3), (1, 3), True, True),
    ("a retry after an error", FAILED, (1, 2), None, (2, 2), False, False),
    ("a clear after an error", FAILED, (1, 0), None, (2, 1), False, True),
    ("a clear after a person's stop trains on", PERSON, (1, 0), None, (2, 1), False, True),
    ("the DAG run deleted after an error and made again", FAILED, (1, 0), None, (1, 0), False, True),
    ("a failed job is not over, whatever mark it has", FAILED, (1, 0), (1, 0), (2, 1), False, True),
    ("a live job at a retry", None, (1, 2), None, (2, 2), False, False),
    ("a live job at a clear", None, (1, 2), None, (2, 3), False, False),
    ("a live job that was handed over unfinished, at a clear", None, (1, 2), (1, 2), (2, 3), False, False),
]


@pytest.mark.parametrize("resume", [True, False])
@pytest.mark.parametrize(("case", "outcome", "begun", "delivered", "now", "anew", "anew_without_resume"), TABLE)
def test_which_generation_a_try_works_on(
    *,
    case: str,
    outcome: Outcome | None,
    begun: tuple[int, int],
    delivered: tuple[int, int] | None,
    now: tuple[int, int],
    anew: bool,
    anew_without_resume: bool,
    resume: bool,
) -> None:
    last = attempt(
        2, outcome, generation=3, created_by=tried(*begun), delivered_by=tried(*delivered) if delivered else None
    )
    earlier = attempt(1, Outcome.NO_CAPACITY, generation=3, created_by=tried(*begun))
    before = attempt(9, Outcome.COMPLETED, generation=2)
    past = begin_try((last, before, earlier), tried(*now), resume=resume)
    if anew if resume else anew_without_resume:
        assert past == History(4), case
    else:
        assert past.generation == 3, case
        assert past.attempts == (earlier, last), case
        assert past.first_of_try == (2 if last.live else 3), case


@pytest.mark.parametrize("resume", [True, False])
def test_a_run_without_a_past(resume: bool) -> None:
    assert begin_try((), tried(1, 0), resume=resume) == History(1)


@pytest.mark.parametrize(
    ("resume", "now", "anew"), [(False, (2, 3), True), (True, (2, 3), False), (False, (2, 2), False)]
)
def test_what_is_live_at_a_clear_that_trains_anew_ends_first(resume: bool, now: tuple[int, int], anew: bool) -> None:
    live = attempt(2, None, generation=3, created_by=tried(1, 2))
    past = begin_try((live,), tried(*now), resume=resume)
    assert past.restart_requested is anew
    assert past.next_generation_if_idle() is past
    ended = replace(past, attempts=(attempt(2, Outcome.COMPLETED, generation=3, created_by=tried(1, 2)),))
    assert ended.next_generation_if_idle() == (History(4) if anew else ended)


def test_of_two_jobs_the_one_that_was_created_first_precedes() -> None:
    older, younger = attempt(1, None, created=NOW - timedelta(seconds=1)), attempt(2, None, created=NOW)
    assert older.precedes(younger) and not younger.precedes(older)
    twin = attempt(3, None, created=NOW)
    assert younger.precedes(twin) and not twin.precedes(younger)


def test_attempts_from_before_this_try_are_closed() -> None:
    past = begin_try(history(FAILED, FAILED).attempts, tried(2, 2))
    assert past.of_this_try == ()
    assert len(past.attempts) == 2


def test_a_live_attempt_is_this_trys_wherever_it_stands() -> None:
    """Two names of one number, or a list that lagged: what is live is never left alone."""
    attempts = (attempt(1, None), attempt(2, FAILED))
    past = begin_try(attempts, tried(2, 2), resume=False)
    assert past.first_of_try == 1
    assert past.of_this_try == attempts


outcomes = st.none() | st.sampled_from(Outcome)
marks = st.none() | st.builds(tried, st.integers(1, 4), st.integers(0, 4))
attempts_ = st.builds(
    lambda number, outcome, generation, begun, delivered: attempt(
        number, outcome, generation=generation, created_by=begun, delivered_by=delivered
    ),
    st.integers(1, 5),
    outcomes,
    st.integers(1, 3),
    marks,
    marks,
)


@given(
    st.lists(attempts_, max_size=6, unique_by=lambda a: a.job_name),
    st.builds(tried, st.integers(1, 5), st.integers(0, 5)),
    st.booleans(),
)
def test_a_try_never_leaves_a_live_job_of_its_generation_and_keeps_order(
    attempts: list[Any], now: Any, resume: bool
) -> None:
    past = begin_try(tuple(attempts), now, resume=resume)
    newest = max((a.name.generation for a in attempts), default=1)
    assert past.generation in (newest, newest + 1)
    assert [a.number for a in past.attempts] == sorted(a.number for a in past.attempts)
    assert all(a.name.generation == past.generation for a in past.attempts)
    live = [a for a in attempts if a.live and a.name.generation == newest]
    assert set(live) <= set(past.of_this_try)
    if past.generation == newest:
        assert set(past.attempts) == {a for a in attempts if a.name.generation == newest}
    assert past == begin_try(tuple(reversed(attempts)), now, resume=resume)
