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


@contextmanager
def meanwhile(local: LocalSageMaker, ti: TaskInstance, act: Callable[[str], None]) -> Iterator[None]:
    """Do something to the run's first job once it has left a checkpoint in S3."""

    def wait() -> None:
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline:
            uploads = [e["job"] for e in local.audit if e["event"] == "checkpoint" and e["action"] == "upload"]
            for name in uploads:
                if key(ti) in name:
                    act(name)
                    return
            time.sleep(0.1)

    thread = threading.Thread(target=wait)
    thread.start()
    yield
    thread.join()


def test_sagemakers_own_fault_is_tried_again_on_the_same_rung(
    local: LocalSageMaker, task: Task, ti: TaskInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_spot.operators._run_maker.Backoff", lambda key: Backoff(key, base=0.25))
    operator = task.operator(ladder=["ml.m5.xlarge", "ml.m5.2xlarge"], steps=60, seconds=0.1)
    with meanwhile(local, ti, local.crash):
        result = run_task(operator, ti)
    ended = [(each["instance_type"], each["outcome"]) for each in result["Spot"]["attempts"]]
    assert ended == [("ml.m5.xlarge", "service_error"), ("ml.m5.xlarge", "completed")]
    assert of_run(local, ti)[0]["FailureReason"].startswith("InternalServerError")


def test_what_used_up_its_memory_resumes_where_there_is_more(
    local: LocalSageMaker, task: Task, ti: TaskInstance
) -> None:
    small, large = "ml.m5.xlarge", "ml.m5.4xlarge"
    local.set_faults(f"job:*{key(ti)}*=out-of-memory:type={small},seconds=2")
    try:
        ladder = [{"instance_type": small}, {"instance_type": large, "on": "out_of_memory"}]
        result = run_task(task.operator(ladder=ladder, steps=60, seconds=0.1), ti)
    finally:
        local.set_faults("")
    ended = [(each["instance_type"], each["outcome"]) for each in result["Spot"]["attempts"]]
    assert ended == [(small, "out_of_memory"), (large, "completed")]
    assert "used up the memory of ml.m5.xlarge spot; same checkpoint" in result["Spot"]["attempts"][1]["why"]
    second = (e["action"] for e in local.audit if e["event"] == "checkpoint" and e["job"].endswith("-1-2"))
    assert next(second) == "restore"


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
    with meanwhile(local, ti, local.interrupt):
        result = run_task(operator, ti)
    assert [each["outcome"] for each in result["Spot"]["attempts"]] == ["interrupted", "completed"]
    first, _ = of_run(local, ti)
    assert first["FailureReason"].startswith("AlgorithmError")
