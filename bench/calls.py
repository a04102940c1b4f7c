"""
How many calls of SageMaker a run needs, in an account with a past, and with a past of its own: now, and before.

    python bench/calls.py [--old N]... [--recent N]... [--attempts N]... [--late] [--before-most N] [--json] [--write]

Nothing is typed in. Each scene is a Local SageMaker of its own (simulated engine), whose store is seeded with jobs that
have ended, and a process that does what Airflow's workers do (``calls_process.py``); the calls are counted in the
service's audit log:

- ``create``: a task with ``checkpoint_scope="exact"`` from its start until it waits for its first job
- ``start``: a retry of a run that has had so many attempts, until it waits for the next one
- ``resume``: the same run, all of whose attempts are this try's, after a job that ended: until it waits again
- ``success``: the same run's end, with ``checkpoint_retention``, which deletes three folders
- ``reaper``, ``orphans``, ``gc``: the reaper and the commands, while five other jobs are live

Old jobs are of other runs, and ended before the longest life of a job; recent ones ended in the last month. ``before``
is the same with this package as it was at a commit, from git; it is left out where that is not to be had, and beyond
so many old jobs (1,000), since it reads all of them, ten at a time: an hour for 20,000. In the last scene the service
looks at names and times after it has cut a page, as public threads report of ListTrainingJobs; ``--late`` makes all
scenes so. ``--write`` puts the table into docs/calls.md.
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from airflow_spot.core.identity import JobName, RunIdentity, checkpoint_prefix
from airflow_spot.core.marks import ENV_RUN, ENV_RUNG, ENV_TRY, run_tags, tag_map
from airflow_spot.local import LocalSageMaker
from airflow_spot.local.settings import ACCOUNT, DEFAULT_REGION
from bench import calls_report, environments, pages

ROOT = Path(__file__).parents[1]
BEFORE = "e9a52a2"
NAMESPACE = "bench"
BUCKET = "bench"
OLD = (0, 1_000, 20_000)
RECENT = (1_000,)
ATTEMPTS = (1, 30, 300)
LIVE = 5
HOUR = 3600.0
DAY = 24 * HOUR


def run_of(name: str, began: datetime) -> RunIdentity:
    """Give the run of a task ``train`` in a DAG of this name, whose DAG run began then."""
    return RunIdentity(NAMESPACE, name, f"scheduled__{began.isoformat()}", "train")


def journal(old: int, recent: int, attempts: int, run: RunIdentity, now: float) -> Iterator[dict[str, Any]]:
    """Yield what the service remembers: jobs that have ended, of other runs and of this one."""
    for number in range(old + recent):
        age = 100 * DAY + number * 300 if number < old else HOUR + (number - old) * 25 * DAY / max(1, recent)
        name = f"old-afspot-{_letters(number)}-1-1"
        yield from _ended(name, now - age, {"CheckpointConfig": {"S3Uri": f"s3://{BUCKET}/old/{number}"}})
    for number in range(1, attempts + 1):
        name = str(JobName("train", run.key, 1, number))
        more = {
            "Environment": {ENV_RUN: run.key, ENV_TRY: "1 3 3 0", ENV_RUNG: "ml.m5.large spot"},
            "CheckpointConfig": {"S3Uri": checkpoint_prefix(f"s3://{BUCKET}/output/checkpoints", run, 1)},
        }
        yield from _ended(name, now - 2 * DAY + number * 500, more, "Stopped", "MaxWaitTimeExceeded")
        arn = f"arn:aws:sagemaker:{DEFAULT_REGION}:{ACCOUNT}:training-job/{name.lower()}"
        yield {"tagged": arn, "tags": tag_map(run_tags(run, 1))}


def _ended(
    name: str, begun: float, more: dict[str, Any], status: str = "Completed", secondary: str = "Completed"
) -> Iterator[dict[str, Any]]:
    request = {
        "TrainingJobName": name,
        "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/output"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
        "EnableManagedSpotTraining": True,
        **more,
    }
    end = begun + 400
    transitions = [
        {"Status": "Starting", "StartTime": begun, "EndTime": end, "StatusMessage": ""},
        {"Status": secondary, "StartTime": end, "EndTime": end, "StatusMessage": ""},
    ]
    state = {"status": status, "secondary": secondary, "last_modified": end, "transitions": transitions}
    yield {"created": [DEFAULT_REGION, name], "request": request, "creation_time": begun}
    yield {"changed": [DEFAULT_REGION, name], "state": state}


def _letters(number: int) -> str:
    return "".join("abcdefghijklmnopqrstuvwxyz"[number // 26**place % 26] for place in range(10))


def live_request(number: int) -> dict[str, Any]:
    """Give the request of a job of another run that trains as long as the scene lasts."""
    run = run_of(f"other{number}", datetime.now(timezone.utc))
    return {
        "TrainingJobName": str(JobName("train", run.key, 1, 1)),
        "RoleArn": "arn:aws:iam::123456789012:role/any",
        "AlgorithmSpecification": {"TrainingImage": "any", "TrainingInputMode": "File"},
        "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/output"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 1_000_000, "MaxWaitTimeInSeconds": 1_000_000},
        "CheckpointConfig": {"S3Uri": f"s3://{BUCKET}/other/{number}"},
        "EnableManagedSpotTraining": True,
        "HyperParameters": {"simulated_seconds": "1000000"},
        "Environment": {ENV_RUN: run.key, ENV_TRY: "1 0 0 0"},
        "Tags": run_tags(run, 1),
    }


def measure(old: int, recent: int, attempts: int, source: Path, *, late: bool = False) -> dict[str, Any]:
    """
    Count the calls of one scene.

    :param source: the folder with the package that is measured.
    :return: for each act, the calls by operation.
    """
    began = datetime.now(timezone.utc) - timedelta(days=3)
    run = run_of("measured", began)
    with tempfile.TemporaryDirectory() as folder:
        with (Path(folder) / "jobs.jsonl").open("w", encoding="utf-8") as lines:
            for line in journal(old, recent, attempts, run, time.time()):
                lines.write(f"{json.dumps(line)}\n")
        faults = "ListTrainingJobs=filter-after-paging" if late else ""
        with LocalSageMaker(engine="simulated", dir=folder, grace_seconds=0, faults=faults) as service:
            service.client("s3").create_bucket(Bucket=BUCKET)
            client = service.client("sagemaker")
            for number in range(LIVE):
                client.create_training_job(**live_request(number))
            environ = {
                **service.environ,
                "PATH": "/usr/bin:/bin",
                "HOME": folder,
                "AIRFLOW_HOME": str(Path(folder) / "airflow"),
                "AIRFLOW_CONN_AWS_DEFAULT": "aws://",
                "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
                "AIRFLOW__AIRFLOW_SPOT__NAMESPACE": NAMESPACE,
                "PYTHONPATH": str(source),
            }
            settings = {
                "audit": str(service.dir / "audit.jsonl"),
                "bucket": BUCKET,
                "run": [run.dag_id, run.run_id, run.task_id],
                "began": began.isoformat(),
            }
            done = subprocess.run(
                [sys.executable, str(Path(__file__).with_name("calls_process.py"))],
                input=json.dumps(settings),
                check=False,
                env=environ,
                cwd=folder,
                capture_output=True,
                text=True,
            )
    if done.returncode:
        raise SystemExit(f"{source}: {done.stdout[-2000:]}{done.stderr[-4000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def before() -> Path | None:
    """Give the folder with the package as it was, from git; None where that is not to be had."""
    folder = environments.HOME / f"calls-{BEFORE}"
    if folder.exists():
        return folder
    done = subprocess.run(["git", "-C", str(ROOT), "archive", BEFORE, "airflow_spot"], check=False, capture_output=True)
    if done.returncode:
        print(f"no commit {BEFORE} here: only the present code is measured", file=sys.stderr)
        return None
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as packed:
        packed.extractall(folder, filter="data")
    return folder


def scenes(options: argparse.Namespace) -> Iterator[tuple[int, int, int, bool]]:
    """Yield the scenes: old and recent jobs of the account, attempts of the run, and whether filters are late."""
    old, attempts = options.old or OLD, options.attempts or ATTEMPTS
    for count in old:
        yield count, 0, min(attempts), options.late
    for count in RECENT if options.recent is None else options.recent:
        yield 0, count, min(attempts), options.late
    for count in sorted(attempts)[1:]:
        yield min(old), 0, count, options.late
    if not options.late:
        yield max(old), 0, min(attempts), True


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="How many calls of SageMaker a run needs.")
    parser.add_argument("--old", type=int, action="append", metavar="N", help="old jobs; default: 0, 1000, 20000")
    parser.add_argument("--recent", type=int, action="append", metavar="N", help="of the last month; default: 1000")
    parser.add_argument("--attempts", type=int, action="append", metavar="N", help="of the run; default: 1, 30, 300")
    parser.add_argument("--late", action="store_true", help="names and times are looked at after a page is cut")
    parser.add_argument("--before-most", type=int, default=1_000, metavar="N", help="old jobs with the old code (1000)")
    parser.add_argument("--json", action="store_true", help="print one JSON object for each scene")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/calls.md")
    options = parser.parse_args(arguments)
    was = before()
    results = []
    for old, recent, attempts, late in scenes(options):
        found: dict[str, Any] = {"old": old, "recent": recent, "attempts": attempts, "late": late}
        found["now"] = measure(old, recent, attempts, ROOT, late=late)
        if was is not None and old + recent <= options.before_most:
            found["before"] = measure(old, recent, attempts, was, late=late)
        results.append(found)
        if options.json:
            print(json.dumps(found), flush=True)
    if not options.json:
        print("\n".join(calls_report.table(results)))
    if options.write:
        page = ROOT / "docs" / "calls.md"
        about = f"`python bench/calls.py`, {date.today()}; before: commit {BEFORE}."
        text = calls_report.markdown(results, about)
        page.write_text(pages.between(page.read_text(), calls_report.BENCHMARK, text))


if __name__ == "__main__":
    main()
