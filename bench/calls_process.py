"""
The process that ``calls.py`` counts the calls of: what Airflow's workers do with one task, act by act.

    python bench/calls_process.py < settings.json

It imports the package that is on its path, of now or of before, and uses of it what both have: the operators and the
commands. Prints the calls of each act by operation, as the service's audit log has them, as one JSON object.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

_ENDED = ("Completed", "Failed", "Stopped")
#: Of a job that trains as long as it is let, and of one that ends at once.
LONG, SHORT = 1e6, 0.5


class Calls:
    """The calls of each act."""

    def __init__(self, audit: str) -> None:
        self._audit = Path(audit)
        self.found: dict[str, dict[str, int]] = {}

    @contextlib.contextmanager
    def of(self, act: str) -> Iterator[None]:
        """Count those of the block."""
        begin = self._audit.stat().st_size
        yield
        with self._audit.open("rb") as file:
            file.seek(begin)
            lines = map(json.loads, file.read().splitlines())
            self.found[act] = dict(Counter(line["operation"] for line in lines if line["event"] == "call"))


class TaskInstance:
    """What an operator sees of its task instance."""

    def __init__(self, dag_id: str, run_id: str, task_id: str, try_number: int) -> None:
        self.dag_id, self.run_id, self.task_id, self.try_number = dag_id, run_id, task_id, try_number
        self.map_index, self.max_tries = -1, 3

    def xcom_push(self, key: str, value: Any) -> None:
        """Forget it."""


class Worker:
    """Carries one task, a stretch at a time."""

    def __init__(self, run: list[str], began: datetime, bucket: str, try_number: int, **options: Any) -> None:
        self._ti = TaskInstance(*run, try_number)
        self._began = began
        self._bucket = bucket
        self._options = options
        self.state: dict[str, Any] = {}
        self.job = ""

    def go(self, seconds: float) -> Any:
        """
        Let the task continue until it waits or is done: from its start, or from what it carried.

        :param seconds: that a job it creates trains.
        :return: its result; None where it waits.
        """
        from airflow.providers.common.compat.sdk import TaskDeferred

        from airflow_spot.operators.training import SageMakerSpotTrainingOperator

        operator = SageMakerSpotTrainingOperator(
            task_id=self._ti.task_id,
            deferrable=True,
            print_log=False,
            retries=3,
            config={
                "TrainingJobName": "train",
                "RoleArn": "arn:aws:iam::123456789012:role/any",
                "AlgorithmSpecification": {"TrainingImage": "any", "TrainingInputMode": "File"},
                "OutputDataConfig": {"S3OutputPath": f"s3://{self._bucket}/output"},
                "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
                "StoppingCondition": {"MaxRuntimeInSeconds": 1_000_000, "MaxWaitTimeInSeconds": 1_000_000},
                "HyperParameters": {"simulated_seconds": str(seconds)},
            },
            **self._options,
        )
        dag_run = SimpleNamespace(
            run_after=self._began,
            logical_date=self._began,
            start_date=datetime.now(timezone.utc),
            clear_number=0,
            run_type="scheduled",
            conf={},
        )
        context: Any = {"ti": self._ti, "task_instance": self._ti, "dag_run": dag_run}
        try:
            if not self.state:
                return operator.execute(context)
            event = {"status": "terminal", "job_name": self.job, "run_state": self.state}
            return operator.execute_complete(context, event=event)
        except TaskDeferred as wait:
            kwargs: dict[str, Any] = wait.trigger.serialize()[1]
            self.state = json.loads(json.dumps(kwargs["run_state"]))
            self.job = kwargs["jobs"][0]["name"]
            return None


def without_pauses() -> None:
    """Let an attempt follow at once on one that SageMaker's own error ended: it is its calls that count."""
    from airflow_spot.core.backoff import Backoff

    Backoff.until = lambda self, event, step: None  # type: ignore[assignment,method-assign]


