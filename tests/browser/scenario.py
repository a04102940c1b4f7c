"""
Airflow with trainings in all states that a person looks at, on a Local SageMaker: made once, for tests and pictures.

What happens is led by what has happened, as the audit log says it, and never by a clock: a machine of any speed comes
to the same states.
"""

from __future__ import annotations

import contextlib
import json
import re
import secrets
import sqlite3
import time
import urllib.error
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from airflow_spot.local import LocalSageMaker
from demo.standalone import FINAL_STATES, StandaloneAirflow

HERE = Path(__file__).parent
#: Interrupted twice; the second time there is no other instance, and it resumes on-demand.
RANKING = "ranking_model"
#: Its script fails.
CHURN = "churn_model"
#: Mapped, twenty times; one of them fails.
SWEEP, MEMBERS, FAILED_MEMBER = "price_sweep", 20, 7
#: Trains as long as it is looked at, after an interruption.
SPEECH = "speech_model"
#: Cleared after its success: two generations.
FORECAST = "demand_forecast"
#: Both train until somebody asks something of them.
LABELS, FRAUD = "image_labels", "fraud_scores"
ALL = (SPEECH, RANKING, LABELS, FRAUD, CHURN, FORECAST, SWEEP)
TASK = "train"
#: What those train on whose market changes.
TYPES = {RANKING: "ml.g5.2xlarge", SPEECH: "ml.p3.2xlarge"}
#: Spot capacity; none; none, and who asks for it fails.
UP, DOWN, FAILS = "always", "script:down=inf", "script:fail=inf"

#: Ends a wait that is in vain; says nothing about how long something takes.
PATIENCE_SECONDS = 1500.0
PRICES = {
    "ml.g5.2xlarge": "1.515",
    "ml.m5.xlarge": "0.23",
    "ml.p3.2xlarge": "3.825",
    "ml.m5.2xlarge": "0.461",
    "ml.g4dn.xlarge": "0.736",
    "ml.c5.2xlarge": "0.408",
    "ml.m5.large": "0.115",
}


