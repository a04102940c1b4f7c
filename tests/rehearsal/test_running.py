"""How often a scenario is played whose interruptions did not come about."""

from __future__ import annotations

import pytest

from airflow_spot.rehearsal.observations import Scenario, Start
from airflow_spot.rehearsal.running import _tries
from tests.rehearsal.trials import baseline


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
