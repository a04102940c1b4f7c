"""The pytest plugin as a stranger has it: in a project of its own, from a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from airflow_spot.local import pytest_plugin

#: What a machine may have set that would lead a client to somebody's real account.
ASTRAY = {
    "AWS_PROFILE": "production",
    "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true",
    "AWS_SESSION_TOKEN": "token",
}
HEAD = """
import os
import boto3
import pytest

def create(name, **more):
    request = {
        "TrainingJobName": name,
        "RoleArn": "arn:aws:iam::123456789012:role/any",
        "AlgorithmSpecification": {"TrainingImage": "any", "TrainingInputMode": "File"},
        "OutputDataConfig": {"S3OutputPath": "s3://my-bucket/output"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600, "MaxWaitTimeInSeconds": 7200},
        "EnableManagedSpotTraining": True,
        "HyperParameters": {"password": "secret-hyperparameter"},
        "Environment": {"PASSWORD": "secret-environment"},
    }
    return boto3.client("sagemaker").create_training_job(**{**request, **more})

def reach(name, secondary):
    import time
    for look in range(100):
        job = boto3.client("sagemaker").describe_training_job(TrainingJobName=name)
        if secondary in [transition["Status"] for transition in job["SecondaryStatusTransitions"]]:
            return job
        time.sleep(min(2, 0.05 * 1.5**look))  # a failure shows the last events: looks are not to be all of them
    raise AssertionError(f"{name}: {job}")
"""

#: An interpreter that finds no moto, as where the extra was not installed.
HIDE_MOTO = """
import importlib.machinery
whole = importlib.machinery.PathFinder.find_spec
class Finder(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name == "moto" else whole(name, path, target)
import sys
sys.meta_path[:] = [Finder if finder is importlib.machinery.PathFinder else finder for finder in sys.meta_path]
"""


class Project:
    """Somebody's project, with tests that use the plugin."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers -ra -p no:cacheprovider\n")

    def run(self, tests: str, conftest: str = "", **environ: str) -> str:
        """Run pytest; returns what it printed."""
        (self.folder / "conftest.py").write_text(conftest)
        (self.folder / "test_it.py").write_text(HEAD + tests)
        variables = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PYTEST_"))}
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", str(self.folder)],
            check=False,
            cwd=self.folder,
            env={**variables, **ASTRAY, **environ},
            capture_output=True,
            text=True,
            timeout=120,
        )
        return done.stdout + done.stderr


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_the_package_brings_it() -> None:
    (found,) = entry_points(group="pytest11", name="local_sagemaker")
    assert found.value == pytest_plugin.__name__


def test_loading_it_loads_nothing_else() -> None:
    """Every pytest of the environment does, whatever it tests."""
    code = (
        "import sys, pytest, airflow_spot.local; before = set(sys.modules); import airflow_spot.local.pytest_plugin; "
        "print(*sorted(set(sys.modules) - before))"
    )
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert told.stdout.split() == ["airflow_spot.local.pytest_plugin"]


def test_a_test_gets_a_service_of_its_own(project: Project) -> None:
    printed = project.run(
        """
@pytest.fixture
def bucket(local_sagemaker):
    boto3.client("s3").create_bucket(Bucket="my-bucket")
    return "my-bucket"

@pytest.mark.local_sagemaker(engine="simulated", time_scale=100)
def test_trains(local_sagemaker, bucket):
    create("a")
    job = reach("a", "Completed")
    assert job["TrainingTimeInSeconds"] >= 60
    assert [b["Name"] for b in boto3.client("s3").list_buckets()["Buckets"]] == [bucket]

@pytest.mark.local_sagemaker(engine="simulated", market="never", quotas="ml.m5.large:spot=1")
class TestMarked:
    def test_waits(self, local_sagemaker):
        create("a")
        job = reach("a", "Starting")
        assert job["SecondaryStatus"] == "Starting"
        with pytest.raises(Exception, match="ResourceLimitExceeded"):
            create("b")

    @pytest.mark.local_sagemaker(market="always", faults="DescribeTrainingJob=throttle:count=1")
    def test_the_nearest_mark_counts(self, local_sagemaker):
        boto3.client("s3").create_bucket(Bucket="my-bucket")
        create("a")
        reach("a", "Training")
        local_sagemaker.interrupt("a")
        reach("a", "Interrupted")
        assert [line["fault"] for line in local_sagemaker.audit if line.get("fault")] == ["throttle"]
        with pytest.raises(Exception, match="ResourceLimitExceeded"):
            create("b")

def test_the_environment_is_as_it_was():
    assert os.environ["AWS_PROFILE"] == "production"
    assert os.environ["AWS_ENDPOINT_URL_S3"] == "http://127.0.0.1:9"
    assert not {"AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_CONFIG_FILE"} & set(os.environ)
"""
    )
    assert "4 passed" in printed, printed


