"""Many mapped tasks on a small quota, the retry policy, and orphans by the REST API, on a real Airflow."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_spot.cli.main import main
from airflow_spot.cli.task_states import TOKEN_VARIABLE
from airflow_spot.core.identity import JobName, RunIdentity
from airflow_spot.local import LocalSageMaker
from demo.standalone import StandaloneAirflow
from tests.airflow.newest.members import MEMBERS, TYPE
from tests.airflow.running import airflow_of
from tests.local.jobs import Jobs, until
from tests.support.ours import start_ours

pytestmark = [pytest.mark.slow, pytest.mark.airflow, pytest.mark.timeout(2400)]

NAMESPACE = "airflow-members"
QUOTA = 4


@pytest.fixture(scope="module")
def service() -> Iterator[LocalSageMaker]:
    with LocalSageMaker(grace_seconds=2, quotas=f"{TYPE}:spot={QUOTA}") as sagemaker:
        sagemaker.client("s3").create_bucket(Bucket="airflow-tests")
        yield sagemaker


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that members wait for."""
    return tmp_path_factory.mktemp("released") / "release"


@pytest.fixture(scope="module")
def airflow(
    service: LocalSageMaker, release: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StandaloneAirflow]:
    environ = {"AIRFLOW_SPOT_TEST_MEMBERS": str(MEMBERS), "AIRFLOW_SPOT_TEST_RELEASE": str(release)}
    with airflow_of(service, tmp_path_factory.mktemp("airflow"), "newest", NAMESPACE, **environ) as standalone:
        yield standalone


def is_refused(service: LocalSageMaker) -> bool:
    """Whether the quota has refused a job."""
    return any(line.get("error") == "ResourceLimitExceeded" for line in service.audit)


def test_members_take_turns_at_a_quota(airflow: StandaloneAirflow, service: LocalSageMaker, release: Path) -> None:
    airflow.unpause("members")
    run_id = "typed:by~a+user_" + "x" * 150
    airflow.api("POST", "/dags/members/dagRuns", {"logical_date": None, "dag_run_id": run_id})
    until(lambda: is_refused(service), "a refused job", 600)
    release.touch()
    assert airflow.wait("members", run_id, timeout=2000) == "success"
    task_id = f"{'sweep_' * 20}.train"
    keys = {RunIdentity(NAMESPACE, "members", run_id, task_id, index).key for index in range(MEMBERS)}
    audit = [line for line in service.audit if "member" in str(line.get("job") or line.get("resource"))]
    states = [line for line in audit if line["event"] == "state"]
    completed = {line["job"] for line in states if line["status"] == "Completed"}
    assert {JobName.parse(name).key for name in completed} == keys  # type: ignore[union-attr]
    assert {line["job"] for line in states} == completed, "a member had a second job"
    folders = {
        service.client("sagemaker").describe_training_job(TrainingJobName=name)["CheckpointConfig"]["S3Uri"]
        for name in completed
    }
    assert len(folders) == MEMBERS
    live: set[str] = set()
    for line in states:
        (live.discard if line["status"] in ("Completed", "Failed", "Stopped") else live.add)(line["job"])
        assert len(live) <= QUOTA
    creates = [line for line in audit if line.get("operation") == "CreateTrainingJob"]
    refused = [line for line in creates if line["error"]]
    print(f"{MEMBERS} members on a quota of {QUOTA}: {len(creates)} creates, {len(refused)} of them refused")
    # Each that finds the quota used up asks once; then the jobs that end admit the next ones.
    assert {line["error"] for line in refused} == {"ResourceLimitExceeded"}
    assert len(refused) <= 2 * MEMBERS


def test_a_policy_ends_what_no_retry_mends(airflow: StandaloneAirflow, service: LocalSageMaker) -> None:
    airflow.unpause("policy")
    run_id = airflow.trigger("policy")
    assert airflow.wait("policy", run_id, timeout=900) == "failed"
    path = f"/dags/policy/dagRuns/{run_id}/taskInstances/train".replace("+", "%2B")
    assert airflow.api("GET", path)["try_number"] == 2
    names = service.client("sagemaker").list_training_jobs(
        NameContains=RunIdentity(NAMESPACE, "policy", run_id, "train").key
    )["TrainingJobSummaries"]
    assert [job["TrainingJobStatus"] for job in names] == ["Failed", "Failed"]


def test_orphans_by_the_rest_api(
    airflow: StandaloneAirflow,
    service: LocalSageMaker,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    airflow.unpause("policy")
    run_id = airflow.trigger("policy")
    airflow.wait("policy", run_id, timeout=900)
    jobs = Jobs(service)
    runs = {
        "ended": RunIdentity(NAMESPACE, "policy", run_id, "train"),
        "gone": RunIdentity(NAMESPACE, "policy", "manual__gone/1", "train"),
        "mapped": RunIdentity(NAMESPACE, "members", "none", "sweep.train", 3),
        "another DAG": RunIdentity(NAMESPACE, "never here", "manual__1", "train"),
        "foreign": RunIdentity("another", "policy", run_id, "train"),
    }
    # The first attempts are the policy's own.
    names = {what: start_ours(jobs, run, attempt=9) for what, run in runs.items()}
    for name, value in service.environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv(TOKEN_VARIABLE, str(airflow._token))
    time.sleep(1.1)
    command = ["orphans", "--api", f"{airflow.url}/api/v2", "--namespace", NAMESPACE, "--grace", "1s", "--json"]
    assert main([*command, "--stop", "--yes"]) == 0
    told = {fact["job"]: fact for fact in json.loads(capsys.readouterr().out)}
    judged = {what: (told[name]["orphan"], told[name]["stopped"]) for what, name in names.items()}
    assert judged == {
        "ended": (True, True),
        "gone": (True, True),
        "mapped": (True, True),
        "another DAG": (None, False),
        "foreign": (None, False),
    }
    assert jobs.end(names["ended"])["TrainingJobStatus"] == "Stopped"
    assert os.environ[TOKEN_VARIABLE] not in json.dumps(told)
