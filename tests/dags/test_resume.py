"""The training script under interruption: nothing that reached S3 is trained again, and the model is the same.

Each trial takes the instance away at seeded random moments, with and without a warning. What is asserted is read from
the service's audit log and from the job's own output.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from airflow_spot.local import LocalSageMaker
from tests.dags.conftest import SCRIPTS
from tests.local.jobs import BUCKET, Jobs, statuses, until
from tests.support.extent import ALL
from tests.support.lazily import Lazily

np, xgb = Lazily("numpy"), Lazily("xgboost")

ROUNDS = 40
INTERRUPTIONS = 3
TRIALS = 20
# One without a warning: a quarter of a minute.
QUICK_SEEDS = (0,)
_ROUND = re.compile(r"round=(\d+)\b")


@dataclass(frozen=True)
class Start:
    """One start of the script.

    :param resumed_from: what it says that it resumes from; None if it was killed before it could say so.
    :param rounds: those that it trained.
    :param in_s3: the newest round whose checkpoint was in S3 before this start.
    :param in_s3_after: the same, when its instance was gone.
    """

    resumed_from: int | None
    rounds: list[int]
    in_s3: int
    in_s3_after: int


class Trainer:
    """Trains the digits on one service."""

    def __init__(self, sm: LocalSageMaker, digits: Path) -> None:
        self.sm = sm
        self.jobs = Jobs(sm)
        for part in ("train", "validation"):
            self.jobs.put(f"digits/{part}/{part}.csv", (digits / part / f"{part}.csv").read_bytes())
        self.code = self.jobs.code({file.name: file.read_text() for file in SCRIPTS.glob("*.py")})

    def start(self, seconds_per_round: float) -> str:
        channels = [
            {
                "ChannelName": part,
                "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/digits/{part}"}},
            }
            for part in ("train", "validation")
        ]
        return self.jobs.start(
            InputDataConfig=channels,
            HyperParameters={
                "sagemaker_program": "train.py",
                "sagemaker_submit_directory": self.code,
                "rounds": str(ROUNDS),
                "checkpoint_every": "3",
                "seconds_per_round": str(seconds_per_round),
            },
        )

    def interrupt(self, name: str, generator: random.Random) -> None:
        """Take the instance away at a random moment of each of the next starts, also of its first second."""
        for number in range(1, INTERRUPTIONS + 1):
            if not self._await_start(name, number):
                return
            time.sleep(generator.uniform(0, 2.5))
            try:
                self.sm.interrupt(name, capacity_gap=generator.uniform(0, 0.5))
            except RuntimeError:
                # It had ended, which the caller checks, or has not begun again.
                continue

    def _await_start(self, name: str, number: int) -> bool:
        while self.jobs.describe(name)["TrainingJobStatus"] == "InProgress":
            if len(self.jobs.events("capacity", job=name, action="granted")) >= number:
                return True
            time.sleep(0.05)
        return False

    def starts(self, name: str) -> list[Start]:
        """The starts whose process came to run, in order."""
        uploads = [
            (event["start"], int(event["key"].split("-")[1]))
            for event in self.jobs.events("checkpoint", job=name, action="upload")
            if event["key"].startswith("round-")
        ]
        numbers = [event["start"] for event in self.jobs.events("process", job=name, action="started")]
        outputs = self.jobs.output(name)
        assert len(outputs) == len(numbers)
        result = []
        for number, lines in zip(numbers, outputs, strict=True):
            resumed = [int(line.split("=")[1]) for line in lines if line.startswith("resume_from_round=")]
            result.append(
                Start(
                    resumed_from=resumed[0] if resumed else None,
                    rounds=[int(match[1]) for line in lines if (match := _ROUND.match(line))],
                    in_s3=max((done for start, done in uploads if start < number), default=0),
                    in_s3_after=max((done for start, done in uploads if start <= number), default=0),
                )
            )
        return result

    def model(self, name: str) -> Any:
        return xgb.Booster(model_file=bytearray(self.jobs.model(name)["model.ubj"]))


@pytest.fixture(scope="module")
def trainers(digits: Path) -> Iterator[dict[str, Trainer]]:
    """A service that warns by SIGTERM, and one that does not."""
    with (
        LocalSageMaker(reclaim="term", grace_seconds=5, checkpoint_seconds=0.5) as warning,
        LocalSageMaker(reclaim="kill", checkpoint_seconds=0.5) as sudden,
    ):
        yield {"term": Trainer(warning, digits), "kill": Trainer(sudden, digits)}


@pytest.fixture(scope="module")
def uninterrupted(trainers: dict[str, Trainer]) -> Any:
    name = trainers["term"].start(0)
    job = trainers["term"].jobs.end(name)
    assert "Interrupted" not in statuses(job)
    return trainers["term"].model(name)


def trials() -> list[object]:
    return [
        pytest.param(
            seed,
            "term" if seed % 3 == 2 else "kill",
            marks=[] if seed in QUICK_SEEDS else pytest.mark.slow,
        )
        for seed in range(TRIALS if ALL else TRIALS // 4)  # each takes a quarter of a minute
    ]


@pytest.mark.parametrize(("seed", "reclaim"), trials())
def test_an_interrupted_training_is_the_same_training(
    trainers: dict[str, Trainer], uninterrupted: Any, digits: Path, seed: int, reclaim: str
) -> None:
    trainer = trainers[reclaim]
    # On a machine so busy that a training is over before it is interrupted, the next one takes longer.
    for seconds_per_round in (0.07, 0.35, 0.7):
        name = trainer.start(seconds_per_round)
        trainer.interrupt(name, random.Random(seed))
        job = trainer.jobs.end(name)
        assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
        if "Interrupted" in statuses(job):
            break
    assert "Interrupted" in statuses(job)

    starts = trainer.starts(name)
    executed = 0
    lost = 0
    for start in starts:
        if start.resumed_from is not None:
            assert start.resumed_from >= start.in_s3
            first = start.resumed_from + 1
            assert start.rounds == list(range(first, first + len(start.rounds)))
        executed += len(start.rounds)
        lost += max(0, max(start.rounds, default=0) - start.in_s3_after)
    assert starts[-1].rounds[-1] == ROUNDS
    assert ROUNDS <= executed <= ROUNDS + lost

    model = trainer.model(name)
    assert model.get_dump(with_stats=True) == uninterrupted.get_dump(with_stats=True)
    assert model.save_raw("json") == uninterrupted.save_raw("json")
    test = np.loadtxt(digits / "test" / "test.csv", delimiter=",")
    pixels = xgb.DMatrix(test[:, 1:])
    np.testing.assert_array_equal(model.predict(pixels), uninterrupted.predict(pixels))


def is_interrupted_or_over(job: dict[str, Any]) -> bool:
    return "Interrupted" in statuses(job) or job["TrainingJobStatus"] != "InProgress"


@pytest.mark.slow
def test_a_damaged_checkpoint_is_skipped(trainers: dict[str, Trainer], uninterrupted: Any) -> None:
    trainer = trainers["kill"]
    for seconds_per_round in (0.15, 0.75, 1.5):  # the next one where it was over before
        name = trainer.start(seconds_per_round)
        trainer.jobs.wait_for_checkpoint(name)
        # No instance comes back, and so none reads the checkpoint, until it is damaged.
        trainer.sm.set_market("script:down=3600")
        until(lambda name=name: is_interrupted_or_over(trainer.jobs.describe(name)), f"{name} is interrupted")
        if "Interrupted" in statuses(trainer.jobs.describe(name)):
            break
        trainer.sm.set_market("always")
    prefix = f"checkpoints/{name}/"
    newest = trainer.jobs.keys(prefix)[-1]
    whole = trainer.jobs.get(f"s3://{BUCKET}/{newest}")
    trainer.jobs.put(newest, whole[: len(whole) // 2])
    trainer.sm.set_market("always")
    assert trainer.jobs.end(name)["TrainingJobStatus"] == "Completed"
    damaged = int(newest.removeprefix(f"{prefix}round-").split("-")[0])
    last = trainer.jobs.output(name)[-1]
    assert any(line.startswith("skipped checkpoint") for line in last)
    resumed = next(int(line.split("=")[1]) for line in last if line.startswith("resume_from_round="))
    assert resumed < damaged
    assert trainer.model(name).get_dump() == uninterrupted.get_dump()
