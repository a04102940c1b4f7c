"""What jobs can have: several hosts, kinds of channels, retries, quotas, preferences, requirements."""

from __future__ import annotations

import gzip
import io
import json
import threading
import uuid
import zipfile
from typing import Any

import pytest

from airflow_spot.local import LocalSageMaker
from airflow_spot.local.market.quotas import Quota, parse_quotas
from tests.local.jobs import BUCKET, COUNTER, Jobs, statuses, until

LISTING = """
    import json, os
    found = {}
    for folder, _, names in os.walk("/opt/ml/input/data"):
        for name in names:
            path = os.path.join(folder, name)
            found[os.path.relpath(path, "/opt/ml/input/data")] = open(path).read()
    os.makedirs("/opt/ml/model", exist_ok=True)
    with open(f"/opt/ml/model/{os.environ['SM_CURRENT_HOST']}.json", "w") as file:
        json.dump(found, file)
"""


def channel(name: str, uri: str, kind: str = "S3Prefix", **more: Any) -> dict[str, Any]:
    source = {"S3DataType": kind, "S3Uri": uri}
    if "Distribution" in more:
        source["S3DataDistributionType"] = more.pop("Distribution")
    return {"ChannelName": name, "DataSource": {"S3DataSource": source}, **more}


def resources(count: int = 1, instance_type: str = "ml.m5.large") -> dict[str, Any]:
    return {"InstanceType": instance_type, "InstanceCount": count, "VolumeSizeInGB": 1}


def data_seen(jobs: Jobs, name: str) -> dict[str, dict[str, str]]:
    return {key.removesuffix(".json"): json.loads(text) for key, text in jobs.model(name).items()}


def test_kinds_of_channels(jobs: Jobs) -> None:
    root = f"channels/{uuid.uuid4().hex}"
    for key, text in {"a/one": "1", "a/sub/two": "2", "b": "b", "list/x": "x", "list/y": "y"}.items():
        jobs.put(f"{root}/{key}", text)
    manifest = jobs.put(f"{root}/m", json.dumps([{"prefix": f"s3://{BUCKET}/{root}/list/"}, "x", "y"]))
    packed = jobs.put(f"{root}/packed/data.csv.gz", gzip.compress(b"1,2"))
    job = jobs.run(
        LISTING,
        InputDataConfig=[
            channel("folder", f"s3://{BUCKET}/{root}/a", InputMode="FastFile"),
            channel("object", f"s3://{BUCKET}/{root}/b"),
            channel("manifest", manifest, "ManifestFile"),
            channel("gzip", packed, CompressionType="Gzip"),
        ],
    )
    assert data_seen(jobs, job["TrainingJobName"]) == {
        "algo-1": {
            "folder/one": "1",
            "folder/sub/two": "2",
            "object/b": "b",
            "manifest/x": "x",
            "manifest/y": "y",
            "gzip/data.csv": "1,2",
        }
    }


@pytest.mark.parametrize(
    ("body", "kind", "more", "reason"),
    [
        ("{}", "ManifestFile", {}, "is not a manifest"),
        ('[{"prefix": "s3://bucket/none/"}, "x"]', "ManifestFile", {}, "Data download failed"),
        ('[{"prefix": "s3://bucket/"}, "../x"]', "ManifestFile", {}, "'../x'"),
        ("plain", "S3Prefix", {"CompressionType": "Gzip"}, "is not gzip"),
        ("x", "AugmentedManifestFile", {}, "AugmentedManifestFile is not implemented"),
    ],
)
def test_channels_that_cannot_be_read(jobs: Jobs, body: str, kind: str, more: dict[str, str], reason: str) -> None:
    uri = jobs.put(f"bad/{uuid.uuid4().hex}/file", body)
    job = jobs.run("pass", InputDataConfig=[channel("bad", uri, kind, **more)])
    assert job["FailureReason"].startswith("ClientError: ")
    assert reason in job["FailureReason"]


