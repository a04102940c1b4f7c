"""What is played in one version's environment, in order, and how it came out."""

from __future__ import annotations

import contextlib
import json
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from airflow_spot.local import LocalSageMaker
from tests.matrix.acts import BOUNDED, RECOVERY, RECOVERY_3, SUPPORTED
from tests.matrix.environment import NEWEST, ROOT, Environment, MatrixError, Target, build_wheel, find_python, run
from tests.matrix.readme import follow_readme
from tests.matrix.real import BUCKET, DAGS, Real
from tests.matrix.started import real_airflow

INSIDE = Path(__file__).parent / "inside"
EXAMPLES = ROOT / "dags"
PIPELINE = {"rounds": 20, "seconds_per_round": 0.1}
#: MWAA's. What happens to Airflow's own processes does not depend on Python's version: it is played on this one.
FULL_ON = "3.12"
CORES = 2


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
    constraints: str | None = None
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
            "constraints": self.constraints,
            "install_seconds": round(self.install_seconds, 1),
            "scenarios": {
                name: {"passed": r.error is None, "seconds": round(r.seconds, 1), "error": r.error, "log": str(r.log)}
                for name, r in self.results.items()
            },
        }


class Player:
    """Plays scenarios; one that fails ends neither the others nor the run."""

    def __init__(self, row: Row, environment: Environment, say: Callable[[str], None]) -> None:
        self.row = row
        self.environment = environment
        self.say = say

    def play(self, name: str, scenario: Callable[[Path], object]) -> bool:
        """Play one, with a log of its own, and say how it came out."""
        log = self.environment.folder / f"{name}.log"
        started, error = time.monotonic(), None
        try:
            scenario(log)
        except MatrixError as failure:
            error = str(failure)
            with log.open("a") as said:
                print(error, file=said)
        except Exception as failure:  # whatever it is, it is this scenario's
            error = f"{type(failure).__name__}: {failure}"
            with log.open("a") as said:
                traceback.print_exc(file=said)
        result = self.row.results[name] = Result(time.monotonic() - started, error, log)
        self.say(f"{self.row.target} {name}: {result.cell}" + (f": {error} (see {log})" if error else ""))
        return error is None


def play_all(
    targets: Sequence[Target], folder: Path, *, bounded: bool, jobs: int, say: Callable[[str], None]
) -> list[Row]:
    """
    Install every version and play its scenarios.

    :param folder: for environments and logs.
    :param bounded: without the slower ones.
    :param jobs: on how many versions at once to play what needs a service.
    :param say: told of each result.
    """
    wheel = build_wheel(folder / "dist")
    with ThreadPoolExecutor(CORES) as pool:
        statics = partial(_play_statics, wheel=wheel, say=say, bounded=bounded)
        players = list(pool.map(lambda target: statics(target, folder / str(target)), targets))
    # On the newest Airflow the suites themselves run on a real scheduler.
    played = [p for p in players if p.row.passed and not (bounded and p.environment.target.airflow == NEWEST)]
    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(partial(_play_trainings, bounded=bounded), played))
    return [player.row for player in players]


def _play_statics(target: Target, place: Path, wheel: Path, say: Callable[[str], None], *, bounded: bool) -> Player:
    place.mkdir(parents=True)
    player = Player(Row(target, target.airflow), Environment(target, place, wheel), say)
    environment = player.environment

    def install(log: Path) -> None:
        interpreter = find_python(target.python)
        if interpreter is None:
            raise MatrixError(f"no python{target.python} on PATH")
        environment.install(interpreter, log)
        player.row.constraints = environment.constraints and environment.constraints.name
        if environment.constraints is None and target.airflow != NEWEST:
            say(f"{target} without constraints: there are none beside the checkout, and none of our own")
        code = "from importlib.metadata import version; print(version('apache-airflow'))"
        player.row.airflow = run([environment.python, "-c", code], log, timeout=600).strip()

    if player.play("install", install):
        player.row.install_seconds = environment.install_seconds
        player.play("unchanged", environment.check)
        player.play("imports", lambda log: _inside(environment, log, "imports.py"))
        player.play("listed", lambda log: _listed(environment, log))
        player.play("dags", lambda log: _dags(environment, log))
        if not bounded and target.python == FULL_ON:
            player.play("pages", lambda log: _pages(environment, log))
        if not bounded and target.python == FULL_ON:
            player.play("readme", lambda log: follow_readme(environment, str(find_python(target.python)), log))
    return player


def _play_trainings(player: Player, *, bounded: bool) -> None:
    environment = player.environment
    # In this process, and so with this environment's packages: the version under test gets no more than its URL.
    with LocalSageMaker(grace_seconds=2) as service:
        service.client("s3").create_bucket(Bucket=BUCKET)
        if not bounded:
            player.play("deferrable", lambda log: _pipeline(environment, service, log, deferrable=True))
            player.play("sync", lambda log: _pipeline(environment, service, log, deferrable=False))
        with _entered(player, service, kills=not bounded) as real:
            if real is None:
                return
            recovery = RECOVERY if environment.target.is_airflow_2 else RECOVERY_3
            recovery = recovery if environment.target.python == FULL_ON else ()
            acts = BOUNDED if bounded else (*SUPPORTED, *recovery)
            # The bounded ones go at once: they wait more than they work.
            with ThreadPoolExecutor(len(acts) if bounded else 1) as pool:
                list(pool.map(lambda act: player.play(act.__name__, partial(_act, act, real)), acts))


