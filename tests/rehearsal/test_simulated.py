"""Sound scripts are not accused, and faulty ones are found, whatever their files are and however late their log is."""

from __future__ import annotations

import random

import pytest

from airflow_spot.rehearsal.judge import judge
from airflow_spot.rehearsal.observations import Reading
from airflow_spot.rehearsal.verdicts import Kind
from tests.rehearsal.simulated import EPOCHS, Script, in_chunks, run

LOST = {Kind.STARTS_FROM_NOTHING, Kind.REPEATS, Kind.TORN_FILE}

LAYOUTS = {
    "one file": Script(lambda epoch: [f"epoch-{epoch:04}.pt"]),
    "one file, now and then": Script(lambda epoch: [f"epoch-{epoch:04}.pt"], every=5),
    "a metric in the name": Script(
        lambda epoch: [f"epoch={epoch}-loss=0.{epoch * 37 % 89 + 10}.ckpt"], every=2, keep=1
    ),
    "a folder": Script(
        lambda epoch: [f"checkpoint-{epoch}/{name}" for name in ("model", "optimizer", "state.json")], every=4
    ),
    "shards": Script(lambda epoch: [f"ckpt-{epoch}/shard-{i}-of-4.bin" for i in range(1, 5)], every=3),
    "shards in a folder of a hash": Script(
        lambda epoch: [f"{epoch * 2654435761 % 2**32:08x}/rank_{i}.pt" for i in range(2)], every=3
    ),
    "data and what makes them a checkpoint": Script(
        lambda epoch: [f"step-{epoch:012}-{epoch * 99:012x}.{kind}" for kind in ("data", "json")], every=2
    ),
    "with a log": Script(lambda epoch: [f"{epoch}/model", f"{epoch}/optimizer"], every=5, log="log.csv"),
    "one checkpoint in all": Script(lambda epoch: [f"{epoch}/model", f"{epoch}/optimizer"], every=12),
}


@pytest.mark.parametrize("script", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("late", [False, True], ids=["in time", "late"])
def test_a_sound_script_is_not_accused(script: Script, late: bool) -> None:
    for seed in range(60):
        generator = random.Random(f"{seed}")
        seconds = generator.choice([1.0, 0.05])
        slow = in_chunks(generator, 10 * seconds) if late else (lambda moment: moment)
        kills = [seconds * generator.uniform(2, EPOCHS) for _ in range(generator.randint(1, 3))]
        alone = run(script, script.newest, epoch_seconds=seconds, late=slow)
        killed = run(script, script.newest, kills, epoch_seconds=seconds, late=slow)
        found = judge([alone, killed], Reading("epoch")).verdicts
        assert not LOST & {verdict.kind for verdict in found}, (seed, kills, found)


@pytest.mark.parametrize("script", LAYOUTS.values(), ids=LAYOUTS)
def test_a_script_that_never_loads_is_found(script: Script) -> None:
    """Killed after the second checkpoint; where there is one only, when it has gone on training."""
    for seed in range(30):
        generator = random.Random(f"{seed}")
        alone = run(script, lambda disk: 0)
        after = min(2 * script.every, EPOCHS - 4) + 2
        killed = run(script, lambda disk: 0, [generator.uniform(after, EPOCHS)])
        found = judge([alone, killed], Reading("epoch")).verdicts
        assert Kind.STARTS_FROM_NOTHING in {verdict.kind for verdict in found}, (seed, found)


@pytest.mark.parametrize("script", [LAYOUTS["one file"], LAYOUTS["a folder"], LAYOUTS["shards"]])
def test_a_script_that_loads_an_old_one_is_found(script: Script) -> None:
    many = Script(script.names, script.every, keep=EPOCHS)
    alone = run(many, many.newest)
    killed = run(many, lambda disk: script.every, [18.5])
    assert Kind.REPEATS in {verdict.kind for verdict in judge([alone, killed], Reading("epoch")).verdicts}


def test_a_start_that_proves_nothing_is_told() -> None:
    script = LAYOUTS["a folder"]
    killed = run(script, script.newest, [4.5])
    assert [verdict.kind for verdict in judge([run(script, script.newest), killed], Reading("epoch")).verdicts] == [
        Kind.RESUMES
    ]
    assert judge([run(script, script.newest), killed], Reading("epoch")).unjudged == (
        "killed without a warning: start 2 began anew; it had one checkpoint at most, which an interruption may have "
        "cut short",
    )
