"""DAG files in the public styles run with nothing but their import changed, or are told what to change."""

from __future__ import annotations

import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from airflow_spot.errors import RequestError
from airflow_spot.local import LocalSageMaker
from airflow_spot.operators.training import SageMakerSpotTrainingOperator
from airflow_spot.runs import controller
from tests.dags.dag_in_process import load, run_dag

STYLES = Path(__file__).parent / "styles"
IMAGE = STYLES / "image.py"
#: What runs as it is, and how many trainings it has.
RUNS = {
    "templated": 1,
    "xcomarg": 1,
    "taskflow": 1,
    "mapped": 2,
    "subclassed": 1,
    "sdk_made": 1,
    "built_in": 1,
    "jinja_chain": 1,
    "deferrable": 1,
    "on_demand": 1,
}


@pytest.fixture(scope="module")
def sm() -> Iterator[LocalSageMaker]:
    images = {"*pytorch*": sys.executable, "*": f"{sys.executable} {IMAGE}"}
    with LocalSageMaker(images=images, checkpoint_seconds=0.2) as service:
        s3 = service.client("s3")
        s3.create_bucket(Bucket="styles")
        s3.put_object(Bucket="styles", Key="data/a.csv", Body=b"1,2")
        yield service


@pytest.fixture(autouse=True)
def hurried(sm: LocalSageMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A deployment whose Local SageMaker this is; nobody waits for half a minute between two looks."""
    for name, value in sm.environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", "aws://")

    def sleep(amount: float, check: Any) -> None:
        check()
        time.sleep(min(amount, 0.1))
        check()

    monkeypatch.setattr(controller, "interruptible_sleep", sleep)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the tasks' logs say."""
    lines: list[str] = []

    class Log:
        def info(self, message: str, *args: Any) -> None:
            lines.append(message % args)

        warning = error = info

    monkeypatch.setattr(SageMakerSpotTrainingOperator, "log", Log())
    return lines


def created(sm: LocalSageMaker) -> list[str]:
    """The training jobs so far, by Local SageMaker's own record."""
    calls = [line for line in sm.audit if line["event"] == "call" and line.get("operation") == "CreateTrainingJob"]
    return [line["resource"] for line in calls if line["error"] is None]


def run(name: str, **edits: str) -> dict[str, list[Any]]:
    return run_dag(load(STYLES / f"{name}.py", **edits), f"manual__{uuid.uuid4()}")


@pytest.mark.parametrize("name", RUNS)
def test_it_runs_with_its_import_changed(sm: LocalSageMaker, name: str) -> None:
    before = len(created(sm))
    results = run(name)
    made = created(sm)[before:]
    assert len(made) == RUNS[name]
    trained = results.get("train") or results["train_model"]
    assert [each["Training"]["TrainingJobStatus"] for each in trained] == ["Completed"] * RUNS[name]
    assert [each["Training"]["TrainingJobName"] for each in trained] == made
    spot = name != "on_demand"
    assert all(each["Training"]["EnableManagedSpotTraining"] is spot for each in trained)
    if name == "taskflow":
        assert results["report"] == [trained[0]["Spot"]["model_artifacts"]]
    if name == "subclassed":
        job = sm.client("sagemaker").describe_training_job(TrainingJobName=made[0])
        assert job["RoleArn"] == "arn:aws:iam::123456789012:role/trainer"
        tags = sm.client("sagemaker").list_tags(ResourceArn=job["TrainingJobArn"], MaxResults=100)["Tags"]
        assert {"Key": "team", "Value": "pricing"} in tags


def test_all_styles_are_tested() -> None:
    files = {path.stem for path in STYLES.glob("*.py")} - {"__init__", "common", "image"}
    assert files == {*RUNS, "groups", "computed_path", "system_training", "system_endpoints"}
    assert len(files) >= 12


def test_instance_groups_are_refused_by_local_sagemaker_in_one_clear_error() -> None:
    """To AWS they go as they are: tests/operators/test_passed_through.py."""
    with pytest.raises(RequestError, match=r"InstanceGroups \(heterogeneous clusters\) are not implemented by Local"):
        run("groups")


def told(said: list[str], task: str) -> str:
    """What the log of the training says other tasks are to use."""
    (line,) = [each for each in said if "Other tasks take its name as" in each]
    assert f"ti.xcom_pull(task_ids='{task}')['Training']['TrainingJobName']" in line
    return line.partition("its model as ")[2].strip()


def test_a_computed_path_fails_as_on_aws_and_the_log_says_what_to_use(said: list[str]) -> None:
    with pytest.raises(ClientError, match="Could not find model data at s3://styles/output/c"):
        run("computed_path")
    template = told(said, "train")
    edit = {'f"s3://styles/output/{JOB}/output/model.tar.gz"': f'"{template}"'}
    assert run("computed_path", **edit)["model"][0]["Model"]["PrimaryContainer"]["ModelDataUrl"].endswith(".tar.gz")


def test_a_copy_of_the_model_serves_a_computed_path_too() -> None:
    place = 'model_s3_uri=f"s3://styles/output/{JOB}/output/", config=training_config(JOB)'
    assert run("computed_path", **{"config=training_config(JOB)": place, '"computed-': '"copied-'})["model"]


def test_airflows_own_training_test_has_to_take_the_name_from_the_result(said: list[str]) -> None:
    with pytest.raises(ClientError, match=r"Requested resource not found\."):
        run("system_training")
    assert any("keeps running" in line and "-afspot-" in line for line in said)
    name = "\"{{ ti.xcom_pull(task_ids='train_model')['Training']['TrainingJobName'] }}\", poke"
    run("system_training", **{'test_setup["training_job_name"], poke': name})


@pytest.mark.slow
def test_airflows_own_endpoint_test_deploys_what_was_trained(sm: LocalSageMaker, said: list[str]) -> None:
    with pytest.raises(ClientError, match="Could not find model data at"):
        run("system_endpoints")
    told(said, "train_model")
    edits = {'config=test_setup["training_config"]': 'config=test_setup["training_config"], model_s3_uri=PLACE'}
    edits["with DAG("] = 'PLACE = "s3://styles/output/env-2/output/"\nwith DAG('
    run("system_endpoints", **edits)
    answer = sm.client("sagemaker-runtime").invoke_endpoint(EndpointName="env-2", Body=b"{}")
    assert answer["Body"].read() == b'{"trained": true}'
    sm.client("sagemaker").delete_endpoint(EndpointName="env-2")