def client(service: str) -> Any:
    """Give a boto3 client."""
    import boto3

    return boto3.client(service)


def end(job_name: str, *, crash: bool = False) -> None:
    """Wait until a job has ended; break its instances first if that is wanted."""
    sagemaker, asked = client("sagemaker"), False
    while True:
        job = sagemaker.describe_training_job(TrainingJobName=job_name)
        if job["TrainingJobStatus"] in _ENDED:
            return
        if crash and not asked and job["SecondaryStatus"] == "Training":
            body = json.dumps({"job": job_name, "region": None}).encode()
            url = f"{os.environ['AWS_ENDPOINT_URL']}/_airflow_spot/crash"
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            opener.open(urllib.request.Request(url, body, method="POST"), timeout=30).close()
            asked = True
        time.sleep(0.05)


def old_folders(run: list[str], bucket: str, count: int) -> None:
    """Have checkpoint folders of other runs of a task, with what proves whose they are."""
    from airflow_spot.aws.checkpoint_store import write_marker
    from airflow_spot.config import deployment_namespace
    from airflow_spot.core.identity import RunIdentity, checkpoint_prefix

    s3 = client("s3")
    for number in range(count):
        other = RunIdentity(str(deployment_namespace()), run[0], f"before{number}", run[2])
        uri = checkpoint_prefix(f"s3://{bucket}/output/checkpoints", other, 1)
        s3.put_object(Bucket=bucket, Key=f"{uri.removeprefix(f's3://{bucket}/')}/x", Body=b"x")
        write_marker(s3, uri.rpartition("/")[0], other)


def commands(calls: Calls, bucket: str) -> None:
    """Run the reaper and the commands: every task is said to be under way."""
    from airflow_spot.cli import main as cli
    from airflow_spot.cli import orphans
    from airflow_spot.compat import task_states
    from airflow_spot.core.orphans import TaskState
    from airflow_spot.operators.reaper import SageMakerSpotReaperOperator

    def under_way(run: Any) -> TaskState:
        return TaskState(True, "running")

    task_states.in_task = under_way
    orphans.from_database = lambda: under_way  # type: ignore[assignment]
    with calls.of("reaper"):
        SageMakerSpotReaperOperator(task_id="reaper").execute({})
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        with calls.of("orphans"):
            cli.main(["orphans", "--json"])
        with calls.of("gc"):
            cli.main(["gc", "--base", f"s3://{bucket}/output/checkpoints", "--older-than", "30d", "--json"])


def main() -> None:
    """Do act after act, and print what each called."""
    settings = json.loads(sys.stdin.read())
    calls, run, bucket = Calls(settings["audit"]), settings["run"], settings["bucket"]
    began = datetime.fromisoformat(settings["began"])
    shared = f"s3://{bucket}/shared"
    without_pauses()
    with calls.of("create"):
        exact = ["exact", *run[1:]]
        Worker(exact, began, bucket, 1, checkpoint_scope="exact", checkpoint_s3_uri=shared).go(LONG)
    # Of the task's own folders only those of before are old: its own run's has an object from now.
    worker = Worker(run, began, bucket, 2, checkpoint_retention="1s")
    with calls.of("start"):
        worker.go(LONG)
    # All that the run has had is this try's from now on, and was read once.
    worker.state["first_of_try"] = 1
    end(worker.job, crash=True)
    worker.go(LONG)
    end(worker.job, crash=True)
    with calls.of("resume"):
        worker.go(SHORT)
    state = len(json.dumps(worker.state))
    end(worker.job)
    commands(calls, bucket)
    old_folders(run, bucket, 3)
    time.sleep(1.5)
    with calls.of("success"):
        result = worker.go(SHORT)
    if result["Training"]["TrainingJobStatus"] != "Completed":
        raise SystemExit(f"the run did not succeed: {result['Training']}")
    print(json.dumps({"calls": calls.found, "attempts": len(result["Spot"]["attempts"]), "state_bytes": state}))


if __name__ == "__main__":
    main()
