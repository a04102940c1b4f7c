"""
Airflow's own alarm that is false: a triggerer that was late finds its triggers with another one, and cancels them.

It calls that "a user action", and `on_kill()` of each.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
import urllib.parse
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from airflow_spot.core.identity import RunIdentity
from airflow_spot.core.marks import TAG_STOP, tag_map
from airflow_spot.local import LocalSageMaker
from demo.standalone import StandaloneAirflow
from tests.airflow.newest.held import TASKS
from tests.airflow.running import airflow_of

pytestmark = [pytest.mark.slow, pytest.mark.airflow, pytest.mark.timeout(1800)]

NAMESPACE = "airflow-triggerers"
DAG_ID = "held"
T = TypeVar("T")


def until(condition: Callable[[], T | None], what: str, seconds: float = 240) -> T:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.5)
    raise AssertionError(f"not within {seconds} s: {what}")


class Scene:
    """An Airflow with a run whose tasks are all deferred."""

    def __init__(self, airflow: StandaloneAirflow, service: LocalSageMaker, release: Path) -> None:
        self.airflow = airflow
        self.service = service
        self.sagemaker = service.client("sagemaker")
        self.release = release
        self.events = Path(airflow.environ["AIRFLOW__AIRFLOW_SPOT__EVENTS_FILE"])
        airflow.unpause(DAG_ID)
        self.run_id = airflow.trigger(DAG_ID, {"release": str(release)})
        self.names: dict[str, str] = until(self._training, "six jobs that train")

    def _training(self) -> dict[str, str] | None:
        names = {}
        for task_id in TASKS:
            key = RunIdentity(NAMESPACE, DAG_ID, self.run_id, task_id).key
            for job in self.sagemaker.list_training_jobs(NameContains=key)["TrainingJobSummaries"]:
                if self.job(job["TrainingJobName"])["SecondaryStatus"] == "Training":
                    names[task_id] = job["TrainingJobName"]
        return names if len(names) == len(TASKS) else None

    def job(self, name: str) -> dict[str, Any]:
        described: dict[str, Any] = self.sagemaker.describe_training_job(TrainingJobName=name)
        return described

    def triggerers(self) -> set[int]:
        """The triggerers that Airflow knows."""
        found = self.airflow.api("GET", "/jobs?job_type=TriggererJob&job_state=running")["jobs"]
        return {int(job["id"]) for job in found}

    def holders(self) -> list[int | None]:
        """The triggerer of each task's trigger; None where it has none, or is not deferred."""
        path = f"/dags/{DAG_ID}/dagRuns/{urllib.parse.quote(self.run_id, safe='')}/taskInstances"
        tasks = self.airflow.api("GET", path)["task_instances"]
        assert len(tasks) == len(TASKS)
        jobs = [task["triggerer_job"] for task in tasks if task["state"] == "deferred"]
        return [job and int(job["id"]) for job in jobs] + [None] * (len(tasks) - len(jobs))

    def told(self) -> int:
        """How many triggerers have looked at each job: each tells again that it trains."""
        lines = (json.loads(line) for line in self.events.read_text().splitlines())
        told = Counter(line["job"] for line in lines if line["event"] == "transition" and line["status"] == "Training")
        return min(told[name] for name in self.names.values())

    def looks(self) -> int:
        """How often anybody has looked at jobs."""
        return sum(line.get("operation") == "ListTrainingJobs" for line in self.service.audit)

    def said(self, triggerer: int, what: str) -> int:
        """For how many of the tasks a triggerer has logged something."""
        return sum(what in path.read_text() for path in self.airflow.home.glob(f"logs/**/*.trigger.{triggerer}.log"))

    def stops(self) -> list[str]:
        """The jobs that StopTrainingJob was called for."""
        return [line["resource"] for line in self.service.audit if line.get("operation") == "StopTrainingJob"]

    def live(self) -> set[str]:
        """The tasks whose jobs train."""
        return {task for task, name in self.names.items() if self.job(name)["TrainingJobStatus"] == "InProgress"}

    def pids(self) -> list[int]:
        """The processes of the triggerer that `airflow standalone` has started."""
        found = set()
        for pid in self.airflow._pids():
            with contextlib.suppress(OSError):
                words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").split()
                if words and words[-1] == b"triggerer":
                    found.add(pid)
        while more := {pid for pid in self.airflow._pids() if pid not in found and _parent(pid) in found}:
            found |= more  # and what they have started
        return sorted(found)

    @contextlib.contextmanager
    def second_triggerer(self) -> Iterator[None]:
        with (self.airflow.home / "second.log").open("ab") as log:
            process = subprocess.Popen(
                [self.airflow.python, "-m", "airflow", "triggerer", "--skip-serve-logs"],
                env=self.airflow.environ,
                cwd=self.airflow.home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _parent(pid: int) -> int:
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return 0


@contextlib.contextmanager
def frozen(pids: list[int]) -> Iterator[None]:
    """Stop processes for the time of the block, and not in the middle of a transaction, which SQLite has one of."""
    for _ in range(100):
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        if not _writing() & set(pids):
            break
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        time.sleep(0.05)
    else:
        raise AssertionError("the triggerer writes without an end")
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def _writing() -> set[int]:
    """The processes that have locked a part of a file for themselves."""
    words = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    return {int(line[4]) for line in words if line[1] != "->" and line[3] == "WRITE"}


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with LocalSageMaker(grace_seconds=2) as service:
        service.client("s3").create_bucket(Bucket="airflow-tests")
        late = {"TRIGGERER_HEALTH_CHECK_THRESHOLD": "40", "JOB_HEARTBEAT_SEC": "1"}
        environ = {f"AIRFLOW__TRIGGERER__{name}": value for name, value in late.items()}
        environ["AIRFLOW__AIRFLOW_SPOT__EVENTS_FILE"] = str(tmp_path / "events.jsonl")
        with airflow_of(service, tmp_path / "home", "newest", NAMESPACE, **environ) as airflow:
            yield Scene(airflow, service, tmp_path / "release")


def test_a_triggerer_that_was_late_stops_nothing(scene: Scene) -> None:
    (first,) = scene.triggerers()
    pids = scene.pids()
    until(lambda: scene.holders() == [first] * len(TASKS), "the triggerer to have all triggers")
    until(lambda: scene.told() == 1, "its look at each job")
    with scene.second_triggerer():
        (second,) = until(lambda: scene.triggerers() - {first}, "a second triggerer")
        assert scene.holders() == [first] * len(TASKS)
        with frozen(pids):
            until(lambda: scene.holders() == [second] * len(TASKS), "the second one to take over the triggers")
            until(lambda: scene.told() == 2, "the second one's look at each job")
        # Airflow says this once the trigger has run, on_kill() and all.
        until(lambda: scene.said(first, "trigger completed") == len(TASKS), "the cancel of each")
        assert scene.said(first, "invoking on_kill") == len(TASKS), "Airflow no longer calls it a user's action"
        assert scene.stops() == []
        assert scene.live() == set(TASKS)
        assert scene.holders() == [second] * len(TASKS)
        before = scene.looks()
        until(lambda: scene.looks() > before, "the second one to look on")

        killed = TASKS[3]
        scene.airflow.mark(DAG_ID, scene.run_id, killed, "failed")
        until(lambda: scene.job(scene.names[killed])["TrainingJobStatus"] == "Stopped", "the marked task's job to stop")
        arn = scene.job(scene.names[killed])["TrainingJobArn"]
        assert tag_map(scene.sagemaker.list_tags(ResourceArn=arn)["Tags"])[TAG_STOP] == "killed 1"
        assert scene.stops() == [scene.names[killed]]
        assert scene.live() == set(TASKS) - {killed}

        scene.release.touch()
        assert scene.airflow.wait(DAG_ID, scene.run_id) == "failed"
        states = scene.airflow.task_states(DAG_ID, scene.run_id)
        assert states == {**dict.fromkeys(TASKS, "success"), killed: "failed"}
    assert scene.stops() == [scene.names[killed]]
    creates = [line["resource"] for line in scene.service.audit if line.get("operation") == "CreateTrainingJob"]
    assert sorted(creates) == sorted(scene.names.values())
