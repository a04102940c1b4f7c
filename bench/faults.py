"""
What becomes of a training when something goes wrong: the stock operator, and ours, under the same faults.

    python bench/faults.py [--only TEXT] [--json]

Nothing is typed in. Each cell is a run of the real operator in processes of their own, with the tries, deferrals and
kills that Airflow would give it (see ``tests/chaos``), on Local SageMaker; jobs are simulated and need five seconds of
training. The stock operator has what its users write for spot: managed spot, a MaxWait, a checkpoint folder. What is
counted is read from the service's audit log:

- ``jobs``: training jobs created; ``at_once``: how many were live at the same time, at most
- ``left``: jobs that ran on when the task was over, and nobody waited for them any more
- ``paid_seconds``: time on instances of all its jobs, up to three seconds after the task's end
- ``completed``: whether a job completed at all; ``state``: what the task says of it
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.chaos import operators
from tests.chaos.airflow import TaskRun
from tests.chaos.cloud import BUCKET, Cloud
from tests.chaos.judge import alive_at_once, paid_seconds
from tests.chaos.scenario import Blow, Scenario, Strike
from tests.chaos.zygote import Zygote

WORK_SECONDS = 5.0
#: What is live so long after the task's end is left running.
SETTLE_SECONDS = 3.0
BOUND_SECONDS = 120.0
#: aiobotocore pins botocore below boto3, so an environment has it or a new boto3: without it the stock operator's
#: deferrable mode ends at once in an ImportError, which is no fault to compare.
STOCK_CAN_DEFER = importlib.util.find_spec("aiobotocore") is not None
#: Spot types of this benchmark's market: none to be had, and none at first.
NONE, FAILING = "ml.p3.2xlarge", "ml.p3.8xlarge"
MARKET = f"{NONE}=never;{FAILING}=script:fail=600;*=always"
QUOTAS = f"{operators.FORBIDDEN}:spot=0"


@dataclass(frozen=True)
class Case:
    """
    One row.

    :param mode: ``sync`` or ``deferrable``.
    :param config: laid over the config of both.
    :param both: arguments of both operators; ``ours``: of ours alone, where the stock one has nothing like it.
    """

    fault: str
    mode: str
    strikes: tuple[Strike, ...] = ()
    blows: tuple[Blow, ...] = ()
    retries: int = 1
    clears: int = 0
    config: dict[str, Any] = field(default_factory=dict)
    both: dict[str, Any] = field(default_factory=dict)
    ours: dict[str, Any] = field(default_factory=dict)


def _on(instance_type: str, max_wait: int = 600) -> dict[str, Any]:
    return {
        "ResourceConfig": {"InstanceType": instance_type, "InstanceCount": 1, "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": min(max_wait, 600), "MaxWaitTimeInSeconds": max_wait},
    }


def _ladder(first: str) -> dict[str, Any]:
    return {"ladder": [{"instance_type": first}, {"instance_type": operators.TYPE}]}


def _throttled(kind: str, seconds: float) -> tuple[Strike, ...]:
    return (Strike("DescribeTrainingJob", kind, nth=3, count=10_000, seconds=seconds),)


_BOTH_MODES = ("sync", "deferrable")
CASES = (
    *(Case("no fault", mode) for mode in _BOTH_MODES),
    *(
        Case("worker killed between create and its response", mode, (Strike("CreateTrainingJob", "kill", "during"),))
        for mode in _BOTH_MODES
    ),
    Case("worker killed between create and defer", "deferrable", (Strike("CreateTrainingJob", "kill", "after"),)),
    Case("worker killed while waiting", "sync", blows=(Blow("kill", 2.0),)),
    Case("triggerer killed while waiting", "deferrable", blows=(Blow("kill", 2.0),)),
    Case("worker superseded, and alive", "sync", blows=(Blow("supersede", 1.5, 2.0),)),
    Case("worker drained", "sync", blows=(Blow("drain", 2.0),)),
    *(Case("marked failed while it waits", mode, blows=(Blow("mark-failed", 2.0),)) for mode in _BOTH_MODES),
    *(Case("spot interruption", mode, blows=(Blow("interrupt", 2.0, 1.0),)) for mode in _BOTH_MODES),
    Case(
        "MaxWaitTime is over, print_log=False",
        "sync",
        config=_on(NONE, 3),
        both={"print_log": False},
        ours=_ladder(NONE),
    ),
    Case("MaxWaitTime is over", "deferrable", config=_on(NONE, 3), ours=_ladder(NONE)),
    *(Case("capacity error", mode, config=_on(FAILING), ours=_ladder(FAILING)) for mode in _BOTH_MODES),
    *(
        Case("no quota for the type", mode, config=_on(operators.FORBIDDEN), ours=_ladder(operators.FORBIDDEN))
        for mode in _BOTH_MODES
    ),
    Case("script error", "sync", config={"HyperParameters": {"simulated_seconds": "2", "simulated_exit_code": "3"}}),
    *(Case("throttled for 20 s", mode, _throttled("throttle", 20)) for mode in _BOTH_MODES),
    *(Case("credentials expired for 3 s", mode, _throttled("expired", 3)) for mode in _BOTH_MODES),
    *(Case("create's response lost", mode, (Strike("CreateTrainingJob", "cut", "during"),)) for mode in _BOTH_MODES),
    Case("cleared after success", "sync", clears=1),
    *(Case("execution_timeout", mode, retries=0, both={"execution_timeout": 3}) for mode in _BOTH_MODES),
    Case("longer than the poll limit", "deferrable", retries=0, both={"max_attempts": 3}),
)


def measure(case: Case, kind: str, number: int, cloud: Cloud, zygote: Zygote, folder: Path) -> dict[str, Any]:
    """Run one cell."""
    token = f"{kind}{number}"
    name = f"run-{token}-job"
    config = operators.config(name, BUCKET, "simulated", WORK_SECONDS, **_on(operators.TYPE))
    if kind == "stock":
        config["EnableManagedSpotTraining"] = True
        config["CheckpointConfig"] = {"S3Uri": f"s3://{BUCKET}/checkpoints/{name}"}
    arguments = {"deferrable": case.mode == "deferrable", "check_interval": 1, **case.both}
    spec = {
        "kind": kind,
        "engine": "simulated",
        "config": {**config, **case.config},
        "arguments": {**arguments, **(case.ours if kind == "ours" else {})},
    }
    scenario = Scenario(
        seed=number,
        engine=kind,
        deferrable=case.mode == "deferrable",
        work=WORK_SECONDS,
        faults=(case.fault,),
        strikes=case.strikes,
        blows=case.blows,
        clears=case.clears,
    )
    task = TaskRun(
        scenario,
        zygote,
        spec,
        cloud.proxy.environ(token),
        folder / token,
        lambda job, down: cloud.local.interrupt(job, down=down),
        BOUND_SECONDS,
        retries=case.retries,
        execution_timeout=case.both.get("execution_timeout"),
    )
    cloud.proxy.wires[token] = task.wire
    state = task.run()
    left = cloud.settle(token, SETTLE_SECONDS)
    events = cloud.events(token)
    states = [event for event in events if event["event"] == "state"]
    cloud.stop(left)
    return {
        "state": state,
        "jobs": len({event["job"] for event in states}),
        "at_once": alive_at_once(events),
        "left": len(left),
        "completed": any(event["status"] == "Completed" for event in states),
        "paid_seconds": round(paid_seconds(events), 1),
        "error": task.error[:200] if state == "failed" else "",
    }


def compare(cases: tuple[Case, ...], tell: Callable[[str], None] = lambda line: None) -> list[dict[str, Any]]:
    """Run the rows, both columns, several at once."""
    with (
        tempfile.TemporaryDirectory(prefix="airflow-spot-faults-") as folder,
        Cloud("simulated", market=MARKET, quotas=QUOTAS) as cloud,
        Zygote({}) as zygote,
        ThreadPoolExecutor(8) as pool,
    ):

        def cell(job: tuple[int, Case, str]) -> dict[str, Any]:
            number, case, kind = job
            if kind == "stock" and case.mode == "deferrable" and not STOCK_CAN_DEFER:
                return {"state": "not run", "error": "the stock trigger needs aiobotocore, which is not installed"}
            tell(f"{kind}: {case.fault}, {case.mode}")
            return measure(case, kind, number, cloud, zygote, Path(folder))

        jobs = [(number, case, kind) for number, case in enumerate(cases) for kind in ("stock", "ours")]
        cells = list(pool.map(cell, jobs))
    return [
        {"fault": case.fault, "mode": case.mode, "stock": cells[2 * i], "ours": cells[2 * i + 1]}
        for i, case in enumerate(cases)
    ]


def say(cell: dict[str, Any]) -> str:
    """One cell, for people."""
    if cell["state"] == "not run":
        return "not run: needs aiobotocore"
    parts = [str(cell["state"])]
    if cell["state"] == "success" and not cell["completed"]:
        parts[0] = "success, and nothing is trained"
    parts.append(f"{cell['jobs']} job{'s' * (cell['jobs'] != 1)}")
    if cell["at_once"] > 1:
        parts.append(f"{cell['at_once']} at once")
    if cell["left"]:
        parts.append(f"{cell['left']} left running")
    return f"{', '.join(parts)}; {cell['paid_seconds']:.0f} s"


def main(arguments: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument("--only", default="", metavar="TEXT", help="only the faults whose name holds this")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    args = parser.parse_args(arguments)
    cases = tuple(case for case in CASES if args.only in case.fault)
    rows = compare(cases, lambda line: print(line, file=sys.stderr, flush=True) if sys.stderr.isatty() else None)
    if args.json:
        print(json.dumps({"work_seconds": WORK_SECONDS, "faults": rows}))
        return 0
    print(f"{'what goes wrong':<46} {'mode':<11} {'SageMakerTrainingOperator':<50} SageMakerSpotTrainingOperator")
    for row in rows:
        print(f"{row['fault']:<46} {row['mode']:<11} {say(row['stock']):<50} {say(row['ours'])}")
    print(f"\nA training takes {WORK_SECONDS:g} s; seconds are those on paid instances, of all jobs together.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
