"""How often a scenario is played whose interruptions did not come about."""

from __future__ import annotations

import pytest

from airflow_spot.rehearsal.observations import Scenario, Start, Trial
from airflow_spot.rehearsal.running import _more_telling, _shows_too_little, _tries
from tests.rehearsal.trials import READING, baseline, interrupted


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
        (interrupted(missed="too late", resumes_at=1, scenario=Scenario.TORN), True),
        (interrupted(missed="too late", status="Failed", secondary="Failed"), False),
    ],
)
def test_one_whose_interruptions_did_not_all_come_is_played_again_unless_it_has_shown_a_fault(
    trial: Trial, too_little: bool
) -> None:
    assert _shows_too_little(trial, baseline(), READING) is too_little


def test_of_two_the_one_that_shows_more_counts() -> None:
    one, none = interrupted(missed="too late"), interrupted(missed="too late", cuts=0)
    two, failed = interrupted(cuts=2), interrupted(status="Failed", cuts=0)
    assert _more_telling(one, none) is one
    assert _more_telling(one, two) is two
    assert _more_telling(two, failed) is failed
