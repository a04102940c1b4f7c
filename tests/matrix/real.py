"""Scenarios on a real scheduler, triggerer and worker of the version under test."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from airflow_spot.cli.standalone import StandaloneAirflow, StandaloneError
from airflow_spot.core.identity import RunIdentity
from airflow_spot.core.marks import TAG_STOP, tag_map
from airflow_spot.local import LocalSageMaker
from tests.matrix.airflow2 import StandaloneAirflow2
from tests.matrix.environment import ROOT, Environment, MatrixError
from tests.matrix.postgres import Postgres

NAMESPACE = "airflow-matrix"
BUCKET = "airflow-tests"
DAGS = ROOT / "tests" / "airflow" / "dags"
T = TypeVar("T")


@contextlib.contextmanager
def real_airflow(environment: Environment, service: LocalSageMaker, log: Path) -> Iterator[Real]:
    """Start the version's Airflow, with the wheel and nothing of the checkout but its DAG files."""
    environ = {
        **service.environ,
        "AIRFLOW__AIRFLOW_SPOT__NAMESPACE": NAMESPACE,
        "AIRFLOW_CONN_AWS_DEFAULT": "aws://",
    }
    place: dict[str, Any] = {
        "home": environment.folder / "real",
        "dags_folder": DAGS,
        "python": str(environment.python),
    }
    with contextlib.ExitStack() as stack:
        if environment.target.is_airflow_2:
            environment.add("psycopg2-binary", log)
            database = stack.enter_context(Postgres(log))
            airflow: StandaloneAirflow = StandaloneAirflow2(**place, database=database.url, environ=environ)
        else:
            airflow = StandaloneAirflow(**place, environ=environ)
        for name in ("PYTHONPATH", "VIRTUAL_ENV"):
            airflow.environ.pop(name, None)
        try:
            airflow.start(timeout=240)
            yield Real(airflow, service)
        except StandaloneError as error:
            raise MatrixError(str(error)) from error
        finally:
            airflow.stop()


class Real:
    """A running Airflow, and the scenarios that are played on it."""

    def __init__(self, airflow: StandaloneAirflow, service: LocalSageMaker) -> None:
        self.airflow = airflow
        self.service = service

    def interrupted(self) -> None:
        """A deferred run passes, and its one job was interrupted once."""
        run_id = self._start("interrupted")
        name = self._training("interrupted", run_id)["TrainingJobName"]
        checkpoints = lambda: [e for e in self.service.audit if e["event"] == "checkpoint" and e["job"] == name]  # noqa: E731
        until(checkpoints, "a checkpoint in S3")
        self.service.interrupt(name)
        self._passes("interrupted", run_id)
        (job,) = self._jobs("interrupted", run_id)
        statuses = [transition["Status"] for transition in job["SecondaryStatusTransitions"]]
        expect(job["TrainingJobStatus"] == "Completed" and statuses.count("Interrupted") == 1, f"{statuses}")

    def marked_failed(self) -> None:
        """A deferred task that a user marks failed stops its job, with one marked stop."""
        run_id = self._start("marked_failed")
        job = self._training("marked_failed", run_id)
        self._watched("marked_failed", run_id, job["TrainingJobName"])
        self.airflow.mark("marked_failed", run_id, "train", "failed")
        marked = time.monotonic()
        until(lambda: self._stops(job["TrainingJobName"]), "StopTrainingJob after the task was marked failed")
        waited = time.monotonic() - marked
        until(lambda: [j["TrainingJobStatus"] for j in self._jobs("marked_failed", run_id)] == ["Stopped"], "the stop")
        tags = tag_map(self.service.client("sagemaker").list_tags(ResourceArn=job["TrainingJobArn"])["Tags"])
        expect(tags.get(TAG_STOP) == "killed 1", f"the mark is {tags.get(TAG_STOP)!r}")
        expect(len(self._stops(job["TrainingJobName"])) == 1, "more than one StopTrainingJob")
        expect(waited < 30, f"the stop came after {waited:.0f} s")

    def triggerer_restarted(self) -> None:
        """A triggerer that ends and comes back stops nothing, and the run passes."""
        run_id = self._start("triggerer_restarted")
        job = self._training("triggerer_restarted", run_id)
        self._watched("triggerer_restarted", run_id, job["TrainingJobName"])
        for pid in self._triggerers():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        until(lambda: not self._triggerers(), "the triggerer to end")
        with (self.airflow.home / "triggerer.log").open("ab") as log:
            command = [self.airflow.python, "-m", "airflow", "triggerer"]
            again = subprocess.Popen(
                command, env=self.airflow.environ, cwd=self.airflow.home, stdout=log, stderr=subprocess.STDOUT
            )
        try:
            self._passes("triggerer_restarted", run_id)
        finally:
            again.terminate()
            again.wait(60)
        expect(len(self._jobs("triggerer_restarted", run_id)) == 1, "more than one job")
        expect(not self._stops(job["TrainingJobName"]), "the restart stopped the job")

    # ---- what they share

    def _start(self, dag_id: str) -> str:
        self.airflow.unpause(dag_id, timeout=120)
        return self.airflow.trigger(dag_id)

    def _jobs(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        client = self.service.client("sagemaker")
        key = RunIdentity(NAMESPACE, dag_id, run_id, "train").key
        found = client.list_training_jobs(NameContains=key, MaxResults=100)["TrainingJobSummaries"]
        return [client.describe_training_job(TrainingJobName=job["TrainingJobName"]) for job in found]

    def _training(self, dag_id: str, run_id: str) -> dict[str, Any]:
        def trains() -> dict[str, Any] | None:
            return next((job for job in self._jobs(dag_id, run_id) if job["SecondaryStatus"] == "Training"), None)

        return until(trains, f"a training job of {dag_id}", self._told(dag_id, run_id))

    def _watched(self, dag_id: str, run_id: str, job_name: str) -> None:
        """Wait until the task's trigger runs: from the deferral on, nobody else looks at the job."""
        states = self._told(dag_id, run_id)
        until(lambda: states()["train"] == "deferred", "the task to be deferred", states)
        before = len(self._calls("DescribeTrainingJob", job_name))
        until(lambda: len(self._calls("DescribeTrainingJob", job_name)) > before + 1, "the trigger to look", states)

    def _passes(self, dag_id: str, run_id: str) -> None:
        state = self.airflow.wait(dag_id, run_id, timeout=180)
        expect(state == "success", f"the run is {state}: {self.airflow.task_states(dag_id, run_id)}")

    def _told(self, dag_id: str, run_id: str) -> Callable[[], Any]:
        return lambda: self.airflow.task_states(dag_id, run_id)

    def _stops(self, job_name: str) -> list[dict[str, Any]]:
        return self._calls("StopTrainingJob", job_name)

    def _calls(self, operation: str, job_name: str) -> list[dict[str, Any]]:
        calls = [line for line in self.service.audit if line.get("operation") == operation]
        return [line for line in calls if line["resource"] == job_name]

    def _triggerers(self) -> list[int]:
        found = []
        for pid in self.airflow._pids():
            with contextlib.suppress(OSError):
                if b"triggerer" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    found.append(pid)
        return found


def until(
    condition: Callable[[], T | None], what: str, told: Callable[[], Any] = lambda: "", seconds: float = 120
) -> T:
    """Wait for a condition; `told` is asked for more where it does not come."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.2)
    raise MatrixError(f"not within {seconds:.0f} s: {what} {told()}".strip())


def expect(condition: bool, otherwise: str) -> None:
    """Fail the scenario unless the condition holds; unlike assert, under -O too."""
    if not condition:
        raise MatrixError(otherwise)
