"""What is in a checkpoint folder and cannot be a checkpoint; and stops that find results they cannot save."""

from __future__ import annotations

import shutil
from typing import Any

import pytest

from airflow_spot.local import LocalSageMaker
from tests.local.jobs import BUCKET, Jobs, until

AT_A_STOP = "trap '{make}; exit 0' TERM; echo 1 > /opt/ml/checkpoints/good; echo ready; sleep 99 & wait"


def shell(script: str) -> dict[str, Any]:
    return {"TrainingInputMode": "File", "TrainingImage": "image:1", "ContainerEntrypoint": ["sh", "-c", script]}


def start_ready(jobs: Jobs, script: str, **overrides: Any) -> str:
    name = jobs.start(AlgorithmSpecification=shell(script), **overrides)
    jobs.reach(name, "Training")
    until(lambda: jobs.output(name) == [["ready"]], "the script runs")
    return name


@pytest.mark.parametrize("make", ["ln -s l /opt/ml/checkpoints/l", "mkfifo /opt/ml/checkpoints/l"])
def test_a_stopped_job_ends_whatever_is_among_its_checkpoints(jobs: Jobs, make: str) -> None:
    name = start_ready(jobs, AT_A_STOP.format(make=make))
    jobs.sagemaker.stop_training_job(TrainingJobName=name)
    assert jobs.end(name)["TrainingJobStatus"] == "Stopped"
    assert jobs.keys(f"checkpoints/{name}/") == [f"checkpoints/{name}/good"]
    (lines,) = jobs.output(name)
    assert len([line for line in lines if "'l' is not uploaded" in line]) == 1


def test_what_cannot_be_uploaded_is_said_once_and_spares_the_other_files_and_what_s3_has(jobs: Jobs) -> None:
    script = r"""
        import os, socket, time
        os.chdir("/opt/ml/checkpoints")
        os.symlink("loop", "loop")
        os.symlink("/nowhere", "dangling")
        os.mkfifo("fifo")
        os.mkdir("folder")
        socket.socket(socket.AF_UNIX).bind("folder/socket")
        open(b"latin-\xe9", "w").close()
        for name in ("kept", "good"):
            open(name, "w").write(name)
        os.symlink("good", "link")
        while not os.path.exists("/opt/ml/input/go"):
            time.sleep(0.05)
        os.remove("kept")
        os.mkfifo("kept")
    """
    name = jobs.start(script)
    until(lambda: jobs.events("checkpoint", job=name, action="upload", key="kept") or None, "kept is uploaded")
    (jobs.sm.dir / "jobs" / "us-east-1" / name / "algo-1" / "ml" / "input" / "go").touch()
    job = jobs.end(name)
    assert (job["TrainingJobStatus"], job.get("FailureReason")) == ("Completed", None)
    assert jobs.keys(f"checkpoints/{name}/") == [f"checkpoints/{name}/{key}" for key in ("good", "kept", "link")]
    assert jobs.get(f"s3://{BUCKET}/checkpoints/{name}/kept") == b"kept"
    (lines,) = jobs.output(name)
    warned = sorted(line.split()[1] for line in lines if "is not uploaded" in line)
    assert warned == ["'dangling'", "'fifo'", "'folder/socket'", "'kept'", "'latin-\\udce9'", "'loop'"]


def test_a_job_whose_results_cannot_be_packed_is_stopped_all_the_same(sm: LocalSageMaker, jobs: Jobs) -> None:
    name = start_ready(jobs, "trap 'exit 0' TERM; echo ready; sleep 99 & wait", spot=False)
    shutil.rmtree(sm.dir / "jobs" / "us-east-1" / name)
    jobs.sagemaker.stop_training_job(TrainingJobName=name)
    job = jobs.end(name)
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "Stopped")
    jobs.sagemaker.delete_training_job(TrainingJobName=name)
