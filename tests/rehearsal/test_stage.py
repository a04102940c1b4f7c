"""What a rehearsal saw of a trial: which writes were whole."""

from __future__ import annotations

import pytest

from airflow_spot.rehearsal.observations import Start
from airflow_spot.rehearsal.stage import _ended, _heard, _within
from airflow_spot.rehearsal.writes import Write


def starts(signalled: float | None) -> list[Start]:
    """One that ended, as the service noticed, at 10, and the one after it."""
    return [Start(0, 10, 137, signalled=signalled), Start(11, 20, 0)]


@pytest.mark.parametrize(
    ("signalled", "closed", "ended"),
    [
        (9.0, 8.9, 8.9),
        (9.0, 9.1, None),  # by its end, which a busy service noticed a second later
        (9.0, 9.99, None),
        (None, 9.9, 9.9),  # it ended by itself
        (None, 9.99, None),
    ],
)
def test_a_write_that_the_end_of_its_process_closed_is_not_whole(
    signalled: float | None, closed: float, ended: float | None
) -> None:
    assert _ended(Write("epoch-1.json", 8.5, closed, 10), starts(signalled)) == ended
    assert _ended(Write("epoch-1.json", 8.5, closed, 10, aside=True), starts(signalled)) == closed


def test_what_the_last_start_wrote_was_not_cut() -> None:
    assert _ended(Write("epoch-1.json", 12, 19.99, 10), starts(9.0)) == 19.99


def test_the_last_writes_may_be_heard_of_late() -> None:
    spans = [(0.0, 10.0), (11.0, 20.0)]
    assert [_within(moment, _heard(spans)) for moment in (5.0, 10.5, 12.0, 25.0)] == [True, False, True, True]
    assert _heard([]) == []
