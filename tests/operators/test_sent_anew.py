"""A script, or a channel, that is sent again to another key and holds the same is no change of the training."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from typing import Any

import pytest

from airflow_spot.errors import RequestError, ScriptError
from airflow_spot.local import LocalSageMaker
from tests.support.requests import SCRIPTS, stock_config
from tests.support.service import Task
from tests.support.task import TaskInstance, run_task

SCRIPT = (SCRIPTS / "steps.py").read_bytes()


def archive(files: dict[str, bytes], packed_at: int) -> bytes:
    """An archive as the SDK makes it: with the time, so that no two are alike."""
    made = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=made, mode="wb", mtime=packed_at) as packed,
        tarfile.open(fileobj=packed, mode="w") as tar,
    ):
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(content), packed_at
            tar.addfile(member, io.BytesIO(content))
    return made.getvalue()


def sdk_config(local: LocalSageMaker, bucket: str, parsed_at: int, script: bytes = SCRIPT, **more: Any) -> Any:
    """A config as a DAG file makes it with the SDK, each time that it is parsed; its data is sent, too."""
    s3 = local.client("s3")
    folder = f"training-{parsed_at}"
    s3.put_object(Bucket=bucket, Key=f"{folder}/source/sourcedir.tar.gz", Body=archive({"steps.py": script}, parsed_at))
    s3.put_object(Bucket=bucket, Key=f"{folder}/data/a.csv", Body=more.pop("data", b"1,2"))
    config = stock_config(bucket, steps=5, seconds=0.05, **more)
    config["HyperParameters"] |= {
        "sagemaker_program": json.dumps("steps.py"),
        "sagemaker_submit_directory": json.dumps(f"s3://{bucket}/{folder}/source/sourcedir.tar.gz"),
        "sagemaker_job_name": json.dumps(folder),
    }
    source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{bucket}/{folder}/data"}
    config["InputDataConfig"] = [{"ChannelName": "training", "DataSource": {"S3DataSource": source}}]
    return config


def run(task: Task, ti: TaskInstance, config: Any, **parameters: Any) -> Any:
    return run_task(task.operator(config, entry_point=None, source_dir=None, **parameters), ti)


def test_the_same_script_at_another_key_is_no_change(
    local: LocalSageMaker, sync_task: Task, ti: TaskInstance, bucket: str, said: list[str]
) -> None:
    with pytest.raises(ScriptError):
        run(sync_task, ti, sdk_config(local, bucket, 1, **{"fail-at": 3}))
    cleared = ti.cleared()
    config = sdk_config(local, bucket, 2, **{"fail-at": 3})
    with pytest.raises(ScriptError):  # it is resumed, and fails again
        run(sync_task, cleared, config, on_config_change="fail")
    assert not [line for line in said if "changed since" in line]


@pytest.mark.parametrize(
    ("change", "named"),
    [({"script": SCRIPT + b"\n# edited\n"}, "script"), ({"data": b"3,4"}, "channels")],
)
def test_another_content_is_a_change(
    local: LocalSageMaker, sync_task: Task, ti: TaskInstance, bucket: str, change: dict[str, Any], named: str
) -> None:
    with pytest.raises(ScriptError):
        run(sync_task, ti, sdk_config(local, bucket, 1, **{"fail-at": 3}))
    with pytest.raises(RequestError, match=rf"^{named} changed since job"):
        run(sync_task, ti.cleared(), sdk_config(local, bucket, 2, **change, **{"fail-at": 3}), on_config_change="fail")


def test_what_cannot_be_looked_at_is_a_change(
    local: LocalSageMaker, sync_task: Task, ti: TaskInstance, bucket: str
) -> None:
    with pytest.raises(ScriptError):
        run(sync_task, ti, sdk_config(local, bucket, 1, **{"fail-at": 3}))
    local.client("s3").delete_object(Bucket=bucket, Key="training-1/source/sourcedir.tar.gz")
    with pytest.raises(RequestError, match=r"^script changed since job"):
        run(sync_task, ti.cleared(), sdk_config(local, bucket, 2, **{"fail-at": 3}), on_config_change="fail")
