"""A real triggerer with 200 deferred tasks, against Local SageMaker; only the scheduler and the workers lack."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_spot.local import LocalSageMaker

pytestmark = [pytest.mark.slow, pytest.mark.airflow, pytest.mark.timeout(1200)]

ROOT = Path(__file__).parents[2]
TASKS = 200
INTERVAL = 3.0
LIFE = ["Starting", "Downloading", "Training"]


def name(number: int) -> str:
    return f"train-afspot-{number:010d}-1-1"


@pytest.fixture
def service() -> Iterator[LocalSageMaker]:
    """Jobs that train for as long as they are let."""
    with LocalSageMaker(engine="simulated", grace_seconds=0) as sagemaker:
        client = sagemaker.client("sagemaker")
        sagemaker.client("s3").create_bucket(Bucket="bucket")
        for number in range(TASKS):
            client.create_training_job(
                TrainingJobName=name(number),
                RoleArn="arn:aws:iam::123456789012:role/any",
                AlgorithmSpecification={"TrainingImage": "any", "TrainingInputMode": "File"},
                OutputDataConfig={"S3OutputPath": "s3://bucket/output"},
                ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
                StoppingCondition={"MaxRuntimeInSeconds": 90_000, "MaxWaitTimeInSeconds": 90_000},
                EnableManagedSpotTraining=True,
                HyperParameters={"simulated_seconds": "80000"},
            )
        yield sagemaker


class Triggerers:
    """A metadata database with deferred tasks, and the triggerers that are started on it."""

    def __init__(self, home: Path, service: LocalSageMaker) -> None:
        self.home = home
        self.environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "AWS_"))},
            **service.environ,
            "AIRFLOW_HOME": str(home),
            "AIRFLOW_CONN_AWS_DEFAULT": "aws://",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__AIRFLOW_SPOT__EVENTS_FILE": str(home / "events.jsonl"),
            "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "6",
            "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "1",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}?timeout=60",
            "PYTHONPATH": str(ROOT),
        }
        self._run(["-m", "airflow", "db", "migrate"])
        arguments = [
            (
                f"task_{number}",
                {"jobs": [{"name": name(number)}], "poll_interval": INTERVAL, "run_state": {"number": number}},
            )
            for number in range(TASKS)
        ]
        self._run([str(Path(__file__).with_name("deferred.py")), "defer"], json.dumps(arguments))

    def _run(self, command: list[str], given: str | None = None) -> str:
        done = subprocess.run(
            [sys.executable, *command], input=given, env=self.environ, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return done.stdout

    @contextlib.contextmanager
    def triggerer(self) -> Iterator[subprocess.Popen[bytes]]:
        """A triggerer; killed, with all that it started, at the end if it has not been before."""
        with (self.home / "triggerer.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "airflow", "triggerer", "--skip-serve-logs"],
                env=self.environ,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            yield process
        finally:
            self.kill(process)

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """SIGKILL, also to what it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def resumed(self) -> int:
        """How many tasks are to continue."""
        with contextlib.closing(sqlite3.connect(self.home / "airflow.db", timeout=60)) as database:
            count: int = database.execute("select count(*) from task_instance where state = 'scheduled'").fetchone()[0]
        return count

    def events(self) -> dict[int, dict[str, Any]]:
        """The events that tasks are to continue with."""
        out = self._run([str(Path(__file__).with_name("deferred.py")), "states"])
        found = json.loads(out.splitlines()[-1])
        assert len(found) == TASKS
        return {
            int(task.removeprefix("task_")): one["event"] for task, one in found.items() if one["state"] == "scheduled"
        }

    def told(self, number: int) -> list[str]:
        """The transitions that a task's triggers told, of all triggerers."""
        events = [json.loads(line) for line in (self.home / "events.jsonl").read_text().splitlines()]
        return [each["status"] for each in events if each["event"] == "transition" and each["job"] == name(number)]

    @property
    def log(self) -> str:
        """What the triggerers said."""
        return (self.home / "triggerer.log").read_text()


