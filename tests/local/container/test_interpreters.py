"""Which Python runs: that of an image comes first in the PATH of its jobs, also where they bring their own command."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_spot.local import LocalSageMaker
from tests.local.jobs import ROLE, Jobs, until

TELL = "import sys; print('prefix', sys.prefix)"


@pytest.fixture(scope="module")
def environments(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {name: tmp_path_factory.mktemp("python") / name for name in ("image", "service")}
    for folder in made.values():
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    return made


@pytest.fixture(scope="module")
def two(environments: dict[str, Path]) -> Iterator[Jobs]:
    """A service whose scripts run in one environment, and those of an image in another."""
    images = {"*mine*": str(environments["image"] / "bin" / "python")}
    python = str(environments["service"] / "bin" / "python")
    with LocalSageMaker(images=images, python=python, grace_seconds=0.5) as service:
        yield Jobs(service)


@pytest.mark.parametrize(("image", "expected"), [("mine:1", "image"), ("other:1", "service")])
def test_a_command_of_the_job_finds_the_images_python(
    two: Jobs, environments: dict[str, Path], image: str, expected: str
) -> None:
    entrypoint = ["sh", "-c", f'python3 -c "{TELL}"']
    algorithm = {"TrainingImage": image, "TrainingInputMode": "File", "ContainerEntrypoint": entrypoint}
    done = two.run(AlgorithmSpecification=algorithm, spot=False)
    assert two.output(done["TrainingJobName"]) == [[f"prefix {environments[expected]}"]]


def test_a_script_runs_by_the_images_python(two: Jobs, environments: dict[str, Path]) -> None:
    script = f"import subprocess\n{TELL}\nsubprocess.run(['python3', '-c', {TELL!r}])"
    algorithm = {"TrainingImage": "mine:1", "TrainingInputMode": "File"}
    done = two.run(script, AlgorithmSpecification=algorithm, spot=False)
    assert two.output(done["TrainingJobName"]) == [[f"prefix {environments['image']}"] * 2]


def test_a_processing_job_finds_the_images_python(two: Jobs, environments: dict[str, Path]) -> None:
    two.sagemaker.create_processing_job(
        ProcessingJobName="tell",
        RoleArn=ROLE,
        AppSpecification={"ImageUri": "mine:1", "ContainerEntrypoint": ["python3", "-c", TELL]},
        ProcessingResources={"ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}},
    )

    def ended() -> bool:
        return two.sagemaker.describe_processing_job(ProcessingJobName="tell")["ProcessingJobStatus"] == "Completed"

    until(ended, "the processing job ends")
    group = "/aws/sagemaker/ProcessingJobs"
    (stream,) = two.logs.describe_log_streams(logGroupName=group)["logStreams"]
    lines = two.logs.get_log_events(logGroupName=group, logStreamName=stream["logStreamName"])["events"]
    assert [line["message"] for line in lines] == [f"prefix {environments['image']}"]


def test_the_checkpoint_folder_has_no_variable_where_aws_gives_none(sm: LocalSageMaker, jobs: Jobs) -> None:
    if not sm.namespace:
        pytest.skip("this machine allows no namespaces: the folder is elsewhere, and has to be told")
    done = jobs.run("import os; print('SM_CHECKPOINT_DIR' in os.environ, os.path.isdir('/opt/ml/checkpoints'))")
    assert jobs.output(done["TrainingJobName"]) == [["False True"]]
