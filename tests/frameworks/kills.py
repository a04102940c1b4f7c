"""Kills an example at random moments until it ends, again and again, and looks at where each start resumes from."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.frameworks.examples import Example
from tests.frameworks.folders import tear
from tests.frameworks.lives import KILLED, Kill, Life, Stage, Training

#: Of an uninterrupted training's steps: a kill comes within so many of them.
_WITHIN = 0.5
#: And then within so many seconds, or a tenth of that training where it is shorter.
_LATER = 0.1
#: So many of the kills come before a start knows what it resumes from, or as soon as it does.
_EARLY = 0.1
#: After so many of them the newest checkpoint is torn, where there is an older one, and once at least.
_TORN = 0.25


@dataclass
class Killed:
    """
    What came of the kills.

    :ivar trainings: how many came to their end.
    :ivar starts: of all of them.
    :ivar resumes: the step of each start that followed a kill, as far as it came to know it.
    :ivar redone: steps that were trained again, in all.
    :ivar torn: how many checkpoints were torn.
    :ivar faults: what was not as it should be.
    """

    trainings: int = 0
    kills: int = 0
    starts: int = 0
    resumes: list[int] = field(default_factory=list)
    redone: int = 0
    torn: int = 0
    faults: list[str] = field(default_factory=list)

    @property
    def equal(self) -> bool:
        return not self.faults


def kill_often(example: Example, python: Path, kills: int, seed: int, say: Callable[[str], None]) -> Killed:
    """Train it uninterrupted once, then kill it so many times, in as many trainings as that takes."""
    with tempfile.TemporaryDirectory(prefix="airflow-spot-frameworks-") as folder:
        stage = Stage(example, python, Path(folder))
        try:
            return _Kills(example, stage, kills, seed, say).play()
        finally:
            stage.close()


class _Kills:
    def __init__(self, example: Example, stage: Stage, kills: int, seed: int, say: Callable[[str], None]) -> None:
        self._example, self._stage, self._kills, self._seed, self._say = example, stage, kills, seed, say
        self._found = Killed()

    def play(self) -> Killed:
        whole = self._stage.training("uninterrupted")
        alone = whole.live()
        model = whole.model()
        if alone.code or not model or alone.begun != 0:
            self._fault("uninterrupted", f"ended with {alone.code}, began at {alone.begun}, left {[*model]}", alone)
            return self._found
        self._say(
            f"{self._example.name}: uninterrupted, {alone.steps} steps in {alone.seconds:.1f} s"
            f" after {alone.start_seconds:.1f} s"
        )
        while self._found.kills < self._kills and self._found.equal:
            self._found.trainings += 1
            name = f"training {self._found.trainings}"
            training = self._stage.training(name.replace(" ", "-"))
            self._train(name, training, alone)
            if self._found.equal and training.model() != model:
                self._found.faults.append(f"{name}: the model is another than that of the uninterrupted training")
        return self._found

    def _train(self, name: str, training: Training, alone: Life) -> None:
        """Train it to its end, with kills for as long as there are any left."""
        found, drawn = self._found, random.Random(f"{self._seed} {name}")
        reached, starts, steps, begun = 0, 0, [], found.kills
        while True:
            whole = self._example.read(training.checkpoints)
            newest = whole[-1].step if whole else 0
            life = self._live(training, alone, drawn)
            found.starts += 1
            starts += 1
            if life.begun is not None:
                if life.begun != newest:
                    self._fault(name, f"resumed from {life.begun}, and the newest whole one is of {newest}", life)
                    return
                if starts > 1:
                    steps.append(life.begun)
                found.redone += max(reached - life.begun, 0)
                reached = life.reached or life.begun
            if life.code == 0:
                break
            if life.code != KILLED:
                self._fault(name, f"ended with {life.code}", life)
                return
            found.kills += 1
            self._tear(training, drawn)
        found.resumes += steps
        where = ", ".join(map(str, steps))
        self._say(
            f"{self._example.name}: {name}, {found.kills - begun} kills ({found.kills} of {self._kills}),"
            f" resumed at {where or 'nothing'}"
        )

    def _live(self, training: Training, alone: Life, drawn: random.Random) -> Life:
        early, steps, share = drawn.random() < _EARLY, int(drawn.random() * _WITHIN * alone.steps), drawn.random()
        if self._found.kills >= self._kills:
            return training.live()
        if early:
            return training.live(Kill(share * alone.start_seconds))
        return training.live(Kill(share * min(_LATER, alone.seconds / 10), steps))

    def _tear(self, training: Training, drawn: random.Random) -> None:
        missed = not self._found.torn and self._found.kills > self._kills // 2
        wanted = drawn.random() < _TORN or missed
        whole = self._example.read(training.checkpoints)
        if wanted and len(whole) > 1:
            tear(whole[-1], drawn)
            self._found.torn += 1

    def _fault(self, name: str, what: str, life: Life) -> None:
        last = "\n    ".join(life.output.splitlines()[-15:])
        self._found.faults.append(f"{name}: {what}\n    {last}")
        self._say(f"{self._example.name}: {self._found.faults[-1]}")
