"""How many files make one checkpoint, and how far a restored one reaches."""

from __future__ import annotations

import pytest

from airflow_spot.rehearsal.observations import Reading, Stored, Trial, Written
from airflow_spot.rehearsal.saves import Restored, Saves, held, saves_of
from tests.rehearsal.trials import EPOCHS, READING, baseline

#: Names of the files of a checkpoint, by its epoch.
LAYOUTS = {
    "one file": ["epoch-{0:04}.pt"],
    "one name": ["newest.pt"],
    "a metric": ["epoch={0}-loss=0.{1}.ckpt"],
    "a folder": ["checkpoint-{0}/model.bin", "checkpoint-{0}/optimizer.bin", "checkpoint-{0}/trainer_state.json"],
    "the library's": ["step-{0:012}-{2:012x}.data", "step-{0:012}-{2:012x}.json"],
    "shards": ["ckpt-{0}/shard-1-of-3.bin", "ckpt-{0}/shard-2-of-3.bin", "ckpt-{0}/shard-3-of-3.bin"],
    "one file of another name each time": ["{2:x}/model.pt"],
}


def names(patterns: list[str], epoch: int) -> list[str]:
    return [each.format(epoch, epoch * 37 % 89 + 10, 0x1A226311000 + epoch * 0x10FF) for each in patterns]


def trained(patterns: list[str], every: int = 1, keep: int = 2, more: tuple[Written, ...] = ()) -> Trial:
    """An epoch a second, and after some of them the files of a checkpoint, a hundredth of a second each."""
    saved = [epoch for epoch in range(1, EPOCHS + 1) if epoch % every == 0]
    made = [
        Written(name, epoch - 0.99 + i / 100, epoch - 0.985 + i / 100, 9)
        for epoch in saved
        for i, name in enumerate(names(patterns, epoch))
    ]
    left = [name for epoch in saved[-keep:] for name in names(patterns, epoch)] + [each.key for each in more]
    return baseline(
        writes=tuple(sorted((*made, *more), key=lambda write: write.began)),
        left=tuple(Stored(name, 9) for name in dict.fromkeys(left)),
    )


@pytest.mark.parametrize("patterns", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("keep", [1, 2, EPOCHS])
def test_a_checkpoint_has_so_many_files(patterns: list[str], keep: int) -> None:
    assert saves_of(trained(patterns, keep=keep), READING) == Saves(len(patterns), 1, 1)
    assert saves_of(trained(patterns, every=4, keep=keep), READING) == Saves(len(patterns), 4, 4)
    assert saves_of(trained(patterns, every=4, keep=keep), Reading()).files == len(patterns)


def test_a_log_beside_the_checkpoints_counts() -> None:
    log = tuple(Written("log.csv", epoch - 0.5, epoch - 0.4, 9) for epoch in range(1, EPOCHS + 1))
    assert saves_of(trained(["ckpt.pt"], every=5, more=log), READING) == Saves(2, 5, 5)
    assert saves_of(trained(["ckpt.pt"], every=15, more=log), READING) == Saves(2, None, None)


def test_settings_that_are_written_once_do_not() -> None:
    settings = Written("args.json", -0.5, -0.4, 9)
    assert saves_of(trained(["epoch-{0}.pt"], more=(settings,)), READING).files == 1


def test_what_was_renamed_and_nobody_saw_it_does_not() -> None:
    trial = trained(["epoch-{0}.pt"])
    aside = tuple(Written("writing.part", write.began, write.ended, 9) for write in trial.writes)
    both = Trial(**{**vars(trial), "writes": (*trial.writes, *aside)})
    assert saves_of(both, READING).files == 1
    deleted = Trial(**{**vars(both), "left": (), "deleted": tuple(write.key for write in trial.writes)})
    assert saves_of(deleted, READING).files == 1


def test_nothing_is_known_of_a_script_that_writes_nothing() -> None:
    assert saves_of(baseline(writes=(), left=()), READING) == Saves()


def at(*steps: int | None, start: int = 1, whole: bool = True) -> list[Restored]:
    """A file after each of these steps."""
    return [Restored(Stored(f"{step}.{i}", 9, 1.0), start, step, whole) for i, step in enumerate(steps)]


PAIR = Saves(2, 5, 5)


@pytest.mark.parametrize(
    ("restored", "step"),
    [
        ([], None),
        (at(5), None),
        (at(5, 5), 5),
        (at(5, 5, 10), 5),
        (at(5, 5, 10, 10), 10),
        (at(9, 10), None),  # a line was late between the two
        (at(None, 5), None),  # with the settings
        (at(5, 10), 5),  # each has one name, and is written over: the second is not there yet
        ([*at(10), *at(10, start=2)], 10),  # a second start has written a part
    ],
)
def test_a_checkpoint_reaches_as_far_as_all_of_it_must_be_there(restored: list[Restored], step: int | None) -> None:
    found = held(restored, PAIR)
    assert (None if found is None else found.step) == step


def test_of_one_file_the_newest_is_whole() -> None:
    found = held(at(5, 10), Saves(1, 5, 5))
    assert found is not None
    assert found.step == 10


def test_what_a_later_write_has_torn_was_followed() -> None:
    found = held([*at(10, whole=False), *at(5)], PAIR)
    assert found is not None
    assert (found.step, found.whole) == (5, True)
    assert held(at(10, whole=False), Saves(1, 5, 5)) is None
