"""A checkpoint that was cut off: the error names it, the command sets it aside, and a clear continues."""

from __future__ import annotations

import re
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from airflow_spot.cli.main import main
from airflow_spot.errors import ScriptError
from airflow_spot.local import LocalSageMaker
from tests.support.service import Task
from tests.support.task import TaskInstance, run_task

#: Takes the newest file, and fails where it is not whole.
SCRIPT = """
import json, pathlib, time
folder = pathlib.Path("/opt/ml/checkpoints")
kept = sorted(folder.glob("epoch-*.json"))
first = json.loads(kept[-1].read_text())["epoch"] if kept else 0
pathlib.Path("/opt/ml/model/begun").write_text(str(first))
for epoch in range(first + 1, 9):
    time.sleep(0.2)
    new = folder / "new.sagemaker-ignore"
    new.write_text(json.dumps({"epoch": epoch}))
    new.rename(folder / f"epoch-{epoch:03d}.json")
    if epoch == 3 and first == 0:
        time.sleep(600)  # it is interrupted here
"""


def live_job(local: LocalSageMaker, task: Task) -> dict[str, Any]:
    """Return the job that trains for the task now."""
    client = local.client("sagemaker")
    found = client.list_training_jobs(NameContains="afspot", StatusEquals="InProgress", MaxResults=100)
    names = [line["TrainingJobName"] for line in found["TrainingJobSummaries"]]
    jobs = [client.describe_training_job(TrainingJobName=name) for name in names]
    return next(job for job in jobs if task.bucket in job["CheckpointConfig"]["S3Uri"])


@pytest.mark.slow
def test_the_error_names_it_and_the_command_sets_it_aside(
    local: LocalSageMaker, task: Task, ti: TaskInstance, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "train.py").write_text(SCRIPT)
    source: dict[str, Any] = {"entry_point": "train.py", "source_dir": str(tmp_path), "check_interval": 0.2}
    s3 = local.client("s3")

    def tear() -> None:
        """Once the third file is in S3, cut that off there, and take the instance back."""
        key = ""
        while not key:
            time.sleep(0.1)
            items = s3.list_objects_v2(Bucket=task.bucket).get("Contents", ())
            key = next((item["Key"] for item in items if item["Key"].endswith("epoch-003.json")), "")
        # The script writes no more, and what it has written is not uploaded a second time.
        s3.put_object(Bucket=task.bucket, Key=key, Body=b'{"epo')
        # S3 tells when in whole seconds: an object that is not older than that by a second is not suspected.
        time.sleep(2)
        local.interrupt(live_job(local, task)["TrainingJobName"], reclaim="kill")

    interrupter = threading.Thread(target=tear)
    interrupter.start()
    with pytest.raises(ScriptError) as error:
        run_task(task.operator(**source), ti)
    interrupter.join()
    said = str(error.value)
    assert re.search(r"The newest of them may be damaged: s3://\S+/g0001/epoch-003\.json, of ", said), said
    command = re.search(r"airflow-spot (checkpoints set-aside (s3://\S+/g0001)),", said)
    assert command is not None
    arguments = [*command[1].split(), "--endpoint-url", local.endpoint_url, "--region", "us-east-1"]

    assert main([*arguments, "--dry-run"]) == 0
    assert "would go to" in capsys.readouterr().out
    assert main(arguments) == 0
    assert "1 object, 5 B: moved to" in capsys.readouterr().out
    keys = [item["Key"] for item in s3.list_objects_v2(Bucket=task.bucket)["Contents"]]
    (moved,) = [key for key in keys if key.endswith("epoch-003.json")]
    assert "/set-aside/g0001/" in moved

    result = run_task(task.operator(**source), ti.cleared())
    assert result["Training"]["TrainingJobStatus"] == "Completed"
    assert result["Spot"]["generation"] == 1


def test_a_folder_without_one_and_a_bucket_alone(
    local: LocalSageMaker, bucket: str, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--endpoint-url", local.endpoint_url, "--region", "us-east-1"]
    assert main(["checkpoints", "set-aside", f"s3://{bucket}/c", *where]) == 1
    assert capsys.readouterr().out == f"There is no checkpoint in s3://{bucket}/c\n"
    assert main(["checkpoints", "set-aside", f"s3://{bucket}/", *where]) == 2
    assert "name the folder of the checkpoints in the bucket" in capsys.readouterr().err


def test_it_refuses_while_a_live_job_uses_the_folder(
    local: LocalSageMaker, task: Task, ti: TaskInstance, capsys: pytest.CaptureFixture[str]
) -> None:
    run_task(task.operator(steps=500, seconds=0.2, wait_for_completion=False), ti)
    job = live_job(local, task)
    folder = job["CheckpointConfig"]
    local.client("s3").put_object(Bucket=task.bucket, Key=f"{folder['S3Uri'].split('/', 3)[3]}/epoch-9.pt", Body=b"x")
    where = ["--endpoint-url", local.endpoint_url, "--region", "us-east-1"]
    assert main(["checkpoints", "set-aside", folder["S3Uri"], *where]) == 2
    assert f"training job {job['TrainingJobName']} is live and uses" in capsys.readouterr().err
