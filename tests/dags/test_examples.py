"""Every example DAG imports cleanly, and runs for real against Local SageMaker."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_spot.core.identity import RunIdentity
from airflow_spot.local import LocalSageMaker
from tests.dags.conftest import DAGS
from tests.local.jobs import Jobs
from tests.support.ours import start_ours

NAMESPACE = "examples"
EXAMPLES = sorted(DAGS.glob("*.py"))
#: The first instance goes after the script has written a checkpoint or before it has begun: both must do.
MARKET = "script:up=4,down=1,up=inf"


def test_there_are_examples() -> None:
    names = {"drop_in", "reaper", "rehearsal", "sweep", "taskflow", "training_pipeline", "tuning"}
    assert {path.stem.removeprefix("spot_") for path in EXAMPLES} >= names


def test_an_example_imports_without_a_warning_that_is_ours_or_its_own() -> None:
    """Each in a process of its own: a module that another example has imported would warn no more."""
    code = """
        import os, sys, warnings
        import airflow.providers.amazon.aws.operators.sagemaker  # once for all of them: Airflow is not what is tested
        loaded = {name for name in sys.modules if name.startswith("airflow_spot.")}
        assert loaded <= {"airflow_spot.provider_info"}, loaded

        def look(path):
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                namespace = {"__name__": "example", "__file__": path}
                exec(compile(open(path).read(), path, "exec"), namespace)
            dag = namespace["dag"]
            dag.validate()
            assert dag.tasks and dag.doc_md, path
            ours = [str(w.message) for w in caught if "airflow_spot" in w.filename or w.filename == path]
            assert not ours, (path, ours)

        for path in sys.argv[1:]:
            child = os.fork()
            if child == 0:
                look(path)
                print("imported", path, flush=True)
                os._exit(0)
            os.waitpid(child, 0)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, EXAMPLES)],
        check=False,
        capture_output=True,
        text=True,
        timeout=250,
    )
    imported = [line.removeprefix("imported ") for line in done.stdout.splitlines() if line.startswith("imported ")]
    assert imported == [str(path) for path in EXAMPLES], done.stderr


class Airflow:
    """A scratch Airflow in which `dag.test()` runs a DAG of a file, against a Local SageMaker."""

    RUN = "import importlib, json, sys; importlib.import_module(sys.argv[1]).dag.test(run_conf=json.loads(sys.argv[2]))"

    def __init__(self, home: Path, local: LocalSageMaker) -> None:
        self.home = home
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "AWS_"))}
        self.environ = {
            **inherited,
            **local.environ,
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__AIRFLOW_SPOT__NAMESPACE": NAMESPACE,
            "AIRFLOW__AIRFLOW_SPOT__CHECK_INTERVAL": "5",
            "AIRFLOW_CONN_AWS_DEFAULT": "aws://",
            "PYTHONPATH": str(DAGS),
        }
        self._python("-m", "airflow", "db", "migrate")

    def _python(self, *arguments: str) -> None:
        subprocess.run([sys.executable, *arguments], env=self.environ, cwd=self.home, check=True, timeout=1000)

    def run(self, dag_id: str, **conf: Any) -> tuple[str, dict[str, str]]:
        """Run a DAG; returns the state of the run, and those of its tasks."""
        self._python("-c", self.RUN, dag_id, json.dumps(conf))
        with sqlite3.connect(self.home / "airflow.db") as database:
            run_id, state = database.execute(
                "select run_id, state from dag_run where dag_id = ? order by id desc", (dag_id,)
            ).fetchone()
            tasks = dict(
                database.execute(
                    "select task_id, state from task_instance where dag_id = ? and run_id = ?", (dag_id, run_id)
                )
            )
        return state, tasks


@pytest.fixture(scope="module")
def sm() -> Iterator[LocalSageMaker]:
    with LocalSageMaker(market=MARKET, reclaim="kill") as service:
        yield service


@pytest.fixture(scope="module")
def airflow(sm: LocalSageMaker, tmp_path_factory: pytest.TempPathFactory) -> Airflow:
    return Airflow(tmp_path_factory.mktemp("airflow"), sm)


def calls(sm: LocalSageMaker, operation: str) -> list[dict[str, Any]]:
    return [line for line in sm.audit if line["event"] == "call" and line.get("operation") == operation]


@pytest.mark.slow
def test_the_pipeline_trains_through_an_interruption_and_serves_what_it_trained(
    airflow: Airflow, sm: LocalSageMaker
) -> None:
    state, tasks = airflow.run("spot_training_pipeline", rounds=30, seconds_per_round=0.2)
    assert state == "success", tasks
    assert set(tasks.values()) == {"success"}
    with sqlite3.connect(airflow.home / "airflow.db") as database:
        asked = "select key, value from xcom where task_id = 'train' and (key like 'sagemaker%' or key like '_link%')"
        links = {key: json.loads(value) for key, value in database.execute(asked)}
    # Each once: Airflow pushes links too, when a task ends or defers.
    assert {key.removeprefix("sagemaker_spot_") for key in links} == {
        "training_job",
        "training_logs",
        "checkpoints",
        "model",
        "timeline_page",
    }
    assert all(links.values())
    assert [line["job"] for line in sm.audit if line["event"] == "capacity" and line["action"] == "reclaimed"]
    assert len(calls(sm, "CreateTrainingJob")) == 1
    assert [line["error"] for line in calls(sm, "DeleteEndpoint")] == [None]
    (version,) = sm.client("sagemaker").list_model_packages(ModelPackageGroupName="digits")["ModelPackageSummaryList"]
    assert (version["ModelPackageVersion"], version["ModelApprovalStatus"]) == (1, "Approved")
    assert sm.client("s3").list_objects_v2(Bucket="airflow-spot-demo", Prefix="digits/data/test/")["KeyCount"] == 1


