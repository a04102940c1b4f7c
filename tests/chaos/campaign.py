"""Many runs at once, each judged; a file of what is done, to resume from."""

from __future__ import annotations

import json
import shutil
import time
import traceback
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos import operators
from tests.chaos.airflow import TaskRun
from tests.chaos.cloud import BUCKET, Cloud
from tests.chaos.judge import COLUMNS, Ending, Verdict, judge
from tests.chaos.scenario import Scenario
from tests.chaos.zygote import Zygote

#: A run that takes longer is stuck. The slowest one that is not waits for MaxWait, and pauses after refusals.
BOUND_SECONDS = 400.0
#: After so long a job that is live has been left behind. One that ends its few seconds of work by itself has not.
SETTLE_SECONDS = 15.0


@dataclass(frozen=True)
class Done:
    """
    A run that is over.

    :param struck: what really befell it.
    :param problems: sentences by column; empty where it survived.
    :param point: the scenario's.
    :param points: the calls of a run on which nothing strikes.
    """

    seed: int
    engine: str
    deferrable: bool
    faults: list[str]
    state: str
    seconds: float
    jobs: int
    tries: int
    struck: list[str] = field(default_factory=list)
    problems: dict[str, list[str]] = field(default_factory=dict)
    logs: str = ""
    point: str = ""
    points: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Return what it is repeated by: ``--only``."""
        return self.point or str(self.seed)

    @property
    def survived(self) -> bool:
        """Whether it ended as one without faults."""
        return not self.problems


def play(scenario: Scenario, cloud: Cloud, zygote: Zygote, folder: Path, bound: float = BOUND_SECONDS) -> Done:
    """
    Play one run and judge it.

    :param folder: its logs; removed where nothing is wrong.
    """
    token = scenario.token
    spec = {
        "kind": "ours",
        "engine": scenario.engine,
        "config": operators.config(f"run-{token}-job", BUCKET, scenario.engine, scenario.work),
        "arguments": {"deferrable": scenario.deferrable, "print_log": scenario.seed % 5 == 0, **scenario.operator},
    }
    task = TaskRun(
        scenario,
        zygote,
        spec,
        cloud.proxy.environ(token),
        folder,
        lambda job, gap: cloud.local.interrupt(job, capacity_gap=gap),
        bound,
        probe=cloud.probe,
    )
    if scenario.seeded:
        cloud.seed(scenario.operator["resume_from"], scenario.seeded)
    cloud.afflict(token, scenario.job_faults)
    cloud.proxy.wires[token] = task.wire
    begun = time.monotonic()
    state = task.run()
    left = cloud.settle(token, SETTLE_SECONDS)
    events = cloud.events(token)
    verdict = judge(events, _ending(state, scenario, task, cloud, events))
    cloud.stop(left)
    done = Done(
        seed=scenario.seed,
        engine=scenario.engine,
        deferrable=scenario.deferrable,
        faults=list(scenario.faults),
        state=state,
        seconds=round(time.monotonic() - begun, 1),
        jobs=len({e["job"] for e in events if e["event"] == "state"}),
        point=scenario.point,
        points=list(task.wire.points) if not scenario.strikes else [],
        tries=sum(1 for line in task.story if " begins" in line),
        struck=[*task.wire.struck, *task.struck, *_market(events)],
        problems={column: found for column, found in vars(verdict).items() if found},
        logs="" if verdict.clean else str(folder),
    )
    if verdict.clean:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        _keep(folder, scenario, task, events, verdict)
    cloud.proxy.wires.pop(token, None)
    cloud.afflict(token, ())
    cloud.forget(token)
    return done


def _ending(state: str, scenario: Scenario, task: TaskRun, cloud: Cloud, events: list[dict[str, Any]]) -> Ending:
    """Look at what a run left behind."""
    completed = [e["job"] for e in events if e["event"] == "state" and e["status"] == "Completed"]
    trained = {job: amount for job in completed if (amount := cloud.trained(job)) is not None}
    folders = cloud.folders({e["job"] for e in events if e["event"] == "state"})
    seed = (str(scenario.operator["resume_from"]), scenario.seeded) if scenario.seeded else None
    # Without waiting, a success says that there is a job: a clear while it trains finds the same one.
    waits = scenario.operator.get("wait_for_completion", True)
    looked_at = {*folders.values(), *([seed[0]] if seed else [])} if scenario.engine == "simulated" else set()
    return Ending(
        state,
        scenario.work,
        tuple(task.clears),
        trained,
        wanted=max(1, task.successes if waits else 1),
        restarts=tuple(task.restarts),
        folders=folders,
        own=scenario.operator.get("use_checkpoints") is False,
        shared=scenario.operator.get("checkpoint_scope") == "exact",
        seed=seed,
        kept={uri: cloud.kept(uri) for uri in looked_at},
    )


def _market(events: list[dict[str, Any]]) -> list[str]:
    """What the market, the quotas and the fault plan did to the run's jobs."""
    taken = [f"capacity {e['action']}" for e in events if e["event"] == "capacity" and e["action"] != "granted"]
    refused = [e["error"] for e in events if e["event"] == "call" and e["error"] == "ResourceLimitExceeded"]
    struck = [e["kind"] for e in events if e["event"] == "fault" and "job" in e]
    return [*taken, *refused, *struck]