def test_sharded_data_and_one_model_of_all_hosts(jobs: Jobs) -> None:
    root = f"shards/{uuid.uuid4().hex}"
    for number in range(5):
        jobs.put(f"{root}/{number}", str(number))
    uri = f"s3://{BUCKET}/{root}"
    job = jobs.run(
        LISTING,
        ResourceConfig=resources(2),
        InputDataConfig=[channel("part", uri, Distribution="ShardedByS3Key"), channel("all", uri)],
    )
    seen = list(data_seen(jobs, job["TrainingJobName"]).values())
    parts = [{key for key in data if key.startswith("part/")} for data in seen]
    assert sorted(map(len, parts)) == [2, 3]
    assert not parts[0] & parts[1]
    assert [len(data) for data in seen] == [len(part) + 5 for part in parts]


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
            for _ in range(200):
                try:
                    peer = socket.create_connection((hosts[0], port))
                    break
                except OSError:
                    time.sleep(0.05)
            peer.sendall(me.encode())
        if met == 0:
            time.sleep(60)
        """,
        ResourceConfig=resources(2),
        HyperParameters={"port": str(21000 + uuid.uuid4().int % 9000)},
    )
    jobs.wait_for_checkpoint(name)
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
        "import os, sys, time; sys.exit(4) if os.environ['SM_CURRENT_HOST'][-1] == '2' else time.sleep(60)",
        ResourceConfig=resources(2),
    )
    assert job["FailureReason"] == "AlgorithmError: Exit Code: 4"


def test_an_internal_error_fails_the_job(jobs: Jobs) -> None:
    name = jobs.start("import time; time.sleep(60)", spot=False)
    jobs.reach(name, "Training")
    jobs.sm.crash(name)
    job = jobs.end(name)
    assert job["FailureReason"] == "InternalServerError: We encountered an internal error. Please try again."


def test_a_retry_strategy_covers_internal_errors_and_no_others(jobs: Jobs) -> None:
    name = jobs.start(COUNTER.replace("STEPS", "30"), RetryStrategy={"MaximumRetryAttempts": 1})
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


def test_quota_specifications() -> None:
    assert parse_quotas("ml.p3.2xlarge:spot=0; ml.g5.*=4;") == (
        Quota("ml.p3.2xlarge", True, 0),
        Quota("ml.g5.*", None, 4),
    )
    assert parse_quotas("") == ()
    for wrong in ("ml.p3.2xlarge", "ml.p3.2xlarge=x", "ml.p3.2xlarge:sport=1", "=1"):
        with pytest.raises(ValueError, match="TYPE=N"):
            parse_quotas(wrong)


@pytest.mark.local_sagemaker(quotas="ml.p3.2xlarge:spot=0;ml.m5.large=2", grace_seconds=1)
def test_quotas_count_what_runs_and_speak_as_aws_does(local_sagemaker: LocalSageMaker) -> None:
    jobs = Jobs(local_sagemaker)
    create = jobs.sagemaker.create_training_job
    with pytest.raises(jobs.sagemaker.exceptions.ResourceLimitExceeded) as raised:
        create(**jobs.request("pass", ResourceConfig=resources(1, "ml.p3.2xlarge")))
    message = raised.value.response["Error"]["Message"]
    assert message.startswith(
        "The account-level service limit 'ml.p3.2xlarge for spot training job usage' is 0 Instances, with current "
        "utilization of 0 Instances and a request delta of 1 Instances."
    )
    assert "ml.p3.2xlarge" in json.dumps(
        jobs.describe(jobs.start("pass", spot=False, ResourceConfig=resources(1, "ml.p3.2xlarge"))), default=str
    )
    # Of many at once, exactly as many as the quota has get through.
    outcomes: list[str] = []

    def attempt() -> None:
        try:
            create(**jobs.request("import time; time.sleep(600)"))
            outcomes.append("created")
        except jobs.sagemaker.exceptions.ResourceLimitExceeded:
            outcomes.append("refused")

    threads = [threading.Thread(target=attempt) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["created"] * 2 + ["refused"] * 4
    assert jobs.end(jobs.start("pass", spot=False))["TrainingJobStatus"] == "Completed"
    running = [
        line["TrainingJobName"]
        for page in jobs.sagemaker.get_paginator("list_training_jobs").paginate(StatusEquals="InProgress")
        for line in page["TrainingJobSummaries"]
    ]
    for name in running:
        jobs.sagemaker.stop_training_job(TrainingJobName=name)
        jobs.end(name)
    assert jobs.run("pass")["TrainingJobStatus"] == "Completed"


@pytest.mark.local_sagemaker(on_demand_market="ml.m5.xlarge=never", pending_timeout_seconds=0.5)
def test_instance_preferences_take_the_first_type_with_capacity(local_sagemaker: LocalSageMaker) -> None:
    preferences = [{"InstanceType": "ml.m5.xlarge"}, {"InstanceType": "ml.m5.large"}]
    jobs = Jobs(local_sagemaker)
    shared = {"InstanceCount": 1, "VolumeSizeInGB": 1, "InstancePreferences": preferences}
    job = jobs.run("pass", spot=False, ResourceConfig=shared)
    assert job["TrainingJobStatus"] == "Completed"
    assert job["ResourceConfig"]["SelectedInstanceType"] == "ml.m5.large"
    assert job["ResourceConfig"]["SelectedInstanceCount"] == 1
    local_sagemaker.set_market(on_demand_market="never")
    job = jobs.run("pass", spot=False, ResourceConfig=shared)
    assert job["FailureReason"].startswith("CapacityError: ")
    assert "SelectedInstanceType" not in job["ResourceConfig"]


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
    assert reason.startswith("AlgorithmError: InstallRequirementsError: ")
    assert "nothing-1-py3-none-any.whl" in reason


def test_delete_frees_the_name(jobs: Jobs) -> None:
    name = jobs.start("import time; time.sleep(60)")
    jobs.reach(name, "Training")
    with pytest.raises(jobs.sagemaker.exceptions.ResourceInUse):
        jobs.sagemaker.delete_training_job(TrainingJobName=name)
    jobs.sagemaker.stop_training_job(TrainingJobName=name)
    jobs.end(name)
    jobs.sagemaker.delete_training_job(TrainingJobName=name)
    with pytest.raises(jobs.sagemaker.exceptions.ClientError, match="not found"):
        jobs.describe(name)
    assert jobs.run("pass", TrainingJobName=name)["TrainingJobStatus"] == "Completed"
    assert until(lambda: jobs.events("state", job=name, secondary="Stopped"), "the log keeps the first")