@contextlib.contextmanager
def _entered(player: Player, service: LocalSageMaker, *, kills: bool) -> Iterator[Real | None]:
    """Start a real Airflow as a scenario of its own; None where it does not start."""
    with contextlib.ExitStack() as stack:
        entered: list[Real] = []

        def start(log: Path) -> None:
            entered.append(stack.enter_context(real_airflow(player.environment, service, log, kills=kills)))

        player.play("start", start)
        yield entered[0] if entered else None


def _act(act: Callable[[Real], None], real: Real, _: Path) -> None:
    act(real)


def _inside(environment: Environment, log: Path, script: str, *arguments: str, **environ: str) -> str:
    command: list[str | Path] = [environment.python, INSIDE / script, *arguments]
    return run(command, log, timeout=300, environ=environment.environ(**environ))


def _listed(environment: Environment, log: Path) -> None:
    listed = environment.airflow("providers", "list", log=log)
    if "airflow-spot" not in listed:
        raise MatrixError("`airflow providers list` does not list it")
    # Airflow 2 logs to stdout before it prints.
    plugins = environment.airflow("plugins", "--output", "json", log=log)
    (plugin,) = [p for p in json.loads(plugins[plugins.index("[{") :]) if p["name"] == "airflow_spot"]
    # Where this version's navigation looks for it; in both places it would be there twice.
    places = [
        place for place in ("external_views", "appbuilder_menu_items") if "/airflow-spot/" in str(plugin.get(place))
    ]
    expected = ["external_views"]
    if environment.target.is_airflow_2:
        expected = ["appbuilder_menu_items"]
    elif environment.target.airflow.startswith("3.0."):
        # This environment has no FAB provider, and a menu item would end its API server.
        expected = []
    if places != expected:
        raise MatrixError(f"the plugin's entry is in {places or 'no place'}")


def _pages(environment: Environment, log: Path) -> None:
    """Everybody at every route of the pages: with SimpleAuthManager, and with FAB where this version's pins have it."""
    target = environment.target
    quiet = {"AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING"}
    if not target.is_airflow_2:
        _inside(environment, log, "pages.py", "simple", AIRFLOW_HOME=str(_home(environment, "simple")), **quiet)
    if target.airflow == NEWEST:
        return
    if not target.is_airflow_2:
        # An environment of its own: with FAB in it, Airflow 3.0 has another menu.
        theirs = Environment(target, environment.folder / "fab", environment.wheel)
        theirs.folder.mkdir()
        theirs.install(str(find_python(target.python)), log)
        theirs.add("apache-airflow-providers-fab", log)
        environment = theirs
    _inside(environment, log, "pages.py", "fab", AIRFLOW_HOME=str(_home(environment, "fab")), **quiet)


def _home(environment: Environment, name: str) -> Path:
    made = environment.folder / f"home-{name}"
    made.mkdir()
    return made


def _dags(environment: Environment, log: Path) -> None:
    examples = [path.stem for path in EXAMPLES.glob("*.py")]
    _inside(environment, log, "dag_bag.py", f"{EXAMPLES}:{DAGS}", *examples)


def _pipeline(environment: Environment, service: LocalSageMaker, log: Path, *, deferrable: bool) -> None:
    """The example pipeline by `dag.test()`: all its tasks succeed, and the one job has completed."""
    if not (environment.home / "airflow.db").exists():
        environment.airflow("db", "migrate", log=log)
    before = len(_created(service))
    environ = {
        **service.environ,
        "AIRFLOW_CONN_AWS_DEFAULT": "aws://",
        "AIRFLOW__CORE__DAGS_FOLDER": str(EXAMPLES),
        "AIRFLOW__AIRFLOW_SPOT__CHECK_INTERVAL": "5",
    }
    answer = log.parent / "pipeline.json"
    answer.unlink(missing_ok=True)
    _inside(environment, log, "run_pipeline.py", str(EXAMPLES), json.dumps(deferrable), json.dumps(PIPELINE), **environ)
    told = json.loads(answer.read_text())
    if told["state"] != "success" or set(told["tasks"].values()) != {"success"}:
        raise MatrixError(f"the pipeline is {told['state']}: {told['tasks']}")
    _check_links(told, service)
    if len(created := _created(service)[before:]) != 1:
        raise MatrixError(f"{len(created)} training jobs were created")
    job = service.client("sagemaker").describe_training_job(TrainingJobName=created[0])
    if job["TrainingJobStatus"] != "Completed":
        raise MatrixError(f"the job is {job['TrainingJobStatus']}")
    if ("running trigger in line" in log.read_text()) is not deferrable:
        raise MatrixError(f"the task did {'not ' if deferrable else ''}wait in a trigger")


def _check_links(told: dict[str, Any], service: LocalSageMaker) -> None:
    """Each link of the training task is one XCom, and leads somewhere; the timeline's is none on Airflow 2."""
    links = {key: str(url) for key, url in told["links"].items()}
    page = links.pop("sagemaker_spot_timeline_page", "")
    kept = {f"sagemaker_spot_{name}" for name in ("training_job", "training_logs", "checkpoints", "model")}
    if set(links) != kept or not all(url.startswith(service.endpoint_url) for url in links.values()):
        raise MatrixError(f"the task's links are {links}")
    if not page.startswith("/airflow-spot/run/"):
        raise MatrixError(f"the link to the timeline's page is {page!r}")
    if others := [key for key in told["xcoms"] if key.startswith("_link")]:
        raise MatrixError(f"links are kept twice: {others}")


def _created(service: LocalSageMaker) -> list[str]:
    return [line["resource"] for line in service.audit if line.get("operation") == "CreateTrainingJob"]
