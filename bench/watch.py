"""
What waiting for many training jobs costs a triggerer: the stock trigger, and ours.

    python bench/watch.py [--jobs N]... [--interval SECONDS] [--only ours|stock] [--stock-most N] [--json] [--write]

Nothing is typed in. The jobs are on Local SageMaker's simulated engine, in a process of its own; the triggers of each
kind are in another one, the stock one's in an environment of its own (``stock.py``), since it needs aiobotocore. Both
look every ``--interval`` seconds, on one event loop, as in a triggerer. Each kind in turn:

- ``cpu_seconds`` and ``loop_lag_seconds`` (the longest): of the first minute, in which all triggers begin
- ``kb_per_job``: what the triggers add to the memory of a process with one such trigger; ``shared_mb`` is what that
  one adds to an idle triggerer
- ``detection_seconds``: from a job's end, as the service has it, to the trigger's event, once what was read at the
  start is over; ``p50``, ``p99``, ``max``
- ``calls_per_hour``: as the service counts them. Ours: a whole hour of the service, with a change to one job in ten,
  in a process and on a service whose clocks are both hurried. The stock trigger's calls cannot be hurried: they are
  counted from the second minute on, and multiplied.

The stock trigger is left out for more than 1,000 jobs: at 5,000 it would take 8 GB. ``--write`` puts the table into the
README.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from airflow_spot.local import LocalSageMaker
from bench import pages, stock, watch_report

ROOT = Path(__file__).parents[1]
JOBS = (100, 1_000, 5_000)
CALLS = ("ListTrainingJobs", "DescribeTrainingJob")
#: Jobs that are stopped to see how soon the triggers fire.
ENDS = 100
HOUR = 3600.0
#: For which CPU and lag are measured.
START_SECONDS = 60.0
HURRY = 20.0
_BUCKET = "bench"


def request(name: str, seconds: float = 1e6) -> dict[str, Any]:
    """Give a CreateTrainingJob request of a job that trains for so long."""
    return {
        "TrainingJobName": name,
        "RoleArn": "arn:aws:iam::123456789012:role/any",
        "AlgorithmSpecification": {"TrainingImage": "any", "TrainingInputMode": "File"},
        "OutputDataConfig": {"S3OutputPath": f"s3://{_BUCKET}/output"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 1_000_000, "MaxWaitTimeInSeconds": 1_000_000},
        "EnableManagedSpotTraining": True,
        "HyperParameters": {"simulated_seconds": str(seconds)},
    }


def name_of(number: int) -> str:
    """Name a job as the operator does."""
    return f"train-afspot-{'abcdefghij'[number % 10] * 4}{_letters(number)}-1-1"


def _letters(number: int) -> str:
    return "".join("abcdefghijklmnopqrstuvwxyz"[number // 26**place % 26] for place in range(6))


class Scene:
    """A service with jobs, and a process with triggers that wait for them."""

    def __init__(self, kind: str, python: str, jobs: int, interval: float, prioritize: float = 1.0) -> None:
        self.kind = kind
        self.names = [name_of(number) for number in range(jobs)]
        self.first = name_of(jobs)
        self._python = python
        self._interval = interval
        self._hurry = prioritize

    def __enter__(self) -> Scene:
        self.service = LocalSageMaker(engine="simulated", time_scale=self._hurry, grace_seconds=0)
        self.service.start()
        self.client = self.service.client("sagemaker")
        self.service.client("s3").create_bucket(Bucket=_BUCKET)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda name: self.client.create_training_job(**request(name)), [self.first, *self.names]))
        time.sleep(5)  # the engine brings all of them to train
        return self

    def __exit__(self, *_: object) -> None:
        self.service.stop()

    def start(self, seconds: float, first: float = START_SECONDS, ends: int = 0) -> subprocess.Popen[str]:
        """
        Start the process.

        :param seconds: of its loop, for which its triggers wait.
        :param first: of them, for which CPU and lag are measured.
        :param ends: once so many have fired it is over; 0: never before its time.
        """
        environ = {
            **self.service.environ,
            "PATH": "/usr/bin:/bin",
            "HOME": str(self.service.dir),
            "AIRFLOW_HOME": str(self.service.dir / "airflow"),
            "AIRFLOW_CONN_AWS_DEFAULT": "aws://",
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
            "PYTHONPATH": str(ROOT) if self.kind == "ours" else "",
        }
        script = str(Path(__file__).with_name("watch_process.py"))
        process = subprocess.Popen(
            [self._python, script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(self.service.dir / "triggers.log").open("w"),
            env=environ,
            text=True,
        )
        settings = {
            "kind": self.kind,
            "jobs": self.names,
            "first": self.first,
            "interval": self._interval,
            "seconds": seconds,
            "start_seconds": first,
            "prioritize": self._hurry,
            "ends": ends,
        }
        assert process.stdin is not None
        process.stdin.write(json.dumps(settings) + "\n")
        process.stdin.flush()
        return process

    def told(self, process: subprocess.Popen[str], state: str) -> dict[str, Any]:
        """Read what the process says, up to a state."""
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("{") and (found := json.loads(line)).get("state") == state:
                return dict(found)
        raise SystemExit(f"{self.kind}: {(self.service.dir / 'triggers.log').read_text()[-3000:]}")

    def calls(self, begin: float, end: float) -> Counter[str]:
        """Count the calls that the service got between two moments of its own time."""
        audit = [entry for entry in self.service.audit if entry["event"] == "call" and begin <= entry["time"] < end]
        return Counter(entry["operation"] for entry in audit if entry["operation"] in CALLS)


def in_real_time(kind: str, python: str, jobs: int, interval: float, first: float = START_SECONDS) -> dict[str, Any]:
    """
    Measure a start, and how soon ends are told.

    :param first: seconds that are the start.
    """
    with Scene(kind, python, jobs, interval) as scene:
        # The first two sweeps read all pages, one a second: the jobs are new. What counts is how it continues.
        settled = first + jobs / 50
        ending = scene.names[:: max(1, jobs // ENDS)][:ENDS]
        # Minutes more than it takes, for a busy machine: it is over with the last of them.
        process = scene.start(first + settled + 4 * interval + 300, first, len(ending))
        try:
            scene.told(process, "begun")
            started = scene.told(process, "started")
            time.sleep(settled)
            calls = scene.calls(started["at"], started["at"] + first)
            for name in ending:
                scene.client.stop_training_job(TrainingJobName=name)
                time.sleep(2 * interval / len(ending))
            fired = scene.told(process, "ended")["fired"]
        finally:
            process.kill()
            process.wait()
        ends = {
            entry["job"]: entry["time"]
            for entry in scene.service.audit
            if entry["event"] == "state" and entry["status"] == "Stopped" and entry["job"] in ending
        }
    late = sorted(fired[name] - ends[name] for name in ending if name in fired)
    found = {name: round(started[name], 3) for name in ("cpu_seconds", "loop_lag_seconds", "kb_per_job", "shared_mb")}
    found["detection_seconds"] = {
        "p50": round(statistics.median(late), 2) if late else None,
        "p99": round(late[min(len(late) - 1, len(late) * 99 // 100)], 2) if late else None,
        "max": round(late[-1], 2) if late else None,
        "missed": len(ending) - len(late),
    }
    found["calls"] = {operation: round(calls[operation] * HOUR / first) for operation in CALLS}
    found["calls_per_hour"] = sum(found["calls"].values())
    return found


def in_an_hour(python: str, jobs: int, interval: float) -> dict[str, Any]:
    """Count our calls in an hour that goes faster, in which one job in ten is interrupted."""
    with Scene("ours", python, jobs, interval, HURRY) as scene:
        process = scene.start(HOUR + 300)
        try:
            scene.told(process, "begun")
            audit = scene.service.audit
            begin, changed = audit[-1]["time"], scene.names[::10]
            for name in changed:
                # Longer than the time between two lists: else none shows that there was anything.
                scene.service.interrupt(name, capacity_gap=4 * interval)
                time.sleep((HOUR - 600) / HURRY / len(changed))
            scene.told(process, "ended")
            calls = scene.calls(begin, begin + HOUR)
            states = [entry for entry in scene.service.audit if entry["event"] == "state"]
            changes = sum(begin <= entry["time"] < begin + HOUR for entry in states)
        finally:
            process.kill()
            process.wait()
    counted = {operation: calls[operation] for operation in CALLS}
    return {"calls": counted, "calls_per_hour": sum(counted.values()), "changes": changes}


def compare(jobs: int, interval: float, kinds: list[str]) -> dict[str, Any]:
    """Measure both, one after the other."""
    found: dict[str, Any] = {"jobs": jobs, "interval_seconds": interval}
    if "stock" in kinds:
        python = stock.interpreter(lambda line: print(line, file=sys.stderr))
        found["stock"] = in_real_time("stock", str(python), jobs, interval)
    if "ours" in kinds:
        found["ours"] = in_real_time("ours", sys.executable, jobs, interval)
        found["ours"] |= in_an_hour(sys.executable, jobs, interval)
    return found


def about(interval: float) -> str:
    """Say what was compared, and when."""
    stock_versions = stock.versions(stock.interpreter(lambda line: print(line, file=sys.stderr)))
    ours = stock.versions(sys.executable)
    told = [
        f"{label} {versions.get(name, '?')}"
        for label, versions, name in (
            ("Airflow", ours, "apache-airflow"),
            ("stock: amazon provider", stock_versions, "apache-airflow-providers-amazon"),
            ("aiobotocore", stock_versions, "aiobotocore"),
            ("ours: botocore", ours, "botocore"),
        )
    ]
    return f"`python bench/watch.py`, {date.today()}; both look every {interval:.0f} s; {', '.join(told)}."


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="What waiting for many jobs costs, beside the stock trigger.")
    parser.add_argument("--jobs", type=int, action="append", metavar="N", help=f"default: {', '.join(map(str, JOBS))}")
    parser.add_argument("--interval", type=float, default=15.0, metavar="SECONDS", help="between two looks (15)")
    parser.add_argument("--only", choices=("ours", "stock"), help="measure one of them")
    parser.add_argument(
        "--stock-most", type=int, default=1_000, metavar="N", help="jobs that the stock one gets (1000)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object for each N")
    parser.add_argument("--write", action="store_true", help="put the table into README.md")
    options = parser.parse_args(arguments)
    kinds = [options.only] if options.only else ["stock", "ours"]
    results = []
    for jobs in options.jobs or JOBS:
        some = [kind for kind in kinds if kind == "ours" or jobs <= options.stock_most or options.only]
        results.append(compare(jobs, options.interval, some))
        if options.json:
            print(json.dumps(results[-1]), flush=True)
    if not options.json:
        print("\n".join(watch_report.table(results)))
    if options.write:
        page, text = ROOT / "README.md", watch_report.markdown(results, about(options.interval))
        page.write_text(pages.between(page.read_text(), watch_report.BENCHMARK, text))


if __name__ == "__main__":
    main()
