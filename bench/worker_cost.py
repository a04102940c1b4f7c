"""
What one training costs a worker: seconds of CPU and API calls, ours beside the stock operator's.

    python bench/worker_cost.py [--runs N] [--seconds S] [--json]

Each figure is the median over fresh processes, ours and the stock one in turn, each of which runs one task on Local
SageMaker: a job that trains for some seconds, looked at each second. The seconds are of CPU time, from the beginning of
``execute`` to its end, over all resumes; modules are imported before, and clients are made within. What the triggerer
does between two entries is not counted: see ``watch.py``.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

ROWS = (("stock", False), ("ours", False), ("stock", True), ("ours", True))


def run_one(kind: str, deferrable: bool, seconds: float) -> dict[str, Any]:
    """Run one task: each entry in a process of its own that has the modules and nothing else, as a worker's has."""
    from tests.chaos import operators
    from tests.support.task import TaskInstance

    stamp = time.time_ns()
    config = operators.config(f"train-{stamp}", "bucket", "simulated", seconds)
    if kind == "stock":
        config["EnableManagedSpotTraining"] = True
        config["StoppingCondition"]["MaxWaitTimeInSeconds"] = 3600
    arguments: dict[str, Any] = {"deferrable": deferrable, "check_interval": 1}
    spec = {"kind": kind, "engine": "simulated", "config": config, "arguments": arguments}
    operators.build(spec)  # imports what its module imports
    ti = TaskInstance("train", run_id=f"manual__{stamp}")
    entries = [_forked(lambda: _enter(spec, ti, "execute", {}))]
    while (deferred := entries[-1]["deferred"]) is not None:
        method, trigger = deferred
        event = _forked(lambda trigger=trigger: _event(kind, trigger))
        entries.append(_forked(lambda method=method, event=event: _enter(spec, ti, method, {"event": event})))
    operations = sum((Counter(entry["operations"]) for entry in entries), Counter())
    return {
        "seconds": sum(entry["seconds"] for entry in entries),
        "calls": operations.total(),
        "operations": dict(operations),
        "by_entry": [{"seconds": round(e["seconds"], 3), "calls": sum(e["operations"].values())} for e in entries],
    }


def _enter(spec: dict[str, Any], ti: Any, method: str, more: dict[str, Any]) -> dict[str, Any]:
    import botocore.client
    from airflow.providers.common.compat.sdk import TaskDeferred

    from tests.chaos import operators

    calls: Counter[str] = Counter()
    real = botocore.client.BaseClient._make_api_call

    def counted(client: Any, operation: str, asked: Any) -> Any:
        calls[operation] += 1
        return real(client, operation, asked)

    botocore.client.BaseClient._make_api_call = counted
    operator, deferred = operators.build(spec), None
    begun = time.process_time()
    try:
        getattr(operator, method)({"ti": ti, "task_instance": ti}, **more)
    except TaskDeferred as wait:
        deferred = [wait.method_name, list(wait.trigger.serialize())]
    return {"seconds": time.process_time() - begun, "operations": dict(calls), "deferred": deferred}


def _event(kind: str, trigger: list[Any]) -> dict[str, Any]:
    """Wait as the triggerer does; for the stock operator without its trigger, which needs an asynchronous client."""
    arguments = trigger[1]
    if kind == "ours":
        from airflow_spot.triggers.training import SageMakerSpotTrainingTrigger
        from tests.support.task import fire

        return fire(SageMakerSpotTrainingTrigger(**arguments))
    import boto3

    client, name = boto3.client("sagemaker"), arguments["job_name"]
    while client.describe_training_job(TrainingJobName=name)["TrainingJobStatus"] == "InProgress":
        time.sleep(1)
    return {"status": "success", "job_name": name}


def _forked(act: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Do it in a process of its own; what it returned."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        code = 1
        try:
            os.write(writing, json.dumps(act()).encode())
            code = 0
        except BaseException:
            traceback.print_exc()
        os._exit(code)
    os.close(writing)
    with os.fdopen(reading) as answer:
        said = answer.read()
    os.waitpid(child, 0)
    if not said:
        raise SystemExit(1)
    found: dict[str, Any] = json.loads(said)
    return found


def measure(runs: int, seconds: float) -> list[dict[str, Any]]:
    """Run all rows in turn on a Local SageMaker of their own; the medians."""
    from airflow_spot.local import LocalSageMaker

    found: dict[tuple[str, bool], list[dict[str, Any]]] = {row: [] for row in ROWS}
    with LocalSageMaker(engine="simulated") as service:
        service.client("s3").create_bucket(Bucket="bucket")
        environ = {**os.environ, **service.environ, "AIRFLOW_CONN_AWS_DEFAULT": "aws://"}
        environ["AIRFLOW__AIRFLOW_SPOT__NAMESPACE"] = "bench"
        for _ in range(runs):
            for kind, deferrable in ROWS:
                command = [sys.executable, __file__, "--one", kind, *(["--deferrable"] if deferrable else [])]
                done = subprocess.run(
                    [*command, "--seconds", str(seconds)], env=environ, capture_output=True, text=True, check=False
                )
                if done.returncode != 0:
                    raise SystemExit(f"{kind} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
                found[kind, deferrable].append(json.loads(done.stdout.rstrip().rsplit("\n", 1)[-1]))
    return [
        {
            "operator": kind,
            "mode": "deferrable" if deferrable else "sync",
            "cpu_seconds": round(statistics.median(run["seconds"] for run in made), 2),
            "calls": statistics.median(run["calls"] for run in made),
            "by_entry": made[-1]["by_entry"],
            "operations": made[-1]["operations"],
        }
        for (kind, deferrable), made in found.items()
    ]


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Write the rows for people."""
    lines = [f"{'operator':10} {'mode':11} {'CPU seconds':>11} {'API calls':>9}"]
    return lines + [f"{r['operator']:10} {r['mode']:11} {r['cpu_seconds']:>11.2f} {r['calls']:>9g}" for r in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[1])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="that the job trains")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--one", choices=("ours", "stock"), help=argparse.SUPPRESS)
    parser.add_argument("--deferrable", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(run_one(asked.one, asked.deferrable, asked.seconds)))
        return
    rows = measure(asked.runs, asked.seconds)
    print(json.dumps(rows, indent=2) if asked.json else "\n".join(table(rows)))


if __name__ == "__main__":
    main()