@pytest.mark.slow
def test_the_drop_in_trains_on_what_the_pipeline_prepared(airflow: Airflow, sm: LocalSageMaker) -> None:
    state, tasks = airflow.run("drop_in")
    assert state == "success", tasks
    name = calls(sm, "CreateTrainingJob")[-1]["resource"]
    job = sm.client("sagemaker").describe_training_job(TrainingJobName=name)
    assert job["EnableManagedSpotTraining"] is True
    assert job["CheckpointConfig"]["S3Uri"].startswith("s3://airflow-spot-demo/drop-in/")


@pytest.mark.slow
def test_the_reaper_stops_what_no_task_waits_for_and_nothing_else(airflow: Airflow, sm: LocalSageMaker) -> None:
    with sqlite3.connect(airflow.home / "airflow.db") as database:
        # The drop-in's, of the test before.
        (run_id,) = database.execute("select run_id from dag_run where dag_id = 'drop_in' order by id desc").fetchone()
    jobs = Jobs(sm)
    runs = {
        "ended": RunIdentity(NAMESPACE, "drop_in", run_id, "train"),
        "gone": RunIdentity(NAMESPACE, "drop_in", "manual__gone", "train"),
        "another DAG": RunIdentity(NAMESPACE, "never_here", "manual__1", "train"),
        "foreign": RunIdentity("another", "drop_in", run_id, "train"),
    }
    names = {what: start_ours(jobs, run) for what, run in runs.items()}
    try:
        time.sleep(1.1)
        state, tasks = airflow.run("spot_reaper", grace="1s")
        assert state == "success", tasks
        assert {line["resource"] for line in calls(sm, "StopTrainingJob")} == {names["ended"], names["gone"]}
        for what in ("ended", "gone"):
            assert jobs.end(names[what])["TrainingJobStatus"] == "Stopped"
    finally:
        for what in ("another DAG", "foreign"):
            jobs.sagemaker.stop_training_job(TrainingJobName=names[what])


@pytest.mark.slow
def test_a_script_is_rehearsed_before_it_is_trained(airflow: Airflow, sm: LocalSageMaker, digits: Path) -> None:
    s3 = sm.client("s3")
    s3.create_bucket(Bucket="airflow-spot-demo")
    s3.upload_file(str(digits / "train" / "train.csv"), "airflow-spot-demo", "digits/data/train/train.csv")
    before = len(calls(sm, "CreateTrainingJob"))
    state, tasks = airflow.run("spot_rehearsal", rehearsal_rounds=10)
    assert state == "success", tasks
    assert len(calls(sm, "CreateTrainingJob")) == before + 1, "a rehearsal has a service of its own"
    # A script that saves no checkpoint at all: the one that prepares the data, which fails without its option.
    state, tasks = airflow.run("spot_rehearsal", script="prepare.py")
    assert (state, tasks["rehearse_script"], tasks["train"]) == ("failed", "failed", "upstream_failed")
    assert len(calls(sm, "CreateTrainingJob")) == before + 1


@pytest.mark.slow
def test_a_function_trains_through_an_interruption_and_hands_its_result_on(
    airflow: Airflow, sm: LocalSageMaker
) -> None:
    s3 = sm.client("s3")
    s3.create_bucket(Bucket="airflow-spot-demo")
    before = len(calls(sm, "CreateTrainingJob"))
    sm.set_market(MARKET)  # anew: other tests may have had the interruption
    state, tasks = airflow.run("spot_taskflow", seconds_per_round=0.5)
    assert state == "success", tasks
    (created,) = calls(sm, "CreateTrainingJob")[before:]
    job = sm.client("sagemaker").describe_training_job(TrainingJobName=created["resource"])
    assert "Interrupted" in [each["Status"] for each in job["SecondaryStatusTransitions"]]
    with sqlite3.connect(airflow.home / "airflow.db") as database:
        xcoms = dict(
            database.execute("select task_id || '.' || key, value from xcom where dag_id = 'spot_taskflow'").fetchall()
        )
    # SQLite makes numbers of JSON that are some.
    assert float(xcoms["train.accuracy"]) > 0.9
    assert int(xcoms["train.resumed_from"]) % 5 == 0
    assert json.loads(xcoms["report.return_value"]).endswith(job["ModelArtifacts"]["S3ModelArtifacts"])


@pytest.mark.slow
def test_a_wrong_answer_fails_the_run_and_the_endpoint_is_deleted_all_the_same(
    airflow: Airflow, sm: LocalSageMaker
) -> None:
    before = len(calls(sm, "DeleteEndpoint"))
    state, tasks = airflow.run("spot_training_pipeline", rounds=3, min_accuracy=1.0)
    assert state == "failed"
    assert (tasks["deploy"], tasks["check_endpoint"], tasks["delete_endpoint"]) == ("success", "failed", "success")
    deleted = calls(sm, "DeleteEndpoint")[before:]
    assert [line["error"] for line in deleted] == [None]
