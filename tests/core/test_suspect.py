"""Which checkpoint may be damaged, and what belongs to it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_spot.core.history import History
from airflow_spot.core.outcomes import Outcome
from airflow_spot.core.starts import Start
from airflow_spot.core.suspect import StoredObject, is_suspect, newest_checkpoint, restored_start
from tests.core.cases import NOW, attempt

FOLDER = "c/g0001/"


def stored(*names: str) -> list[StoredObject]:
    """Objects that were written one after the other."""
    return [StoredObject(FOLDER + name, 9, NOW + timedelta(seconds=place)) for place, name in enumerate(names)]


@pytest.mark.parametrize(
    ("names", "together"),
    [
        (["epoch-1.pt", "epoch-2.pt"], ["epoch-2.pt"]),
        (["model-0.93.pt", "model-0.95.pt"], ["model-0.95.pt"]),
        (["a.pt", "b.pt"], ["b.pt"]),
        (["last.pt", "last.json"], ["last.json"]),  # no number: they may be anything
        (
            ["ckpt-4.index", "ckpt-5.data-00000-of-00001", "checkpoint", "ckpt-5.index"],
            ["ckpt-5.data-00000-of-00001", "ckpt-5.index"],
        ),
        (
            ["checkpoint-50/model.bin", "checkpoint-100/model.bin", "checkpoint-100/trainer_state.json"],
            ["checkpoint-100/model.bin", "checkpoint-100/trainer_state.json"],
        ),
        (["models/epoch-1.pt", "models/epoch-2.pt"], ["models/epoch-2.pt"]),
        (
            [
                "step-000000000004-00.data",
                "step-000000000004-00.json",
                "step-000000000005-01.data/a",
                "step-000000000005-01.json",
            ],
            ["step-000000000005-01.data/a", "step-000000000005-01.json"],
        ),
        # Lightning's: the version is of a start, and holds all its checkpoints.
        (
            ["version_0/checkpoints/epoch=1-step=9.ckpt", "version_0/checkpoints/epoch=2-step=18.ckpt"],
            ["version_0/checkpoints/epoch=2-step=18.ckpt"],
        ),
        (["version_0/checkpoints/best.ckpt", "version_0/checkpoints/last.ckpt"], ["version_0/checkpoints/last.ckpt"]),
        (["run2/checkpoint-4/a", "run2/checkpoint-5/global_step5/0.pt"], ["run2/checkpoint-5/global_step5/0.pt"]),
        (["fold1/epoch_3.pt", "fold1/epoch_4.pt"], ["fold1/epoch_4.pt"]),
        (["400/model.bin", "500/model.bin", "500/more.bin"], ["500/model.bin", "500/more.bin"]),
        (["epoch-1.pt", "epoch-2.pt", "epoch-3.pt.sagemaker-uploaded", "airflow-spot-progress.json"], ["epoch-2.pt"]),
    ],
)
def test_what_belongs_to_the_newest(names: list[str], together: list[str]) -> None:
    found = newest_checkpoint(stored(*names), FOLDER)
    assert found is not None
    assert [each.key[len(FOLDER) :] for each in found.objects] == together


@pytest.mark.parametrize(
    ("names", "empty", "together"),
    [
        (["epoch-1.pt", "epoch-2.pt"], ["epoch-2.pt"], ["epoch-2.pt"]),  # it was cut off before its first byte
        (["a.pt", "last.ckpt"], ["last.ckpt"], ["last.ckpt"]),
        (["epoch-1.pt", "_SUCCESS"], ["_SUCCESS"], ["epoch-1.pt"]),
        (
            ["checkpoint-5/", "checkpoint-5/a.bin", "checkpoint-5/b.tmp", "checkpoint-5/done"],
            ["checkpoint-5/", "checkpoint-5/done"],
            ["checkpoint-5/", "checkpoint-5/a.bin", "checkpoint-5/b.tmp", "checkpoint-5/done"],
        ),
    ],
)
def test_what_is_empty_is_taken_along_and_may_be_the_newest(
    names: list[str], empty: list[str], together: list[str]
) -> None:
    there = [replace(each, size=0) if each.key[len(FOLDER) :] in empty else each for each in stored(*names)]
    found = newest_checkpoint(there, FOLDER)
    assert found is not None
    assert [each.key[len(FOLDER) :] for each in found.objects] == together


NAMES = st.text("ab1-./", min_size=1, max_size=12).filter(lambda name: not name.endswith("/"))


@given(st.lists(NAMES, max_size=6, unique=True))
def test_the_newest_is_always_among_them(names: list[str]) -> None:
    found = newest_checkpoint(stored(*names), FOLDER)
    assert (found is None) == (names == [])
    if found is not None:
        assert found.newest in found.objects


def minute(number: float) -> Any:
    return NOW + timedelta(minutes=number)


FAILED = Start(minute(60), minute(61), minute(62), ended=minute(62.4))
LONG = replace(FAILED, ended=minute(64))
FIRST = Start(NOW, NOW, NOW, minute(50), minute(50))


@pytest.mark.parametrize(
    ("before", "starts", "suspects"),
    [
        ([], (FIRST, FAILED), True),
        ([], (FIRST, LONG), False),
        ([], (FAILED,), False),  # nothing was restored
        ([Outcome.NO_CAPACITY], (FAILED,), True),
        ([Outcome.MAX_WAIT_EXCEEDED], (FAILED,), True),
        ([Outcome.SCRIPT_ERROR], (FAILED,), False),  # it is the script that fails
        ([Outcome.NO_CAPACITY, Outcome.SCRIPT_ERROR], (FAILED,), False),
        ([], (FIRST, replace(FAILED, training=None)), False),
    ],
)
def test_which_failure_follows_a_restore(before: list[Outcome], starts: tuple[Start, ...], suspects: bool) -> None:
    earlier = [replace(attempt(place, each), training_seconds=9) for place, each in enumerate(before, 1)]
    failed = replace(attempt(len(before) + 1, Outcome.SCRIPT_ERROR), starts=starts, ended=minute(65))
    history = History(1, (*earlier, failed))
    assert (restored_start(history, failed) is not None) is suspects


def test_one_that_is_newer_than_the_start_is_none() -> None:
    found = newest_checkpoint([StoredObject(f"{FOLDER}a-1.pt", 9, minute(49))], FOLDER)
    assert found is not None
    assert is_suspect(found, FAILED)
    assert not is_suspect(found, replace(FAILED, training=minute(49)))