def until(condition: Callable[[], Any], what: str) -> Any:
    """Wait for something, and return it."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.2)
    raise AssertionError(f"not within {PATIENCE_SECONDS:.0f} s: {what}")


@dataclass
class Scenario:
    """
    The two services, and what was started in them.

    :param secrets: by where they are: in the hyperparameters, the environment and the connection of every training.
    :ivar runs: the DAG run of each DAG.
    """

    airflow: StandaloneAirflow
    sagemaker: LocalSageMaker
    secrets: dict[str, str]
    runs: dict[str, str] = field(default_factory=dict)
    _supplies: dict[str, str] = field(default_factory=dict)

    def start(self) -> None:
        """Start one run of each DAG, all at once."""
        for dag_id in ALL:
            self.airflow.unpause(dag_id, PATIENCE_SECONDS)
            self.runs[dag_id] = self.airflow.trigger(dag_id)

    def lead(self) -> None:
        """Have happen what each DAG is for; returns once all are as they are to be looked at."""
        stories = {
            RANKING: self._ranking(),
            SPEECH: self._speech(),
            FORECAST: self._forecast(),
            LABELS: self._trains(LABELS),
            FRAUD: self._trains(FRAUD),
            CHURN: self._over(CHURN, "failed"),
            SWEEP: self._over(SWEEP, "failed"),
        }
        deadline = time.monotonic() + PATIENCE_SECONDS
        while stories:
            stories = {dag_id: story for dag_id, story in stories.items() if next(story, self) is not self}
            if time.monotonic() > deadline:
                raise AssertionError(
                    {dag_id: self.airflow.task_states(dag_id, self.runs[dag_id]) for dag_id in stories}
                )
            time.sleep(0.3)

    def job(self, dag_id: str) -> str:
        """The newest training job of a DAG that is live; empty where there is none."""
        found = self.sagemaker.client("sagemaker").list_training_jobs(
            NameContains=dag_id.replace("_", "-"), StatusEquals="InProgress", SortBy="CreationTime"
        )["TrainingJobSummaries"]
        return str(found[-1]["TrainingJobName"]) if found else ""

    def release(self, dag_id: str) -> None:
        """Let a training that is held come to its end."""
        (self.airflow.home / f"{dag_id}.ends").touch()

    def market(self, dag_id: str, supply: str) -> None:
        """
        Change what spot capacity there is for a DAG's training, which loses its instance where there is none.

        :param supply: ``always``, or a script of Local SageMaker's. A script that is held by ``inf`` ends when the test
            says so: an interruption that is shorter than the pause between two polls is heard of only at the end.
        """
        self._supplies[TYPES[dag_id]] = supply
        self.sagemaker.set_market(";".join(f"{kind}={each}" for kind, each in self._supplies.items()))

    def told(self, dag_id: str) -> dict[str, Any]:
        """The summary that pages read; empty where there is none yet."""
        try:
            found = self.airflow.xcom(dag_id, self.runs[dag_id], TASK, "airflow_spot")
        except OSError:  # there is none, or Airflow does not answer in time
            return {}
        return dict(found or {})

    def clear(self, dag_id: str) -> None:
        """Clear a DAG's run, as a person does."""
        until(lambda: self._cleared(dag_id), f"{dag_id} to be cleared")

    def page(self, dag_id: str, index: int = -1) -> str:
        """The address of a training's page."""
        return f"{self.run_page(dag_id)}/{TASK}/{index}"

    def run_page(self, dag_id: str) -> str:
        """The address of the page of a DAG run's trainings."""
        return f"{self.airflow.url}/airflow-spot/run/{dag_id}/{quote(self.runs[dag_id], safe='')}"

    def fleet_page(self) -> str:
        """The address of the page of all trainings."""
        return f"{self.airflow.url}/airflow-spot/"

    def in_airflow(self, dag_id: str, *, task: bool = True) -> str:
        """The address of Airflow's own page of a task, or of a DAG run."""
        run = f"{self.airflow.url}/dags/{dag_id}/runs/{quote(self.runs[dag_id], safe='')}"
        return f"{run}/tasks/{TASK}" if task else run

    def _ranking(self) -> Iterator[None]:
        yield from self._interrupted(RANKING)
        while self._saved(RANKING)[1:] < [5]:
            yield
        self.market(RANKING, FAILS)
        yield from self._trains(RANKING, starts=3)
        self.release(RANKING)
        yield from self._over(RANKING, "success")

    def _speech(self) -> Iterator[None]:
        yield from self._interrupted(SPEECH)
        while self.told(SPEECH).get("state") != "training":
            yield

    def _forecast(self) -> Iterator[None]:
        yield from self._over(FORECAST, "success")
        self.clear(FORECAST)
        while self._jobs_of(FORECAST, "Completed") < 2:
            yield
        yield from self._over(FORECAST, "success")

    def _interrupted(self, dag_id: str) -> Iterator[None]:
        """Yield until a DAG's training was interrupted, its page shows it, and it trains again."""
        while self._saved(dag_id) < [4]:
            yield
        self.market(dag_id, DOWN)
        while self.told(dag_id).get("state") != "waiting":
            yield
        self.market(dag_id, UP)
        yield from self._trains(dag_id, starts=2)

    def _trains(self, dag_id: str, starts: int = 1) -> Iterator[None]:
        """Yield until a DAG's training has been started so often, and its newest start has left a checkpoint."""
        while len(self._saved(dag_id)) < starts:
            yield

    def _over(self, dag_id: str, state: str) -> Iterator[None]:
        while (now := self._state(dag_id)) != state:
            if now in FINAL_STATES:
                raise AssertionError(f"the run of {dag_id} is {now}")
            yield

    def _saved(self, dag_id: str) -> list[int]:
        """How many checkpoints each start of a DAG's trainings has left, of those that left any, oldest first."""
        name = f"{dag_id.replace('_', '-')}-"
        found: dict[tuple[str, int], set[str]] = {}
        for one in self.sagemaker.audit:
            if one["event"] != "checkpoint" or one["action"] != "upload" or not one["job"].startswith(name):
                continue
            # Beside them is the file that says how far the script is.
            if step := re.match(r"(?:.*/)?(step-\d+)", one["key"]):
                found.setdefault((one["job"], one["start"]), set()).add(step[1])
        return [len(steps) for steps in found.values()]

    def _jobs_of(self, dag_id: str, status: str) -> int:
        found = self.sagemaker.client("sagemaker").list_training_jobs(NameContains=dag_id.replace("_", "-"))
        return sum(1 for one in found["TrainingJobSummaries"] if one["TrainingJobStatus"] == status)

    def _cleared(self, dag_id: str) -> bool:
        body = {"dag_run_id": self.runs[dag_id], "dry_run": False, "only_failed": False, "reset_dag_runs": True}
        with self._not_in_time():
            self.airflow.api("POST", f"/dags/{dag_id}/clearTaskInstances", body)
            return True
        # It may have been done all the same, or be done yet: twice would be another clear.
        for _ in range(30):
            if self._state(dag_id) not in ("", *FINAL_STATES):
                return True
            time.sleep(1.0)
        return False

    def _state(self, dag_id: str) -> str:
        """The state of a DAG's run; empty where Airflow does not say."""
        with self._not_in_time():
            return self.airflow.run_state(dag_id, self.runs[dag_id])
        return ""

    @staticmethod
    @contextlib.contextmanager
    def _not_in_time() -> Iterator[None]:
        """Inside, Airflow may find its database locked, or not answer in time, as on a busy machine."""
        try:
            yield
        except urllib.error.HTTPError as error:
            if error.code < 500:
                raise
        except OSError:
            pass


