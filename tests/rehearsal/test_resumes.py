"""What each start of a script could have resumed from, by values."""

from __future__ import annotations

from dataclasses import replace

import pytest

from airflow_spot.rehearsal.observations import Scenario, Start, Stored, Trial, Written
from airflow_spot.rehearsal.resumes import resumes
from airflow_spot.rehearsal.saves import Saves
from tests.rehearsal.trials import EPOCHS, READING, SIZE, interrupted, kept, lines, name, writes

RARE = tuple(write for write in writes(1, EPOCHS) if int(write.key[6:10]) % 5 == 0)


def twice(written: Written, *, own: int, third: int = 11) -> Trial:
    """
    Epoch 17 was reached and 10 is in S3; the second start trains some epochs, writes a file, and is lost as well.

    :param own: how many epochs the second start trains.
    """
    first = Start(0.0, 17.5, 137, lines(1, 17))
    second = Start(30.0, 33.0, 137, lines(11, 10 + own, 31.0), kept(5, 10))
    restored = (*kept(5, 10), Stored(written.key, written.size, written.ended))
    last = Start(40.0, 60.0, 0, lines(third, EPOCHS, 41.0), restored)
    alone = interrupted(scenario=Scenario.AT_ONCE)
    return replace(alone, starts=(first, second, last), cuts=2, writes=(*RARE[:2], written))


@pytest.mark.parametrize(
    ("ended", "own", "saved"),
    [
        (31.5, 2, 11),  # after its first epoch
        (30.5, 2, 10),  # before: it is where the second start continued
        (30.5, 0, 10),  # the second start's log tells nothing: what it could resume from
    ],
)
def test_a_file_tells_of_the_start_that_wrote_it(ended: float, own: int, saved: int) -> None:
    """Not of the first start, which had come farther."""
    trial = twice(Written("log.csv", ended - 0.1, ended, SIZE), own=own)
    assert [each.saved for each in resumes(trial, READING)] == [10, saved]
    assert [each.reached for each in resumes(trial, READING)] == [17, 17]


def test_a_file_from_before_the_first_start_tells_nothing() -> None:
    early = replace(interrupted(restored=(Stored(name(1), SIZE, -5.0),)), writes=())
    assert [each.saved for each in resumes(early, READING)] == [None]


def test_a_part_of_a_checkpoint_holds_nothing() -> None:
    (resume,) = resumes(interrupted(restored=kept(15)), READING, Saves(files=2))
    assert (resume.saved, resume.newest, resume.neglected, resume.in_part) == (None, None, 0, True)
    (resume,) = resumes(interrupted(restored=()), READING, Saves(files=2))
    assert (resume.saved, resume.in_part) == (None, False)
