"""XGBoost by its adapter: killed at random moments, it ends with the trees of a training that was not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from airflow_spot.checkpoint import Checkpointer
from tests.checkpoint.killing import killed_often
from tests.support.extent import seeds
from tests.support.lazily import Lazily

numpy, xgboost = Lazily("numpy"), Lazily("xgboost")

TRAINER = """
import hashlib, sys, time
import numpy, xgboost
from airflow_spot.checkpoint import Checkpointer
from airflow_spot.checkpoint.for_xgboost import train

folder, rounds, pause = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
drawn = numpy.random.default_rng(1)
rows = drawn.normal(size=(200, 5))
data = xgboost.DMatrix(rows, label=rows[:, 0] * rows[:, 1] > 0)
checkpoints = Checkpointer(folder)
found = checkpoints.latest()
print("FROM", found.step if found else 0, flush=True)

class Slow(xgboost.callback.TrainingCallback):
    def after_iteration(self, model, epoch, evals_log):
        time.sleep(pause)
        return False

booster = train(
    checkpoints, {"objective": "binary:logistic", "nthread": 1, "max_depth": 3}, data, rounds, every=3,
    evals=[(data, "train")], verbose_eval=False, callbacks=[Slow()],
)
print("END", booster.num_boosted_rounds(), hashlib.sha256(bytes(booster.save_raw("json"))).hexdigest(), flush=True)
"""


@pytest.fixture
def trainer(tmp_path: Path) -> Path:
    path = tmp_path / "train.py"
    path.write_text(TRAINER)
    return path


def uninterrupted(trainer: Path, rounds: int) -> str:
    command = [sys.executable, str(trainer), str(trainer.parent / "whole"), str(rounds), "0"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1]


def lives(trainer: Path, kills: int, rounds: int, seed: int) -> list[int]:
    command = [sys.executable, str(trainer), str(trainer.parent / "c"), str(rounds), "0.01"]
    found = killed_often(command, kills, seed, within=0.25)
    assert found.output.splitlines()[-1] == uninterrupted(trainer, rounds)
    return found.begun


@pytest.mark.slow
def test_a_training_that_was_killed_is_the_same_training(trainer: Path) -> None:
    begun = lives(trainer, 2, 60, 1)
    assert begun == sorted(begun)
    said = json.loads((trainer.parent / "c" / "airflow-spot-progress.json").read_text())
    assert (said["step"], said["total"], list(said["metrics"])) == (60, 60, ["train-logloss"])


@pytest.mark.parametrize("rates", [lambda round_: 0.5 * 0.8**round_, [0.5 * 0.8**each for each in range(12)]])
def test_a_schedule_of_the_learning_rate_goes_on(tmp_path: Path, rates: Any) -> None:
    from airflow_spot.checkpoint.for_xgboost import train

    rows = numpy.random.default_rng(1).normal(size=(100, 3))
    data = xgboost.DMatrix(rows, label=rows[:, 0] * rows[:, 1])

    def trained(folder: str, *more: Any) -> bytes:
        callbacks = [xgboost.callback.LearningRateScheduler(rates), *more]
        params = {"nthread": 1, "max_depth": 3}
        return bytes(
            train(Checkpointer(str(tmp_path / folder)), params, data, 12, every=5, callbacks=callbacks).save_raw("json")
        )

    class Kill(xgboost.callback.TrainingCallback):
        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
            if model.num_boosted_rounds() == 7:
                raise KeyboardInterrupt
            return False

    whole = trained("whole")
    with pytest.raises(KeyboardInterrupt):
        trained("killed", Kill())
    assert trained("killed") == whole


@pytest.mark.slow
@pytest.mark.parametrize("seed", seeds(20))
def test_two_hundred_kills(trainer: Path, seed: int) -> None:
    begun = lives(trainer, 10, 300, seed)
    assert begun == sorted(begun)
    assert len(set(begun)) > 1 or len(begun) <= 10  # it ended before the kills did
