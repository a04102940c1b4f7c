"""A real scheduler, triggerer and worker of the version under test, as the scenarios see and handle them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.parse
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from airflow_spot.core.identity import JobName, RunIdentity
from airflow_spot.core.marks import TAG_STOP, tag_map
from airflow_spot.local import LocalSageMaker
from demo.standalone import StandaloneAirflow
from tests.matrix.environment import ROOT, MatrixError

NAMESPACE = "airflow-matrix"
BUCKET = "airflow-tests"
DAGS = ROOT / "tests" / "airflow" / "dags"
API_SERVER = "api-server"
ENDED = frozenset({"Completed", "Failed", "Stopped"})
T = TypeVar("T")


class Real:
    """A running Airflow beside Local SageMaker. What a run did is judged by Local SageMaker's audit log."""

    def __init__(self, airflow: StandaloneAirflow, service: LocalSageMaker) -> None:
        self.airflow = airflow
        self.service = service
        self.sagemaker = service.client("sagemaker")  # scenarios of both modes share it: a client is thread-safe

    @property
    def version(self) -> str:
        """Airflow's."""
        return str(self.airflow.api("GET", "/version")["version"])

    def start(self, dag_id: str) -> str:
        """Start a run and return its id."""
        self.airflow.unpause(dag_id)
        return self.airflow.trigger(dag_id)

    def clear(self, dag_id: str, run_id: str, *, newest: bool = False) -> None:
        """
        Clear the task as a user does in the UI: it is to run again.

        :param newest: by the DAG as it is now, where this version lets a user choose.
        """
        choice = newest and not self.version.startswith(("2.", "3.0."))
        body = {
            "dry_run": False,
            "dag_run_id": run_id,
            "task_ids": ["train"],
            "only_failed": False,
            "only_running": False,
            "reset_dag_runs": True,
            **({"run_on_latest_version": True} if choice else {}),
        }
        self.airflow.api("POST", f"/dags/{dag_id}/clearTaskInstances", body)

    def jobs(self, dag_id: str, run_id: str, map_index: int = -1) -> list[dict[str, Any]]:
        """Every training job of a run, the oldest first."""
        found = self.sagemaker.list_training_jobs(
            NameContains=_key(dag_id, run_id, map_index), MaxResults=100, SortBy="CreationTime", SortOrder="Ascending"
        )
        names = [job["TrainingJobName"] for job in found["TrainingJobSummaries"]]
        return [self.sagemaker.describe_training_job(TrainingJobName=name) for name in names]

    def training(self, dag_id: str, run_id: str, map_index: int = -1) -> dict[str, Any]:
        """Wait until a job of the run trains and has a checkpoint in S3; return it."""

        def trains() -> dict[str, Any] | None:
            return next(
                (job for job in self.jobs(dag_id, run_id, map_index) if job["SecondaryStatus"] == "Training"), None
            )

        job = until(trains, f"a training job of {dag_id}", self.told(dag_id, run_id))
        until(lambda: self.checkpoints(job["TrainingJobName"], "upload"), "a checkpoint in S3")
        return job

    def watched(self, dag_id: str, run_id: str, job_name: str, *, state: str) -> None:
        """Wait until the task waits in its trigger or its worker, and looks at the job from there."""
        states = self.told(dag_id, run_id)
        until(lambda: states()["train"] == state, f"the task to be {state}", states)
        before = len(self.calls("DescribeTrainingJob", job_name))
        until(lambda: len(self.calls("DescribeTrainingJob", job_name)) > before + 1, "a look at the job", states)

    def ends(self, dag_id: str, run_id: str, expected: str = "success", map_index: int = -1) -> None:
        """Wait until the run has ended, as is expected, and check :func:`one_at_a_time`."""
        state = self.airflow.wait(dag_id, run_id, timeout=900)
        expect(state == expected, f"the run is {state}: {self.airflow.task_states(dag_id, run_id)}")
        one_at_a_time(self.service.audit, _key(dag_id, run_id, map_index))

    def attempts(self, dag_id: str, run_id: str) -> list[tuple[int, int, str]]:
        """Generation, attempt and status of each job of a run."""
        found = []
        for job in self.jobs(dag_id, run_id):
            name = JobName.parse(job["TrainingJobName"])
            if name is None:
                raise MatrixError(f"{job['TrainingJobName']} is not a name of ours")
            found.append((name.generation, name.number, job["TrainingJobStatus"]))
        return found

    def tries(self, dag_id: str, run_id: str) -> int:
        """The number of the task's newest try."""
        return int(self.instance(dag_id, run_id)["try_number"])

    def instance(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """The task instance, as Airflow's API has it."""
        path = f"/dags/{dag_id}/dagRuns/{urllib.parse.quote(run_id, safe='')}/taskInstances/train"
        found: dict[str, Any] = self.airflow.api("GET", path)
        return found

    def log(self, dag_id: str, run_id: str) -> str:
        """What the task's tries have logged, in the worker."""
        place = self.airflow.home / "logs" / f"dag_id={dag_id}" / f"run_id={run_id}" / "task_id=train"
        return "\n".join(path.read_text() for path in sorted(place.rglob("attempt=*.log")))

    def parse_again(self, dag_id: str, told: Callable[[dict[str, Any]], bool]) -> None:
        """Have a DAG's file parsed now; wait until Airflow tells of its task what it says."""
        token = self.airflow.api("GET", f"/dags/{dag_id}")["file_token"]
        try:
            self.airflow.api("PUT", f"/parseDagFile/{token}")
        except urllib.error.HTTPError as error:
            if error.code != 409:  # asked for already
                raise
        until(lambda: told(self.airflow.api("GET", f"/dags/{dag_id}/tasks/train")), f"{dag_id} to be parsed again")

    def live(self, dag_id: str, run_id: str) -> list[str]:
        """The jobs of a run that may still train."""
        return [j["TrainingJobName"] for j in self.jobs(dag_id, run_id) if j["TrainingJobStatus"] == "InProgress"]

    def ended(self, dag_id: str, run_id: str) -> bool:
        """Whether the jobs of a run have all ended; one that is told to stop takes some seconds to."""
        return all(job["TrainingJobStatus"] in ENDED for job in self.jobs(dag_id, run_id))

    def called(self, dag_id: str, run_id: str, operation: str) -> None:
        """Wait for the next call about a job of the run."""
        key, since = _key(dag_id, run_id), len(self.service.audit)

        def calls() -> bool:
            lines = [line for line in self.service.audit[since:] if line.get("operation") == operation]
            return any(key in line["resource"] for line in lines)

        until(calls, f"{operation} of {dag_id}", self.told(dag_id, run_id))

    def told(self, dag_id: str, run_id: str) -> Callable[[], Any]:
        """What to tell where something does not come."""
        return lambda: self.airflow.task_states(dag_id, run_id)

    def stops(self, job_name: str) -> list[dict[str, Any]]:
        """Calls of StopTrainingJob."""
        return self.calls("StopTrainingJob", job_name)

    def mark_of(self, job_name: str) -> str | None:
        """Why a job was stopped, as it is marked."""
        arn = self.sagemaker.describe_training_job(TrainingJobName=job_name)["TrainingJobArn"]
        return tag_map(self.sagemaker.list_tags(ResourceArn=arn)["Tags"]).get(TAG_STOP)

    def calls(self, operation: str, job_name: str) -> list[dict[str, Any]]:
        """Calls about a job."""
        calls = [line for line in self.service.audit if line.get("operation") == operation]
        return [line for line in calls if line["resource"] == job_name]

    def checkpoints(self, job_name: str, action: str) -> list[dict[str, Any]]:
        """Checkpoint files that a job has uploaded or was given."""
        lines = [line for line in self.service.audit if line["event"] == "checkpoint"]
        return [line for line in lines if line["job"] == job_name and line["action"] == action]

    def end_component(self, name: str, number: signal.Signals) -> None:
        """Send every process of a component a signal, and wait until none is left. Its workers live on."""
        pids = self._component(name)
        expect(bool(pids), f"no {name} runs")
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        until(lambda: not self._component(name), f"the {name} to end")

    def start_component(self, name: str) -> None:
        """Start a component again; it runs until this Airflow is stopped."""
        with (self.airflow.home / f"{name}.log").open("ab") as log:
            started = subprocess.Popen(
                [self.airflow.python, "-m", "airflow", name],
                env=self.airflow.environ,
                cwd=self.airflow.home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.airflow._sessions.add(started.pid)

    def kill_worker(self, dag_id: str) -> None:
        """SIGKILL the supervisor and the process of the task that told them (see ``TellsItsProcess``)."""
        told = self.airflow.home / f"{dag_id}.pids"
        until(told.exists, "the task to tell its processes")
        pids = [int(word) for word in told.read_text().split()]
        expect(set(pids) <= set(self.airflow._pids()), f"{pids} are not of this Airflow")
        for pid in pids:
            os.kill(pid, signal.SIGKILL)

    def _component(self, name: str) -> list[int]:
        found = []
        for pid in self.airflow._pids():
            with contextlib.suppress(OSError):
                words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").split()
                # A worker's title continues: "airflow worker -- LocalExecutor: ...".
                alone = bool(words) and words[-1] == name.encode() and b"--" not in words
                # The API server's has its address: "airflow api_server -- host:...".
                if alone or (name == API_SERVER and not {b"api-server", b"api_server"}.isdisjoint(words)):
                    found.append(pid)
        return found


def _key(dag_id: str, run_id: str, map_index: int = -1) -> str:
    return RunIdentity(NAMESPACE, dag_id, run_id, "train", map_index).key


def one_at_a_time(audit: Iterable[Mapping[str, Any]], key: str) -> None:
    """
    Check that a run's jobs lived one after the other, each created by one call, and that none lives on.

    :param audit: the lines of Local SageMaker's audit log, in order.
    :param key: of the run.
    :raises MatrixError: they did not.
    """
    alive: set[str] = set()
    creates: dict[str, list[Any]] = {}
    for line in audit:
        if line.get("operation") == "CreateTrainingJob" and key in line["resource"]:
            creates.setdefault(line["resource"], []).append(line["error"])
        elif line["event"] == "state" and key in line["job"]:
            (alive.discard if line["status"] in ENDED else alive.add)(line["job"])
            expect(len(alive) <= 1, f"alive at once: {sorted(alive)}")
    expect(bool(creates), "no job was created")
    expect(all(errors == [None] for errors in creates.values()), f"CreateTrainingJob: {json.dumps(creates)}")
    expect(not alive, f"left alive: {sorted(alive)}")


def until(
    condition: Callable[[], T | None], what: str, told: Callable[[], Any] = lambda: "", seconds: float = 600
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
