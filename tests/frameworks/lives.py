"""A training's processes: started, killed at a moment, started again, each host in a container of its own."""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import tarfile
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from airflow_spot.aws.source_archive import SourceArchive
from airflow_spot.local.container.container import Container, Containers, OptMl, Spec
from airflow_spot.local.serving.ports import free_port
from airflow_spot.local.settings import Settings
from airflow_spot.local.training.environment import arguments
from tests.frameworks.examples import Example

CHECKPOINTS, MODEL, CODE = "/opt/ml/checkpoints", "/opt/ml/model", "/opt/ml/code"
KILLED = 128 + 9
_BEGUN = re.compile(r"^FROM (\d+)\b")
_DONE = re.compile(r"^(?:step|round|epoch)=(\d+)\b")
#: A start imports a framework, on a machine that has other things to do.
_PATIENCE = 300.0


@dataclass(frozen=True)
class Life:
    """
    What came of a start.

    :param begun: the step that it resumed from; None where it was killed before it knew.
    :param reached: the last step that it told of.
    :param code: its exit code, 137 where it was killed.
    :param start_seconds: until it knew where to resume from.
    :param seconds: from there to the end.
    """

    begun: int | None
    reached: int | None
    code: int
    start_seconds: float
    seconds: float
    output: str


@dataclass(frozen=True)
class Kill:
    """
    When a start is killed.

    :param seconds: so long after that step.
    :param steps: so many after the one that it resumes from. None: the seconds count from the start, and it is killed
        once it knows what it resumes from, if that is sooner.
    """

    seconds: float
    steps: int | None = None


def has_namespaces() -> bool:
    """Return whether this machine can give a process an ``/opt/ml`` of its own."""
    with tempfile.TemporaryDirectory() as folder:
        return Containers(Settings(directory=folder)).namespace


class Stage:
    """
    Where trainings of one example run.

    :param python: the interpreter of its environment.
    :param folder: a new one, for all of it.
    """

    def __init__(self, example: Example, python: Path, folder: Path) -> None:
        self._example, self._python, self._folder = example, python, folder
        self._containers = Containers(Settings(directory=str(folder), python=str(python)))
        self._archive = SourceArchive(example.script.name, None, example.script.parent)

    def training(self, name: str) -> Training:
        """Return a new training, of which nothing is there yet."""
        places = []
        for host in self._hosts:
            opt_ml = self._containers.opt_ml(self._folder / name / host)
            for inside in (CHECKPOINTS, MODEL, CODE, "/opt/ml/input/config", "/opt/ml/output/data"):
                opt_ml.path(inside).mkdir(parents=True)
            with tarfile.open(fileobj=io.BytesIO(self._archive.content)) as archive:
                archive.extractall(opt_ml.path(CODE), filter="data")
            values = {key: str(value) for key, value in self._example.hyperparameters.items()}
            opt_ml.path("/opt/ml/input/config/hyperparameters.json").write_text(json.dumps(values))
            places.append(opt_ml)
        return Training(self, places)

    @property
    def _hosts(self) -> list[str]:
        return [f"algo-{number}" for number in range(1, self._example.hosts + 1)]

    def start(self, number: int, opt_ml: OptMl, port: int, said: _Said) -> Container:
        """Start a host's process."""
        hosts = {name: f"127.0.0.{index}" for index, name in enumerate(self._hosts, 1)}
        # Without namespaces no name resolves, but an address does.
        names = [*hosts] if self._containers.namespace else [*hosts.values()]
        environment = {
            **self._containers.base_environment(opt_ml, str(self._python.parent)),
            "TRAINING_JOB_NAME": f"{self._example.name}-kills".replace("_", "-"),
            "SM_MODEL_DIR": opt_ml.see(MODEL),
            "SM_OUTPUT_DATA_DIR": opt_ml.see("/opt/ml/output/data"),
            "SM_HOSTS": json.dumps(names),
            "SM_CURRENT_HOST": names[number],
            "SM_NUM_GPUS": "0",
            "SM_NETWORK_INTERFACE_NAME": "lo",
        }
        if len(hosts) > 1:
            environment["MASTER_PORT"] = str(port)  # trainings beside each other are not to meet
        if not self._containers.namespace:
            environment["SM_CHECKPOINT_DIR"] = opt_ml.see(CHECKPOINTS)
        command = [str(self._python), self._archive.program, *arguments(self._example.hyperparameters)]
        spec = Spec(opt_ml, command, environment, opt_ml.see(CODE), names[number] if len(names) > 1 else "", hosts)
        return self._containers.start(spec, said)

    def close(self) -> None:
        """End what runs."""
        self._containers.close()