@pytest.fixture
def triggerers(tmp_path: Path, service: LocalSageMaker) -> Triggerers:
    return Triggerers(tmp_path, service)


def until(condition: Callable[[], Any], what: str, seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(1)


def calls(service: LocalSageMaker) -> Counter[str]:
    return Counter(entry["operation"] for entry in service.audit if entry["event"] == "call")


def looked(service: LocalSageMaker) -> bool:
    """Whether each job has been described."""
    answered = [entry for entry in service.audit if entry["event"] == "call" and entry["error"] is None]
    return len({e["resource"] for e in answered if e["operation"] == "DescribeTrainingJob"}) == TASKS


def check(events: dict[int, dict[str, Any]], numbers: range) -> None:
    assert set(events) == set(numbers)
    for number, event in events.items():
        assert event == {"status": "terminal", "job_name": name(number), "run_state": {"number": number}}


def test_two_hundred_tasks(service: LocalSageMaker, triggerers: Triggerers) -> None:
    """With one call in ten throttled, and one in fifty cut."""
    service.set_faults(
        "DescribeTrainingJob=throttle:p=0.1,seed=1;ListTrainingJobs=throttle:p=0.1,seed=2;"
        "DescribeTrainingJob=cut-before:p=0.02,seed=3;ListTrainingJobs=cut-after:p=0.02,seed=4"
    )
    client = service.client("sagemaker")
    with triggerers.triggerer():
        until(lambda: looked(service), "a first look at each job")
        begun, before = time.monotonic(), calls(service)
        time.sleep(5 * INTERVAL)
        after, passed = calls(service), time.monotonic() - begun
        assert after["ListTrainingJobs"] - before["ListTrainingJobs"] <= 2 * passed / INTERVAL + 3
        assert after["DescribeTrainingJob"] - before["DescribeTrainingJob"] <= 20
        for number in range(TASKS):
            client.stop_training_job(TrainingJobName=name(number))
        until(lambda: triggerers.resumed() == TASKS, "all events")
    check(triggerers.events(), range(TASKS))
    log = triggerers.log
    assert "Traceback" not in log, log[-3000:]
    for number in range(0, TASKS, 20):
        told = triggerers.told(number)
        assert told[:3] == LIFE
        assert len(told) == len(set(told)), "each once"


def test_a_triggerer_that_is_killed(service: LocalSageMaker, triggerers: Triggerers) -> None:
    client = service.client("sagemaker")
    half = TASKS // 2
    with triggerers.triggerer() as first:
        until(lambda: looked(service), "a first look at each job")
        for number in range(half):
            client.stop_training_job(TrainingJobName=name(number))
        until(lambda: triggerers.resumed() >= half // 2, "some events")
        triggerers.kill(first)
    for number in range(half, TASKS, 10):
        service.interrupt(name(number))
    client.stop_training_job(TrainingJobName=name(TASKS - 1))
    interrupted = [*LIFE, "Interrupted", *LIFE]
    with triggerers.triggerer():
        until(lambda: triggerers.resumed() == half + 1, "the events of what had ended")
        for number in range(half, TASKS, 10):
            # The second one tells again what the first had told, whose lines may have died with it.
            until(lambda n=number: triggerers.told(n)[-len(interrupted) :] == interrupted, f"{number} is told")
        for number in range(half, TASKS - 1):
            client.stop_training_job(TrainingJobName=name(number))
        until(lambda: triggerers.resumed() == TASKS, "all events")
    check(triggerers.events(), range(TASKS))
    for number in range(half, TASKS, 10):
        # Ends are told by the worker too: Airflow may close a trigger's log before it has read its last lines.
        told = [status for status in triggerers.told(number) if status not in ("Stopping", "Uploading", "Stopped")]
        assert told in (interrupted, [*LIFE, *interrupted]), "nothing left out, nothing twice"
