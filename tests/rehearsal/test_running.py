"""How often a scenario is played whose interruptions did not come about."""

from __future__ import annotations

import pytest

from airflow_spot.rehearsal.judge import judge
from airflow_spot.rehearsal.observations import Scenario, Start, Trial
from airflow_spot.rehearsal.running import _shows_too_little, _tells_more, _tries
from tests.rehearsal.trials import EPOCHS, OTHER_MODEL, READING, baseline, interrupted, kept


@pytest.mark.parametrize(
    ("scenario", "seconds", "writes", "tries"),
    [
        (Scenario.TORN, 1, 9, 4),
        (Scenario.TORN, 3600, 9, 4),
        (Scenario.TORN, 1, 1, 1),
        (Scenario.KILLED, 1, 9, 3),
        (Scenario.NEW_JOB, 29, 9, 3),
        (Scenario.KILLED, 3600, 9, 1),  # a busy machine does not miss it, and an hour more would be long
    ],
)
def test_a_short_training_is_tried_again(scenario: Scenario, seconds: float, writes: int, tries: int) -> None:
    made = baseline(starts=(Start(0.0, seconds, 0),))
    assert _tries(scenario, baseline(starts=made.starts, writes=made.writes[:writes])) == tries


@pytest.mark.parametrize(
    ("trial", "too_little"),
    [
        (interrupted(), False),
        (interrupted(missed="too late"), True),  # one of two came, and did no harm
        (interrupted(missed="too late", cuts=0), True),
        (interrupted(missed="too late", resumes_at=1), False),  # one of two came, and it began anew
        (interrupted(missed="too late", model=OTHER_MODEL, told=lambda _: 0.1), True),  # it may differ by chance
        (interrupted(missed="too late", resumes_at=1, scenario=Scenario.TORN), True),
        (interrupted(missed="too late", status="Failed", secondary="Failed"), False),
    ],
)
def test_one_whose_interruptions_did_not_all_come_is_played_again_unless_it_has_shown_a_fault(
    trial: Trial, too_little: bool
) -> None:
    assert _shows_too_little(trial, baseline(), READING) is too_little


def test_a_fault_that_an_uninterrupted_run_has_too_says_nothing_about_the_interruptions() -> None:
    all_of_them = baseline(left=kept(*range(1, EPOCHS + 1)))
    assert [verdict.fault for verdict in judge([all_of_them], READING).verdicts] == [True]
    assert _shows_too_little(interrupted(missed="too late"), all_of_them, READING)


def test_of_two_the_one_that_shows_more_counts() -> None:
    one, none = interrupted(missed="too late"), interrupted(missed="too late", cuts=0)
    two, failed = interrupted(missed="too late", cuts=2), interrupted(status="Failed", cuts=0)
    anew = interrupted(missed="too late", resumes_at=1)

    def tells_more(again: Trial, trial: Trial) -> bool:
        return _tells_more(again, trial, baseline(), READING)

    assert not tells_more(none, one)
    assert not tells_more(one, one)  # the first may have another result
    assert tells_more(two, one)
    assert tells_more(failed, two)
    assert tells_more(anew, two)