class Training:
    """A training over all its starts. Made by :meth:`Stage.training`."""

    def __init__(self, stage: Stage, places: Sequence[OptMl]) -> None:
        self._stage, self._places = stage, places

    @property
    def checkpoints(self) -> Path:
        """The checkpoint folder of the host that writes."""
        return self._places[0].path(CHECKPOINTS)

    def live(self, kill: Kill | None = None) -> Life:
        """Start it, and kill it, unless it ends before; without a kill, let it come to its end."""
        self._restore()
        began, port, said = time.monotonic(), free_port(), _Said()
        lines = [said, *(_Said() for _ in self._places[1:])]
        running = [self._stage.start(n, each, port, lines[n]) for n, each in enumerate(self._places)]
        for each in running:
            each.on_exit(said.end)
        failed = []
        if kill is not None:
            said.wait(kill)
            failed = [code for each in running if (code := each.poll())]
            for each in running:
                each.kill()
        codes = [self._wait(each, running) for each in running]
        begun = said.begun_at or time.monotonic()
        # Of several hosts one may fail because another was killed.
        killed = kill is not None and not failed and KILLED in codes
        code = KILLED if killed else next((code for code in (*failed, *codes) if code), 0)
        output = "\n".join(line for each in lines for line in each.lines)
        return Life(said.begun, said.reached, code, begun - began, time.monotonic() - begun, output)

    def _wait(self, container: Container, running: Sequence[Container]) -> int:
        end = time.monotonic() + _PATIENCE
        while container.poll() is None:
            if any(each.poll() for each in running) or time.monotonic() > end:
                for each in running:
                    each.kill()
            container.wait(0.2)
        code = container.poll()
        assert code is not None
        return code

    def _restore(self) -> None:
        """Give each host but the first what the first has written, as S3 would."""
        for place in self._places[1:]:
            shutil.rmtree(place.path(CHECKPOINTS))
            left = shutil.ignore_patterns("*.sagemaker-ignore")
            shutil.copytree(self.checkpoints, place.path(CHECKPOINTS), ignore=left)

    def model(self) -> dict[str, str]:
        """Return the digest of each file of the model."""
        folder = self._places[0].path(MODEL)
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


class _Said:
    """What a process prints, as it comes."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.begun: int | None = None
        self.begun_at: float | None = None
        self.reached: int | None = None
        self._ended, self._changed = False, threading.Condition()

    def __call__(self, line: str) -> None:
        with self._changed:
            self.lines.append(line)
            if self.begun is None and (match := _BEGUN.match(line)):
                self.begun, self.begun_at = int(match[1]), time.monotonic()
            elif match := _DONE.match(line):
                self.reached = int(match[1])
            self._changed.notify_all()

    def wait(self, kill: Kill) -> None:
        """Wait for the moment of a kill, or until a process has ended."""
        with self._changed:
            if kill.steps is None:
                self._changed.wait_for(lambda: self._ended or self.begun is not None, kill.seconds)
            else:
                self._changed.wait_for(lambda: self._ended or self._steps >= (kill.steps or 0), _PATIENCE)
                self._changed.wait_for(lambda: self._ended, kill.seconds)

    @property
    def _steps(self) -> int:
        """How many were done since it has resumed; -1 where it does not know yet from where."""
        return -1 if self.begun is None else (self.reached or self.begun) - self.begun

    def end(self) -> None:
        """Tell that a process has ended: who waits for a line waits in vain."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
