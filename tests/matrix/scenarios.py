"""What is played in one version's environment, in order, and how it came out."""

from __future__ import annotations

import contextlib
import json
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from airflow_spot.local import LocalSageMaker
from tests.matrix.environment import ROOT, Environment, MatrixError, Target, build_wheel, find_python, run
from tests.matrix.real import BUCKET, DAGS, real_airflow

INSIDE = Path(__file__).parent / "inside"
EXAMPLES = ROOT / "dags"
PIPELINE = {"rounds": 20, "seconds_per_round": 0.1}
#: The newest Airflow is played in full on this Python only, like MWAA's images.
FULL_ON = "3.12"


@dataclass(frozen=True)
class Result:
    """How a scenario came out; an error of None is a pass."""

    seconds: float
    error: str | None
    log: Path

    @property
    def cell(self) -> str:
        return f"{'ok' if self.error is None else 'FAILED'} {self.seconds:.0f} s"


@dataclass
class Row:
    """One version's results, by scenario."""

    target: Target
    airflow: str
    install_seconds: float = 0.0
    results: dict[str, Result] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        return bool(self.results) and all(result.error is None for result in self.results.values())

    def as_json(self) -> dict[str, Any]:
        """The row, for machines."""
        return {
            "airflow": self.airflow,
            "python": self.target.python,
            "constraints": self.target.constraints is not None,
            "install_seconds": round(self.install_seconds, 1),
            "scenarios": {
                name: {"passed": r.error is None, "seconds": round(r.seconds, 1), "error": r.error, "log": str(r.log)}
                for name, r in self.results.items()
            },
        }


class Player:
    """Plays scenarios; one that fails ends neither the others nor the run."""

    def __init__(self, row: Row, folder: Path, say: Callable[[str], None]) -> None:
        self.row = row
        self.folder = folder
        self.say = say

    def play(self, name: str, scenario: Callable[[Path], object]) -> bool:
        """Play one, with a log of its own, and say how it came out."""
        log = self.folder / f"{name}.log"
        started, error = time.monotonic(), None
        try:
            scenario(log)
        except MatrixError as failure:
            error = str(failure)
        except Exception as failure:  # whatever it is, it is this scenario's
            error = f"{type(failure).__name__}: {failure}"
            with log.open("a") as said:
                traceback.print_exc(file=said)
        result = self.row.results[name] = Result(time.monotonic() - started, error, log)
        self.say(f"   {name}: {result.cell}" + (f": {error} (see {log})" if error else ""))
        return error is None


def play(target: Target, folder: Path, *, bounded: bool, say: Callable[[str], None]) -> Row:
    """
    Install one version and play its scenarios.

    :param bounded: without the slower ones.
    """
    place = folder / str(target)
    place.mkdir(parents=True)
    row = Row(target, target.airflow)
    player = Player(row, place, say)
    environment = Environment(target, place, build_wheel(folder / "dist"))
    if target.constraints is None and target.airflow != "newest":
        say("   without constraints: there are none for it here")

    def install(log: Path) -> None:
        interpreter = find_python(target.python)
        if interpreter is None:
            raise MatrixError(f"no python{target.python} on PATH")
        environment.install(interpreter, log)
        row.airflow = environment.airflow("version", log=log).split()[-1]

    if not player.play("install", install):
        return row
    row.install_seconds = environment.install_seconds
    player.play("unchanged", environment.check)
    player.play("imports", lambda log: _inside(environment, log, "imports.py"))
    player.play("listed", lambda log: _listed(environment, log))
    migrated = player.play("dags", lambda log: _dags(environment, log))
    if migrated and target.python == FULL_ON:
        _play_trainings(player, environment, bounded=bounded)
    return row


def _play_trainings(player: Player, environment: Environment, *, bounded: bool) -> None:
    # In this process, and so with this environment's packages: the version under test gets no more than its URL.
    with LocalSageMaker(grace_seconds=2) as service:
        service.client("s3").create_bucket(Bucket=BUCKET)
        player.play("deferrable", lambda log: _pipeline(environment, service, log, deferrable=True))
        if not bounded:
            player.play("sync", lambda log: _pipeline(environment, service, log, deferrable=False))
        with _entered(player, environment, service) as real:
            if real is None:
                return
            scenarios = ["marked_failed"] if bounded else ["interrupted", "marked_failed", "triggerer_restarted"]
            for name in scenarios:
                player.play(name, lambda _, name=name: getattr(real, name)())


@contextlib.contextmanager
def _entered(player: Player, environment: Environment, service: LocalSageMaker) -> Iterator[Any]:
    """Start a real Airflow as a scenario of its own; None where it does not start."""
    with contextlib.ExitStack() as stack:
        entered: list[Any] = []

        def start(log: Path) -> None:
            entered.append(stack.enter_context(real_airflow(environment, service, log)))

        player.play("start", start)
        yield entered[0] if entered else None


def _inside(environment: Environment, log: Path, script: str, *arguments: str, **environ: str) -> str:
    command: list[str | Path] = [environment.python, INSIDE / script, *arguments]
    return run(command, log, timeout=300, environ=environment.environ(**environ))


def _listed(environment: Environment, log: Path) -> None:
    listed = environment.airflow("providers", "list", log=log)
    if "airflow-spot" not in listed:
        raise MatrixError("`airflow providers list` does not list it")


def _dags(environment: Environment, log: Path) -> None:
    environment.airflow("db", "migrate", log=log)
    examples = [path.stem for path in EXAMPLES.glob("*.py")]
    _inside(environment, log, "dag_bag.py", str(EXAMPLES), *examples)
    _inside(environment, log, "dag_bag.py", str(DAGS))


def _pipeline(environment: Environment, service: LocalSageMaker, log: Path, *, deferrable: bool) -> None:
    """The example pipeline by `dag.test()`: all its tasks succeed, and the one job has completed."""
    before = len(_created(service))
    environ = {**service.environ, "AIRFLOW_CONN_AWS_DEFAULT": "aws://", "AIRFLOW__CORE__DAGS_FOLDER": str(EXAMPLES)}
    answer = log.parent / "dag_test.json"
    answer.unlink(missing_ok=True)
    _inside(environment, log, "dag_test.py", str(EXAMPLES), json.dumps(deferrable), json.dumps(PIPELINE), **environ)
    told = json.loads(answer.read_text())
    if told["state"] != "success" or set(told["tasks"].values()) != {"success"}:
        raise MatrixError(f"the pipeline is {told['state']}: {told['tasks']}")
    if len(created := _created(service)[before:]) != 1:
        raise MatrixError(f"{len(created)} training jobs were created")
    job = service.client("sagemaker").describe_training_job(TrainingJobName=created[0])
    if job["TrainingJobStatus"] != "Completed":
        raise MatrixError(f"the job is {job['TrainingJobStatus']}")
    if ("SageMakerSpotTrainingTrigger" in log.read_text()) is not deferrable:
        raise MatrixError(f"the task did {'not ' if deferrable else ''}wait in a trigger")


def _created(service: LocalSageMaker) -> list[str]:
    return [line["resource"] for line in service.audit if line.get("operation") == "CreateTrainingJob"]