def _database(home: Path) -> str:
    """Make an empty database in which nobody who reads is in the way of who writes; returns its address."""
    home.mkdir()
    path = home / "airflow.db"
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode=WAL")
    return f"sqlite:///{path}?timeout=30"  # seconds for which who finds it locked waits; else 5


@contextlib.contextmanager
def trainings(folder: Path) -> Iterator[Scenario]:
    """
    Start Airflow and Local SageMaker with all trainings, as they are to be looked at.

    :param folder: for all that they write.
    """
    hidden = {where: f"canary-{secrets.token_hex(12)}" for where in ("hyperparameters", "environment", "connection")}
    connection = {"conn_type": "aws", "login": "AKIDEXAMPLE", "password": hidden["connection"]}
    prices = folder / "prices.json"
    prices.write_text(json.dumps({"currency": "USD", "hourly": PRICES}))
    with LocalSageMaker(dir=folder / "sagemaker", grace_seconds=1) as sagemaker:
        sagemaker.client("s3").create_bucket(Bucket="trainings")
        airflow = StandaloneAirflow(
            home=folder / "airflow",
            dags_folder=HERE / "dags",
            environ={
                **sagemaker.environ,
                "PYTHONPATH": str(HERE.parent.parent),
                "AIRFLOW__CORE__PARALLELISM": "5",
                "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": _database(folder / "airflow"),
                "AIRFLOW__AIRFLOW_SPOT__NAMESPACE": "browser",
                "AIRFLOW__AIRFLOW_SPOT__PRICES": str(prices),
                "AIRFLOW_CONN_AWS_TRAININGS": json.dumps(connection),
                "SECRET_OF_HYPERPARAMETERS": hidden["hyperparameters"],
                "SECRET_OF_ENVIRONMENT": hidden["environment"],
            },
        )
        with airflow:
            scenario = Scenario(airflow, sagemaker, hidden)
            scenario.start()
            scenario.lead()
            yield scenario
