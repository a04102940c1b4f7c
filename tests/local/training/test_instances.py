"""Instances of a job: several hosts, internal errors and retries, types in order of preference."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.local.jobs import Jobs, counter, statuses


def resources(count: int = 1, instance_type: str = "ml.m5.large") -> dict[str, Any]:
    return {"InstanceType": instance_type, "InstanceCount": count, "VolumeSizeInGB": 1}


def test_hosts_find_each_other_and_restart_together(jobs: Jobs) -> None:
    name = jobs.start(
        """
        import json, os, socket, sys, time
        hosts = json.loads(os.environ["SM_HOSTS"])
        me = os.environ["SM_CURRENT_HOST"]
        path = "/opt/ml/checkpoints/meetings"
        met = int(open(path).read()) if os.path.exists(path) else 0
        port = int(os.environ["SM_HP_PORT"]) + met
        if me == hosts[0]:
            server = socket.create_server((hosts[0], port))
            peer, _ = server.accept()
            print("met", peer.recv(100).decode(), flush=True)
            open(path + ".new", "w").write(str(met + 1))
            os.rename(path + ".new", path)
        else:
            while True:
                try:
                    peer = socket.create_connection((hosts[0], port))
                    break
                except OSError:
                    time.sleep(0.05)
            peer.sendall(me.encode())
        if met == 0:
            time.sleep(3600)
        """,
        ResourceConfig=resources(2),
        HyperParameters={"port": str(21000 + uuid.uuid4().int % 9000)},
    )
    jobs.wait_for_checkpoint(name, key="meetings")
    jobs.sm.interrupt(name)
    job = jobs.end(name)
    assert job["TrainingJobStatus"] == "Completed"
    started = jobs.events("process", job=name, action="started")
    assert sorted((line["start"], line["host"][-1]) for line in started) == [(1, "1"), (1, "2"), (2, "1"), (2, "2")]
    lines = [line for stream in jobs.output(name) for line in stream]
    assert len([line for line in lines if line.startswith("met ")]) == 2
    streams = {line["logStreamName"].rsplit("-", 1)[0] for line in log_streams(jobs, name)}
    assert streams == {f"{name}/algo-1", f"{name}/algo-2"}


def log_streams(jobs: Jobs, name: str) -> list[dict[str, Any]]:
    group = "/aws/sagemaker/TrainingJobs"
    answer = jobs.logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=f"{name}/")
    streams: list[dict[str, Any]] = answer["logStreams"]
    return streams


def test_one_host_that_fails_ends_the_job(jobs: Jobs) -> None:
    job = jobs.run(
        """
        import os, time
        if os.environ["SM_CURRENT_HOST"][-1] == "2":
            raise RuntimeError("mine alone")
        time.sleep(3600)
        """,
        ResourceConfig=resources(2),
    )
    assert "ExitCode 1\n" in job["FailureReason"]
    assert "RuntimeError: mine alone" in job["FailureReason"]


def test_an_internal_error_fails_the_job(jobs: Jobs) -> None:
    name = jobs.start("import time; time.sleep(3600)", spot=False)
    jobs.reach(name, "Training")
    jobs.sm.crash(name)
    job = jobs.end(name)
    assert job["FailureReason"] == "InternalServerError: We encountered an internal error. Please try again."


def test_a_retry_strategy_covers_internal_errors_and_no_others(jobs: Jobs) -> None:
    name = jobs.start(counter(12, hold=6), RetryStrategy={"MaximumRetryAttempts": 1})
    jobs.wait_for_checkpoint(name)
    jobs.sm.crash(name)
    job = jobs.end(name)
    assert statuses(job) == [
        *("Starting", "Downloading", "Training", "Restarting"),
        *("Starting", "Downloading", "Training", "Uploading", "Completed"),
    ]
    assert int(jobs.output(name)[1][0].split()[1]) > 1
    job = jobs.run("import sys; sys.exit(1)", RetryStrategy={"MaximumRetryAttempts": 3})
    assert "Restarting" not in statuses(job)


@pytest.fixture
def without_xlarge(jobs: Jobs) -> Iterator[Jobs]:
    """Whose on-demand market has none of a type, as long as the test runs."""
    jobs.sm.set_market(on_demand_market="ml.m5.xlarge=never")
    yield jobs
    jobs.sm.set_market(on_demand_market="always")


def test_instance_preferences_take_the_first_type_with_capacity(without_xlarge: Jobs) -> None:
    preferences = [{"InstanceType": "ml.m5.xlarge"}, {"InstanceType": "ml.m5.large"}]
    jobs = without_xlarge
    shared = {"InstanceCount": 1, "VolumeSizeInGB": 1, "InstancePreferences": preferences}
    job = jobs.run("pass", spot=False, ResourceConfig=shared)
    assert job["TrainingJobStatus"] == "Completed"
    assert job["ResourceConfig"]["SelectedInstanceType"] == "ml.m5.large"
    assert job["ResourceConfig"]["SelectedInstanceCount"] == 1
    jobs.sm.set_market(on_demand_market="never")
    job = jobs.run("pass", spot=False, ResourceConfig=shared)
    assert job["FailureReason"].startswith("CapacityError: ")
    assert "SelectedInstanceType" not in job["ResourceConfig"]
