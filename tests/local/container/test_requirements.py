"""Installing a requirements.txt: it heeds stops, limits and the service's end, and leaves no process."""

from __future__ import annotations

import io
import time
import uuid
import zipfile
from typing import Any

import pytest

from airflow_spot.local import LocalSageMaker
from tests.local.jobs import Jobs, statuses, until
from tests.local.test_service import job_processes


def slow_installation(jobs: Jobs) -> tuple[str, dict[str, Any]]:
    """
    Hyperparameters of a job whose requirements are built for longer than any test waits, and what its processes can be
    known by: where the job or the processes end, they have been ended.
    """
    marker = f"slow-{uuid.uuid4().hex}"
    code = jobs.code(
        {
            "train.py": "pass",
            "requirements.txt": "./package\n",
            "package/pyproject.toml": """
                [build-system]
                requires = []
                build-backend = "backend"
                backend-path = ["."]
            """,
            "package/backend.py": f"import subprocess; subprocess.run(['sh', '-c', 'sleep 1730; : {marker}'])",
        }
    )
    return marker, {"sagemaker_program": "train.py", "sagemaker_submit_directory": code}


def start_installing(jobs: Jobs) -> tuple[str, str, dict[str, Any]]:
    marker, parameters = slow_installation(jobs)
    name = jobs.start(HyperParameters=parameters)
    until(lambda: job_processes(marker) != [], "the package is built")
    return name, marker, parameters


def test_a_job_that_installs_or_waits_for_another_that_does_heeds_stops_and_limits(jobs: Jobs) -> None:
    name, marker, parameters = start_installing(jobs)
    limited = jobs.start(HyperParameters=parameters, spot=False, StoppingCondition={"MaxRuntimeInSeconds": 1})
    assert statuses(jobs.end(limited))[-1] == "MaxRuntimeExceeded"
    assert job_processes(marker) != []
    jobs.sagemaker.stop_training_job(TrainingJobName=name)
    assert jobs.end(name)["TrainingJobStatus"] == "Stopped"
    assert job_processes(marker) == []
    assert jobs.events("process", job=name) == jobs.events("process", job=limited) == []


@pytest.mark.slow
def test_a_limit_ends_an_installation(jobs: Jobs) -> None:
    marker, parameters = slow_installation(jobs)
    began = time.monotonic()
    job = jobs.run(HyperParameters=parameters, spot=False, StoppingCondition={"MaxRuntimeInSeconds": 2})
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")
    assert 2 <= job["TrainingTimeInSeconds"] <= time.monotonic() - began + 1  # whole seconds
    assert job_processes(marker) == []


@pytest.mark.slow
@pytest.mark.parametrize("end", ["stop", "kill"])
def test_an_installation_ends_with_the_service(end: str) -> None:
    with LocalSageMaker() as service:
        _, marker, _ = start_installing(Jobs(service))
        getattr(service, end)()
        until(lambda: job_processes(marker) == [], "all processes of the installation end")


def wheel(value: str) -> bytes:
    """A package ``tiny`` that knows a value, as a wheel."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("tiny.py", f"VALUE = {value!r}\n")
        file.writestr("tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        file.writestr("tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr("tiny-1.0.dist-info/RECORD", "tiny.py,,\n")
    return buffer.getvalue()


@pytest.mark.slow
def test_requirements_go_into_an_environment_of_their_own(jobs: Jobs, tmp_path: Any) -> None:
    # The script also sees what the interpreter that the service runs has, as it would see its image's packages.
    script = "import boto3, sys, tiny; print(tiny.VALUE, sys.prefix)"
    prefixes = []
    for value in ("one", "one", "two"):
        path = tmp_path / value / "tiny-1.0-py3-none-any.whl"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(wheel(value))
        request = jobs.request()
        request["HyperParameters"] = {
            "sagemaker_program": "train.py",
            "sagemaker_submit_directory": jobs.code({"train.py": script, "requirements.txt": f"tiny @ file://{path}"}),
        }
        jobs.sagemaker.create_training_job(**request)
        job = jobs.end(request["TrainingJobName"])
        assert job.get("FailureReason") is None
        seen, prefix = jobs.output(request["TrainingJobName"])[0][0].split()
        assert seen == value
        prefixes.append(prefix)
    assert prefixes[0] == prefixes[1] != prefixes[2]
    with pytest.raises(ImportError):
        __import__("tiny")


def test_requirements_that_cannot_be_installed(jobs: Jobs) -> None:
    request = jobs.request()
    code = jobs.code({"train.py": "pass", "requirements.txt": "nothing @ file:///no/such/nothing-1-py3-none-any.whl"})
    request["HyperParameters"] = {"sagemaker_program": "train.py", "sagemaker_submit_directory": code}
    jobs.sagemaker.create_training_job(**request)
    reason = jobs.end(request["TrainingJobName"])["FailureReason"]
    assert reason.startswith("AlgorithmError: InstallRequirementsError:\nExitCode 1\nErrorMessage ")
    assert "nothing-1-py3-none-any.whl" in reason