def _keep(folder: Path, scenario: Scenario, task: TaskRun, events: list[dict[str, Any]], verdict: Verdict) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    begun = min((call[0] for call in task.wire.calls), default=0.0)
    calls = [f"{at - begun:8.3f} pid {pid} {operation} {hit}" for at, pid, operation, hit in task.wire.calls]
    told = {"scenario": scenario.to_json(), "verdict": asdict(verdict), "story": task.story, "calls": calls}
    (folder / "run.json").write_text(json.dumps(told, indent=1))
    (folder / "audit.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))


class Campaign:
    """
    Scenarios of one engine.

    :param logs: below it, a folder for each run that fails.
    :param resume: a JSON-lines file; runs that are in it are not played again.
    :param tell: told of each run that is over, and of how many there are.
    """

    def __init__(
        self,
        engine: str,
        *,
        jobs: int,
        logs: Path,
        resume: Path | None = None,
        tell: Callable[[Done, int, int], None] = lambda done, over, all: None,
    ) -> None:
        self.engine = engine
        self.jobs = jobs
        self.logs = logs
        self.resume = resume
        self.tell = tell

    def __enter__(self) -> Campaign:
        self._stack = ExitStack()
        self._cloud = self._stack.enter_context(Cloud(self.engine))
        self._zygote = self._stack.enter_context(Zygote({}))
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def run(self, scenarios: Iterable[Scenario]) -> list[Done]:
        """Play what is not done yet; return everything."""
        wanted = {scenario.name: scenario for scenario in scenarios}
        done = [each for each in self._read() if each.engine == self.engine and each.name in wanted]
        over = {each.name for each in done}
        rest = [scenario for name, scenario in wanted.items() if name not in over]
        with ThreadPoolExecutor(self.jobs) as pool:
            for future in as_completed([pool.submit(self._play, scenario) for scenario in rest]):
                finished = future.result()
                done.append(finished)
                self._write(finished)
                self.tell(finished, len(done), len(wanted))
        return done

    def _play(self, scenario: Scenario) -> Done:
        folder = self.logs / f"{self.engine}-{scenario.name.replace('/', '-')}"
        shutil.rmtree(folder, ignore_errors=True)
        try:
            return play(scenario, self._cloud, self._zygote, folder)
        except Exception:
            # The harness's own fault is no run that survived.
            return Done(
                scenario.seed,
                self.engine,
                scenario.deferrable,
                list(scenario.faults),
                state="?",
                seconds=0,
                jobs=0,
                tries=0,
                problems={"not_survived": [traceback.format_exc()]},
                point=scenario.point,
            )

    def _read(self) -> list[Done]:
        if self.resume is None or not self.resume.exists():
            return []
        return [Done(**json.loads(line)) for line in self.resume.read_text().splitlines() if line.endswith("}")]

    def _write(self, done: Done) -> None:
        if self.resume is not None:
            with self.resume.open("a") as file:
                file.write(json.dumps(asdict(done)) + "\n")


def summary(done: Iterable[Done]) -> dict[str, int]:
    """Count the runs, those that survived, and those with something in each column."""
    runs = list(done)
    counts = {column: sum(1 for each in runs if each.problems.get(column)) for column in COLUMNS}
    return {"runs": len(runs), "survived": sum(each.survived for each in runs), **counts}