@pytest.mark.slow
def test_tests_share_a_service_with_markets_of_their_own(project: Project) -> None:
    printed = project.run(
        """
SEEN = []

@pytest.fixture(scope="module")
def bucket(local_sagemaker_session):
    # Of a wider scope than the test, and a client of the environment all the same.
    boto3.client("s3").create_bucket(Bucket="my-bucket")
    return "my-bucket"

@pytest.mark.local_sagemaker(market="never", faults="DescribeTrainingJob=throttle:count=1")
def test_waits(local_sagemaker_session, bucket):
    SEEN.append(local_sagemaker_session.pid)
    create("a")
    assert reach("a", "Starting")["SecondaryStatus"] == "Starting"
    local_sagemaker_session.set_market(on_demand_market="never")

def test_in_between():
    assert "AWS_ENDPOINT_URL" not in os.environ

def test_trains_without_a_mark(local_sagemaker_session, bucket):
    SEEN.append(local_sagemaker_session.pid)
    reach("a", "Training")
    faults = [line["fault"] for line in local_sagemaker_session.audit if line.get("fault")]
    assert faults == ["throttle"]
    create("on-demand", EnableManagedSpotTraining=False, StoppingCondition={"MaxRuntimeInSeconds": 3600})
    reach("on-demand", "Training")
    assert len(set(SEEN)) == 1
    # As it was started: see conftest.py.
    with pytest.raises(Exception, match="ResourceLimitExceeded"):
        create("none", ResourceConfig={"InstanceType": "ml.p3.2xlarge", "InstanceCount": 1, "VolumeSizeInGB": 1})

@pytest.mark.local_sagemaker(quotas="", market="never")
def test_needs_another_start(local_sagemaker_session):
    raise AssertionError("never gets here")

@pytest.mark.local_sagemaker(market="perhaps")
def test_wrong_market(local_sagemaker_session):
    raise AssertionError("never gets here")

@pytest.mark.local_sagemaker(engine="simulated", time_scale=2)
def test_both(local_sagemaker, local_sagemaker_session):
    assert os.environ["AWS_ENDPOINT_URL"] == local_sagemaker.endpoint_url != local_sagemaker_session.endpoint_url
""",
        """
import pytest

@pytest.fixture(scope="session")
def local_sagemaker_options():
    return {"engine": "simulated", "quotas": "ml.p3.*=0"}
""",
    )
    assert "4 passed, 2 errors" in printed, printed
    assert "local_sagemaker_session runs already: of its mark, market, on_demand_market, faults" in printed
    assert "and not quotas. Use the fixture local_sagemaker" in printed
    assert "local_sagemaker: ValueError: market 'perhaps'" in printed


@pytest.mark.slow
def test_what_is_wrong_with_a_mark_is_said(project: Project) -> None:
    printed = project.run(
        """
@pytest.mark.local_sagemaker(markte="never")
def test_keyword(local_sagemaker): ...

@pytest.mark.local_sagemaker("never")
def test_position(local_sagemaker): ...

@pytest.mark.local_sagemaker(market="perhaps")
def test_value(local_sagemaker): ...

@pytest.mark.local_sagemaker(engine="steam")
def test_choice(local_sagemaker): ...
"""
    )
    assert "4 errors" in printed, printed
    assert re.search(
        r"LocalSageMaker does not know 'markte'; it knows .*\bfaults\b.*\bmarket\b.*\btime_scale\b", printed
    )
    assert "takes keywords only, not ('never',)" in printed
    assert "market 'perhaps': it can be 'always', 'never'" in printed
    assert "engine is 'steam'; it can be 'process' or 'simulated'" in printed
    assert "Traceback" not in printed


@pytest.mark.slow
def test_a_failure_shows_what_the_service_did(project: Project) -> None:
    tests = """
def test_fails(SERVICE):
    boto3.client("s3").create_bucket(Bucket="my-bucket")
    create("a", AlgorithmSpecification={"TrainingImage": "any", "TrainingInputMode": "File",
                                        "ContainerEntrypoint": ["sh", "-c", "echo secret-output; exit 3"]})
    assert reach("a", "Failed")["TrainingJobStatus"] == "Completed"

def test_passes(SERVICE):
    pass
"""
    for fixture in ("local_sagemaker", "local_sagemaker_session"):
        printed = project.run(tests.replace("SERVICE", fixture))
        assert "1 failed, 1 passed" in printed, printed
        section = printed.split("Local SageMaker: the last of")[1]
        assert re.search(r"s  call +operation=CreateTrainingJob region=us-east-1 resource=a", section)
        assert re.search(r"s  state +kind=training job=a .*secondary=Training", section)
        assert "message=AlgorithmError: Exit Code: 3" in section
        assert "secret-" not in section


@pytest.mark.slow
def test_without_the_extra_it_says_what_to_install(project: Project) -> None:
    hidden = project.folder / "hidden"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text(HIDE_MOTO)
    paths = os.pathsep.join(filter(None, (str(hidden), os.environ.get("PYTHONPATH"))))
    printed = project.run("def test_it(local_sagemaker): ...", PYTHONPATH=paths)
    assert "1 error" in printed, printed
    assert "needs moto: pip install 'airflow-spot[local]'" in printed
    assert "Traceback" not in printed
