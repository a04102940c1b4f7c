"""Which files make one checkpoint, by what an uninterrupted training wrote."""

from __future__ import annotations

import pytest

from airflow_spot.rehearsal.observations import Reading, Stored, Trial, Written
from airflow_spot.rehearsal.parts import Parts, parts_of
from tests.rehearsal.trials import EPOCHS, READING, baseline, writes

#: Names of a checkpoint, by its epoch; and the kinds that are expected.
LAYOUTS = {
    "one file": (["epoch-{0:04}.pt"], ["epoch-#.pt"]),
    "one name": (["newest.pt"], ["newest.pt"]),
    "a folder": (
        ["checkpoint-{0}/model.bin", "checkpoint-{0}/trainer_state.json"],
        ["checkpoint-#/model.bin", "checkpoint-#/trainer_state.json"],
    ),
    "the library's": (["step-{0:012}-{1:012x}.data", "step-{0:012}-{1:012x}.json"], ["step-#-#.data", "step-#-#.json"]),
    "shards": (
        ["ckpt-{0}/shard-1-of-3.bin", "ckpt-{0}/shard-2-of-3.bin", "ckpt-{0}/shard-3-of-3.bin"],
        ["ckpt-#/shard-1-of-#.bin", "ckpt-#/shard-2-of-#.bin", "ckpt-#/shard-3-of-#.bin"],
    ),
    "a metric": (["epoch={0}-loss=0.{2}.ckpt"], ["epoch=#-loss=#.#.ckpt"]),
}


def names(patterns: list[str], epoch: int) -> list[str]:
    return [each.format(epoch, 0x01A226311000 + 0x10FF * epoch, (epoch * 37) % 89 + 10) for each in patterns]


def trained(patterns: list[str], every: int = 1, more: tuple[Written, ...] = ()) -> Trial:
    """An epoch a second, and after some of them the files of a checkpoint, a hundredth of a second each."""
    saved = [epoch for epoch in range(1, EPOCHS + 1) if epoch % every == 0]
    made = [
        Written(name, epoch - 0.99 + i / 100, epoch - 0.985 + i / 100, 9)
        for epoch in saved
        for i, name in enumerate(names(patterns, epoch))
    ]
    left = [Stored(name, 9) for name in dict.fromkeys(name for epoch in saved[-2:] for name in names(patterns, epoch))]
    return baseline(
        writes=(*made, *more), left=tuple(left) + tuple(Stored(each.key, each.size, each.ended) for each in more)
    )


@pytest.mark.parametrize(("patterns", "kinds"), LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("reading", [READING, Reading()], ids=["epochs", "time alone"])
def test_a_checkpoint_has_a_file_of_each_kind(patterns: list[str], kinds: list[str], reading: Reading) -> None:
    parts = parts_of(trained(patterns, every=2), reading)
    assert parts.needed == set(kinds)
    for name, kind in zip(names(patterns, 99), kinds, strict=True):
        if "loss" not in name:
            assert parts.kind_of(name) == kind


def test_what_is_written_once_is_no_part() -> None:
    settings = Written("args.json", 0.0, 0.1, 9)
    assert parts_of(trained(["epoch-{0}.pt"], more=(settings,)), READING).needed == {"epoch-#.pt"}


def test_what_is_not_there_at_the_end_is_no_part() -> None:
    """A file that is written aside, and that nobody saw being renamed."""
    trial = trained(["epoch-{0}.pt"])
    aside = tuple(Written("writing.part", write.began, write.ended, 9) for write in trial.writes)
    both = Trial(**{**vars(trial), "writes": (*trial.writes, *aside)})
    assert parts_of(both, READING).needed == {"epoch-#.pt"}
    assert parts_of(Trial(**{**vars(both), "left": ()}), READING).needed == {"epoch-#.pt", "writing.part"}


def test_of_a_single_checkpoint_all_files_are_parts() -> None:
    parts = parts_of(trained(["ckpt/{0}.data", "ckpt/{0}.json"], every=15), READING)
    assert parts.needed == {"ckpt/#.data", "ckpt/#.json"}
    assert parts_of(baseline(writes=(), left=()), READING) == Parts()


PAIR = Parts({"#.data": (True,), "#.json": (True,)}, frozenset({"#.data", "#.json"}))


def stored(*names: str) -> list[Stored]:
    """Files that were written a second after one another."""
    return [Stored(name, 9, 100.0 + i) for i, name in enumerate(names)]


@pytest.mark.parametrize(
    ("restored", "holding"),
    [
        ([], None),
        (["1.data"], None),
        (["1.data", "1.json"], "1.data"),
        (["1.data", "1.json", "2.data"], "1.json"),
        (["1.data", "1.json", "2.data", "2.json"], "2.data"),
        (["1.data", "1.json", "2.data", "2.json", "log.csv"], "2.data"),
        (["log.csv"], None),
    ],
)
def test_a_checkpoint_reaches_as_far_as_its_oldest_part(restored: list[str], holding: str | None) -> None:
    found = PAIR.holding(stored(*restored))
    assert (None if found is None else found.key) == holding


def test_a_part_that_a_later_write_has_torn_is_the_scripts_own_loss() -> None:
    assert PAIR.holding(stored("1.data"), destroyed=["1.json"]) == stored("1.data")[0]
    assert PAIR.holding(stored("1.data", "1.json", "2.data"), destroyed=["2.json"]) == stored("", "1.json")[1]
    assert PAIR.holding([], destroyed=["1.data", "1.json"]) is None


def test_any_file_counts_where_nothing_is_known() -> None:
    assert Parts().holding(stored("a", "b")) == stored("a", "b")[1]
    assert writes(1, 2)[0].key == "epoch-0001.pt"
    assert Parts().kind_of("epoch-0001.pt") == "epoch-#.pt"
