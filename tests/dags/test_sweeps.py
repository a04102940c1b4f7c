"""The two sweeps on spot, to their end, in a real Airflow: mapped trainings, and SageMaker's tuner."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from airflow_spot.local import LocalSageMaker
from demo.standalone import StandaloneAirflow
from tests.dags.conftest import DAGS
from tests.dags.test_examples import calls

QUOTA = 3
TRAININGS = 12
BUCKET = "airflow-spot-demo"
ENDS = ("Completed", "Failed", "Stopped")

pytestmark = [pytest.mark.slow, pytest.mark.airflow, pytest.mark.timeout(1500)]


@pytest.fixture(scope="module")
def sm(digits: Path) -> Iterator[LocalSageMaker]:
    """With a quota, a market that takes all spot instances back once, and what `spot_training_pipeline` prepares."""
    market = "ml.m5.large=script:up=3,down=1,up=inf;*=always"
    with LocalSageMaker(market=market, reclaim="kill", quotas=f"*:spot={QUOTA}") as service:
        s3 = service.client("s3")
        s3.create_bucket(Bucket=BUCKET)
        for part in ("train", "validation"):
            s3.upload_file(str(digits / part / f"{part}.csv"), BUCKET, f"digits/data/{part}/{part}.csv")
        yield service


@pytest.fixture(scope="module")
def airflow(sm: LocalSageMaker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandaloneAirflow]:
    environ = {
        **sm.environ,
        "AIRFLOW_CONN_AWS_DEFAULT": "aws://",
        "AIRFLOW__AIRFLOW_SPOT__NAMESPACE": "sweeps",
        "AIRFLOW__AIRFLOW_SPOT__CHECK_INTERVAL": "1",
        "AIRFLOW__CORE__PARALLELISM": "3",
    }
    home = tmp_path_factory.mktemp("airflow")
    with StandaloneAirflow(home=home, dags_folder=DAGS, environ=environ) as standalone:
        yield standalone


def at_once(sm: LocalSageMaker, prefix: str) -> int:
    """How many jobs of a prefix had instances at the same time."""
    most, live = 0, set()
    for line in sm.audit:
        if not str(line.get("job", "")).startswith(prefix):
            continue
        if line["event"] == "capacity" and line["action"] == "granted":
            live.add(line["job"])
            most = max(most, len(live))
        elif line["event"] == "state" and line["status"] in ENDS:
            live.discard(line["job"])
    return most


def losses(sm: LocalSageMaker, prefix: str) -> dict[str, float]:
    """The final loss of each training job of a prefix, all of which have completed on spot."""
    client, found = sm.client("sagemaker"), {}
    pages = client.get_paginator("list_training_jobs").paginate(NameContains=prefix)
    for name in pages.search("TrainingJobSummaries[].TrainingJobName"):
        job = client.describe_training_job(TrainingJobName=name)
        assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
        assert job["EnableManagedSpotTraining"] is True
        (metric,) = job["FinalMetricDataList"]
        found[name] = metric["Value"]
    return found


def failures(airflow: StandaloneAirflow, dag_id: str, run_id: str) -> list[Any]:
    """What the tasks of a run say that have not succeeded."""
    path = f"/dags/{dag_id}/dagRuns/{quote(run_id, safe='')}/taskInstances"
    found = []
    for task in airflow.api("GET", path)["task_instances"]:
        if task["state"] != "success":
            place = f"{path}/{task['task_id']}/logs/{task['try_number']}"
            log = airflow.api("GET", f"{place}?full_content=true&map_index={task['map_index']}")["content"]
            found.append([task["task_id"], task["map_index"], task["state"], log[-20:]])
    return found


def run(airflow: StandaloneAirflow, dag_id: str, pushed_by: str, **conf: Any) -> dict[str, Any]:
    """Run a DAG, all of whose tasks succeed; what one of them has pushed."""
    airflow.unpause(dag_id)
    run_id = airflow.trigger(dag_id, conf)
    state = airflow.wait(dag_id, run_id, timeout=900)
    assert state == "success", failures(airflow, dag_id, run_id)
    pushed: dict[str, Any] = airflow.xcom(dag_id, run_id, pushed_by)
    return pushed


def test_mapped_trainings_take_turns_at_a_quota_and_the_best_is_picked(
    airflow: StandaloneAirflow, sm: LocalSageMaker
) -> None:
    best = run(airflow, "spot_sweep", "pick_best", rounds=12, seconds_per_round=1)
    reached = losses(sm, "sweep-")
    # One job a training: neither the interruption nor the quota has led to a second.
    assert len(reached) == TRAININGS
    assert at_once(sm, "sweep-") == QUOTA
    created = [line["error"] for line in calls(sm, "CreateTrainingJob") if line["resource"].startswith("sweep-")]
    assert created.count(None) == TRAININGS
    assert "ResourceLimitExceeded" in created
    reclaimed = [line["job"] for line in sm.audit if line["event"] == "capacity" and line["action"] == "reclaimed"]
    assert reclaimed
    assert best["interruptions"] == len(reclaimed)
    assert best["training_job"] == min(reached, key=lambda name: reached[name])
    assert best["validation:mlogloss"] == pytest.approx(min(reached.values()))
    assert best["trainings"] == TRAININGS
    assert 0 < best["spot_discount_percent"] < 100
    described = sm.client("sagemaker").describe_training_job(TrainingJobName=best["training_job"])
    given = {name: json.loads(described["HyperParameters"][name]) for name in ("max_depth", "eta")}
    assert best["hyperparameters"] == given
    assert best["model_artifacts"] == described["ModelArtifacts"]["S3ModelArtifacts"]


def test_sagemakers_tuner_names_the_best_of_its_trainings(airflow: StandaloneAirflow, sm: LocalSageMaker) -> None:
    conf: dict[str, Any] = {"instance_type": "ml.m5.xlarge", "trainings": 6, "rounds": 10, "seconds_per_round": 0.05}
    best = run(airflow, "spot_tuning", "show_best", **conf)
    reached = losses(sm, "digits-")
    assert len(reached) == best["trainings"] == 6
    assert at_once(sm, "digits-") == QUOTA
    assert best["training_job"] == min(reached, key=lambda name: reached[name])
    assert best["validation:mlogloss"] == pytest.approx(min(reached.values()))
    assert best["hyperparameters"].keys() == {"max_depth", "eta"}
    folders = {
        line["key"].split("/")[0]
        for line in sm.audit
        if line["event"] == "checkpoint" and line["action"] == "upload" and line["job"].startswith("digits-")
    }
    assert folders == set(reached)
