"""The moments of the interruptions."""

from __future__ import annotations

import pytest

from airflow_spot.rehearsal.observations import INTERRUPTED, Scenario, Written
from airflow_spot.rehearsal.plan import interruptions
from tests.rehearsal.trials import baseline


@pytest.mark.parametrize("scenario", INTERRUPTED)
def test_a_seed_gives_the_same_moments_and_another_one_others(scenario: Scenario) -> None:
    assert interruptions(scenario, baseline(), 2, 3) == interruptions(scenario, baseline(), 2, 3)
    assert len({tuple(interruptions(scenario, baseline(), 2, seed)) for seed in range(20)}) > 5


@pytest.mark.parametrize("seed", range(30))
def test_moments_are_apart_after_the_first_checkpoint_and_before_the_last(seed: int) -> None:
    moments = [each.after_writes for each in interruptions(Scenario.KILLED, baseline(), 3, seed)]
    assert moments == sorted(moments)
    assert len(set(moments)) == 3
    assert moments[0] >= 1
    assert moments[-1] < 20


def test_a_checkpoint_of_several_files_is_to_be_in_s3_as_a_whole() -> None:
    assert {each.uploads for each in interruptions(Scenario.KILLED, baseline(), 3, 0, files=4)} == {4}
    (one,) = interruptions(Scenario.NEW_JOB, baseline(writes=baseline().writes[:6]), 1, 0, files=4)
    assert (one.how, one.uploads) == ("stop", 3), "there are six in all"


def test_one_checkpoint_is_enough() -> None:
    (one,) = interruptions(Scenario.KILLED, baseline(writes=(Written("a", 1, 2, 3),)), 1, 0)
    assert one.after_writes == 1


def test_without_checkpoints_time_counts() -> None:
    first, second = interruptions(Scenario.KILLED, baseline(writes=()), 2, 0)
    assert first.after_writes == 0
    assert 0 < first.pause < 10 > second.pause > 0


def test_a_write_of_many_pieces_is_torn_in_its_middle_and_one_of_a_single_piece_when_it_is_empty() -> None:
    many = tuple(Written(f"{i}", i, i + 0.5, 100, pieces=12) for i in range(9))
    assert interruptions(Scenario.TORN, baseline(writes=many), 1, 0)[0].piece == 6
    assert interruptions(Scenario.TORN, baseline(), 1, 0)[0].piece == 0


def test_there_is_more_than_one_write_to_be_met() -> None:
    for seed in range(20):
        assert interruptions(Scenario.TORN, baseline(), 1, seed)[0].after_writes <= 16
        few = baseline(writes=baseline().writes[:3])
        assert interruptions(Scenario.TORN, few, 1, seed)[0].after_writes == 1


def test_uninterrupted_is_uninterrupted() -> None:
    assert not interruptions(Scenario.UNINTERRUPTED, baseline(), 2, 0)
    assert not interruptions(Scenario.AGAIN, baseline(), 2, 0)
