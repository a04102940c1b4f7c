"""The rows of the outcome table that take a fault of the service, of the request or of a peer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from airflow_spot.compat.sdk import AirflowFailException
from airflow_spot.core.backoff import Backoff
from airflow_spot.core.identity import RunIdentity
from airflow_spot.errors import RequestError
from airflow_spot.local import LocalSageMaker
from tests.support.requests import stock_config
from tests.support.service import Task
from tests.support.task import TaskInstance, run_task

#: A job that trains two steps and then waits for whoever ends it. What resumes from its checkpoint does not.
HELD: dict[str, Any] = {"steps": 4, "hyperparameters": {"hold-at": 2}, "max_run": "1h"}

PEERS = """
import os, sys, time
folder = '/opt/ml/checkpoints' if os.path.isdir('/opt/ml/checkpoints') else os.environ['SM_CHECKPOINT_DIR']
host = os.environ['SM_CURRENT_HOST']
start = len([name for name in os.listdir(folder) if name.endswith(host)])
open(os.path.join(folder, f'{start}-{host}'), 'w').write('x')
if start == 0:
    time.sleep(3600)
if start == 1 and host.endswith('1'):
    print('NCCL: connection closed by a peer', flush=True)
    sys.exit(1)
"""


def of_run(local: LocalSageMaker, ti: TaskInstance) -> list[dict[str, Any]]:
    client = local.client("sagemaker")
    found = client.list_training_jobs(NameContains=key(ti), SortBy="CreationTime", SortOrder="Ascending")
    names = [job["TrainingJobName"] for job in found["TrainingJobSummaries"]]
    return [client.describe_training_job(TrainingJobName=name) for name in names]


def key(ti: TaskInstance) -> str:
    from airflow_spot.config import deployment_namespace

    return RunIdentity(str(deployment_namespace()), ti.dag_id, ti.run_id, ti.task_id, ti.map_index).key


def checkpoints(local: LocalSageMaker, ti: TaskInstance, action: str) -> dict[str, set[str]]:
    """The files of a run's checkpoints that were uploaded or restored, by job, the oldest job first."""
    found: dict[str, set[str]] = {}
    for event in local.audit:
        if event["event"] == "checkpoint" and event["action"] == action and key(ti) in event["job"]:
            found.setdefault(event["job"], set()).add(event["key"])
    return found


@contextmanager
def meanwhile(local: LocalSageMaker, ti: TaskInstance, act: Callable[[str], None], files: int = 1) -> Iterator[None]:
    """Do something to the run's first job once it has so many files of checkpoints in S3."""
    went_wrong: list[Exception] = []

    def wait() -> None:
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline:
            for name, keys in checkpoints(local, ti, "upload").items():
                if len(keys) >= files:
                    try:
                        act(name)
                    except RuntimeError as error:
                        went_wrong.append(error)
                    return
            time.sleep(0.1)

    thread = threading.Thread(target=wait)
    thread.start()
    yield
    thread.join()
    assert went_wrong == []


def test_sagemakers_own_fault_is_tried_again_on_the_same_rung(
    local: LocalSageMaker, task: Task, ti: TaskInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_spot.operators._run_maker.Backoff", lambda key: Backoff(key, base=0.25))
    operator = task.operator(ladder=["ml.m5.xlarge", "ml.m5.2xlarge"], **HELD)
    with meanwhile(local, ti, local.crash):
        result = run_task(operator, ti)
    ended = [(each["instance_type"], each["outcome"]) for each in result["Spot"]["attempts"]]
    assert ended == [("ml.m5.xlarge", "service_error"), ("ml.m5.xlarge", "completed")]
    assert of_run(local, ti)[0]["FailureReason"].startswith("InternalServerError")


def test_what_used_up_its_memory_resumes_where_there_is_more(
    local: LocalSageMaker, task: Task, ti: TaskInstance
) -> None:
    small, large = "ml.m5.xlarge", "ml.m5.4xlarge"
    # By then it has saved a step, on a busy machine too.
    local.set_faults(f"job:*{key(ti)}*=out-of-memory:type={small},seconds=15")
    try:
        ladder = [{"instance_type": small}, {"instance_type": large, "on": "out_of_memory"}]
        result = run_task(task.operator(ladder=ladder, **HELD), ti)
    finally:
        local.set_faults("")
    ended = [(each["instance_type"], each["outcome"]) for each in result["Spot"]["attempts"]]
    assert ended == [(small, "out_of_memory"), (large, "completed")]
    assert "used up the memory of ml.m5.xlarge spot; same checkpoint" in result["Spot"]["attempts"][1]["why"]
    uploaded, restored = (checkpoints(local, ti, action) for action in ("upload", "restore"))
    first, second = (each["job_name"] for each in result["Spot"]["attempts"])
    assert restored == {second: uploaded[first]}


def test_a_job_that_fails_by_its_request_is_not_tried_again(
    local: LocalSageMaker, task: Task, ti: TaskInstance, bucket: str
) -> None:
    config = stock_config(bucket)
    local.client("s3").put_object(Bucket=bucket, Key="data/plain.csv", Body=b"1,2")
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{bucket}/data"}}
    config["InputDataConfig"] = [{"ChannelName": "train", "DataSource": source, "CompressionType": "Gzip"}]
    with pytest.raises(RequestError, match=r"plain\.csv is not gzip") as raised:
        run_task(task.operator(config, script_error_retries=3), ti)
    assert isinstance(raised.value, AirflowFailException)
    assert [job["TrainingJobStatus"] for job in of_run(local, ti)] == ["Failed"]


def test_a_peers_error_after_an_interruption_is_an_interruption(
    local: LocalSageMaker, task: Task, ti: TaskInstance, tmp_path: Any, bucket: str
) -> None:
    """It counts as no script error: the budget of those is 0."""
    (tmp_path / "peers.py").write_text(PEERS)
    config = stock_config(bucket)
    config["ResourceConfig"]["InstanceCount"] = 2
    operator = task.operator(config, entry_point="peers.py", source_dir=str(tmp_path))
    with meanwhile(local, ti, local.interrupt, files=2):
        result = run_task(operator, ti)
    assert [each["outcome"] for each in result["Spot"]["attempts"]] == ["interrupted", "completed"]
    first, _ = of_run(local, ti)
    assert first["FailureReason"].startswith("AlgorithmError")
