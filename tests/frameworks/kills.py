"""Kills an example at random moments until it ends, again and again, and looks at where each start resumes from."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Mapping
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
#: Seconds within which it does, until one has been seen that did.
_START = 5.0
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


@dataclass(frozen=True)
class Whole:
    """
    An uninterrupted training.

    :param model: the digest of each file.
    :param steps: how many it has done.
    :param seconds: it took.
    """

    model: Mapping[str, str]
    steps: int
    seconds: float


def kill_often(
    example: Example, python: Path, kills: int, seed: int, say: Callable[[str], None], whole: Whole | None = None
) -> Killed:
    """
    Kill it so many times, in as many trainings as that takes.

    :param whole: an uninterrupted training that was done already; None: it trains once more.
    """
    with tempfile.TemporaryDirectory(prefix="airflow-spot-frameworks-") as folder:
        stage = Stage(example, python, Path(folder))
        try:
            return _Kills(example, stage, kills, seed, say).play(whole)
        finally:
            stage.close()


class _Kills:
    def __init__(self, example: Example, stage: Stage, kills: int, seed: int, say: Callable[[str], None]) -> None:
        self._example, self._stage, self._kills, self._seed, self._say = example, stage, kills, seed, say
        self._found, self._start = Killed(), _START

    def play(self, whole: Whole | None) -> Killed:
        alone = whole or self._alone()
        if alone is None:
            return self._found
        while self._found.kills < self._kills and self._found.equal:
            self._found.trainings += 1
            name = f"training {self._found.trainings}"
            training = self._stage.training(name.replace(" ", "-"))
            self._train(name, training, alone)
            if self._found.equal and training.model() != alone.model:
                self._found.faults.append(f"{name}: the model is another than that of the uninterrupted training")
        return self._found

    def _alone(self) -> Whole | None:
        training = self._stage.training("uninterrupted")
        life, model = training.live(), training.model()
        if life.code or not model or life.begun != 0:
            self._fault("uninterrupted", f"ended with {life.code}, began at {life.begun}, left {[*model]}", life)
            return None
        self._say(f"{self._example.name}: uninterrupted, {life.reached} steps in {life.seconds:.1f} s")
        return Whole(model, life.reached or 0, life.seconds)

    def _train(self, name: str, training: Training, alone: Whole) -> None:
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
                self._start = life.start_seconds
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

    def _live(self, training: Training, alone: Whole, drawn: random.Random) -> Life:
        early, steps, share = drawn.random() < _EARLY, int(drawn.random() * _WITHIN * alone.steps), drawn.random()
        if self._found.kills >= self._kills:
            return training.live()
        if early:
            return training.live(Kill(share * self._start))
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
