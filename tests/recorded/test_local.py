"""Local SageMaker says what the real service was recorded to say. Each test names its case of ``cases.json``."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from airflow_spot.core.outcomes import exit_code
from airflow_spot.core.quotas import read_limit
from airflow_spot.local import LocalSageMaker
from airflow_spot.local.training.job import TrainingJob
from tests.local.jobs import BUCKET, Jobs, statuses, until
from tests.recorded.test_cases import CASES, by_id, description

SCALE = 240
ABSENT_TYPE = "ml.t3.medium"
KMEANS = "382416733822.dkr.ecr.us-east-1.amazonaws.com/kmeans:1"


class QuickJobs(Jobs):
    """Whose jobs are ended by a limit only if they say so: the usual one is over in seconds here."""

    def request(self, script: str | None = None, *, spot: bool = True, **overrides: Any) -> dict[str, Any]:
        limits = {"MaxRuntimeInSeconds": 1_000_000, **({"MaxWaitTimeInSeconds": 1_000_000} if spot else {})}
        return super().request(script, spot=spot, **{"StoppingCondition": limits, **overrides})


@pytest.fixture
def real(local: LocalSageMaker, bucket: str) -> Iterator[Jobs]:
    """Jobs that are processes."""
    yield Jobs(local)
    local.set_faults("")


@pytest.fixture(scope="module")
def service() -> Iterator[LocalSageMaker]:
    """Four minutes take a second, but for the rate of ListTrainingJobs, which is of this machine's seconds."""
    settings: dict[str, Any] = {"quotas": f"{ABSENT_TYPE}=unavailable", "list_rate": 2 / SCALE}
    with LocalSageMaker(engine="simulated", time_scale=SCALE, **settings) as started:
        yield started


@pytest.fixture
def quick(service: LocalSageMaker) -> Iterator[Jobs]:
    """Jobs of the simulated engine."""
    yield QuickJobs(service)
    service.set_faults("")
    service.set_market("always", on_demand_market="always")


def train(seconds: float) -> dict[str, str]:
    return {"simulated_seconds": str(seconds)}


def messages(job: dict[str, Any]) -> list[tuple[str, str]]:
    return [(item["Status"], item["StatusMessage"]) for item in job["SecondaryStatusTransitions"]]


def test_ld01_a_script_fails_in_the_words_of_awss_framework_containers(real: Jobs) -> None:
    secret = {"token": json.dumps("s3cr3t-value")}
    scripts = {
        "code": "import sys; print('all is well'); sys.exit(42)",
        "error": "raise ValueError('no such column')",
        "long": "raise ValueError('x' * 5000)",
        "signal": "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)",
        "own text": "import sys; open('/opt/ml/output/failure', 'w').write('mine'); sys.exit(3)  # environ",
    }
    names = {what: real.start(script, HyperParameters=secret) for what, script in scripts.items()}
    reasons = {what: real.end(name)["FailureReason"] for what, name in names.items()}
    form = re.escape(by_id("LD01")["expected"]).replace(re.escape('"..."'), '"[^"]*"')
    assert re.fullmatch(form, reasons["code"])
    assert exit_code(reasons["code"]) == 42
    assert reasons["code"].endswith('train.py --token s3cr3t-value", exit code: 1')
    assert "ErrorMessage \"raise ValueError('no such column')\n ValueError: no such column\"" in reasons["error"]
    # Cut at its end, so that the toolkit's constant is gone, and not the script's code.
    assert len(reasons["long"]) == 1024
    assert (exit_code(reasons["long"]), reasons["long"][-1]) == (1, "x")
    assert exit_code(reasons["signal"]) == -11
    assert (exit_code(reasons["own text"]), "mine" in reasons["own text"]) == (3, False)
    # SageMaker tells the arguments, which nothing else does.
    assert "s3cr3t" not in "".join(json.dumps(line) for line in real.sm.audit)


def test_ld01_a_container_of_ones_own_speaks_as_before(real: Jobs) -> None:
    command = ["sh", "-c", "exit 42"]
    algorithm = {"TrainingImage": "image:1", "TrainingInputMode": "File", "ContainerEntrypoint": command}
    assert real.run(AlgorithmSpecification=algorithm)["FailureReason"] == "AlgorithmError: Exit Code: 42"


def trained_until(quick: Jobs, seconds: int) -> dict[str, Any] | None:
    """A job whose time is over after so many seconds of this machine; None where it did not come to train."""
    limits = {"MaxRuntimeInSeconds": seconds * SCALE, "MaxWaitTimeInSeconds": seconds * SCALE}
    job = quick.run(HyperParameters=train(1_000_000), StoppingCondition=limits)
    return job if "Training" in statuses(job) else None


def test_ld03_uploading_comes_before_max_wait_exceeded_and_before_failed(quick: Jobs) -> None:
    # On a busy machine a second may be over before it trains.
    job = trained_until(quick, 1) or trained_until(quick, 20)
    assert job is not None
    assert statuses(job) == by_id("LD03")["expected"]
    failed = quick.run(HyperParameters={**train(1), "simulated_exit_code": "1"})
    assert statuses(failed) == ["Starting", "Downloading", "Training", "Uploading", "Failed"]
    # One that never had instances has nothing to upload.
    quick.sm.set_market("never")
    limits = {"MaxRuntimeInSeconds": 1, "MaxWaitTimeInSeconds": 1}
    assert statuses(quick.run(StoppingCondition=limits)) == ["Starting", "Stopping", "MaxWaitTimeExceeded"]


def test_ld05_and_ld06_training_time_is_there_while_it_trains_and_the_model_is_not(quick: Jobs) -> None:
    name = quick.start(HyperParameters=train(100_000))
    job = quick.reach(name, "Training")
    assert ("TrainingTimeInSeconds" in job, "ModelArtifacts" in job) == (True, False)
    assert "BillableTimeInSeconds" not in job
    quick.sagemaker.stop_training_job(TrainingJobName=name)
    assert quick.end(name)["ModelArtifacts"]["S3ModelArtifacts"]
    done = quick.run(HyperParameters=train(1))
    assert statuses(done) == ["Starting", "Downloading", "Training", "Uploading", "Completed"]


def test_ld05_training_time_leaves_out_stopping() -> None:
    recorded = description(by_id("D07")["input"])
    steps = recorded["SecondaryStatusTransitions"]
    limits = {"MaxRuntimeInSeconds": 100_000, "MaxWaitTimeInSeconds": 100_000}
    request = {**recorded, "StoppingCondition": limits, "OutputDataConfig": {"S3OutputPath": "s3://bucket/out"}}
    job = TrainingJob("us-east-1", "job", request, steps[0]["StartTime"].timestamp())
    for step in steps[:-1]:
        now = step["StartTime"].timestamp()
        if step["Status"] == "Downloading":
            job.begin_instances(now)
        job.enter(step["Status"], now)
    end = steps[-1]["StartTime"].timestamp()
    job.finish("Stopped", steps[-1]["Status"], end)
    assert job.describe(end)["TrainingTimeInSeconds"] == recorded["TrainingTimeInSeconds"]


def test_ld08_last_modified_time_is_later_than_the_end(quick: Jobs) -> None:
    name = quick.start(HyperParameters=train(1))
    quick.end(name)
    low, high = map(float, re.findall(r"[\d.]+", by_id("LD08")["expected"]))

    def late() -> bool:
        job = quick.describe(name)
        seconds: float = (job["LastModifiedTime"] - job["TrainingEndTime"]).total_seconds()
        assert seconds <= high
        return seconds >= low

    until(late, "LastModifiedTime moves on")


def test_ld10_a_type_that_the_region_has_not_is_a_limit(quick: Jobs) -> None:
    resources = {"InstanceType": ABSENT_TYPE, "InstanceCount": 1, "VolumeSizeInGB": 1}
    code, _, message = by_id("LD10")["expected"].partition(": ")
    for spot in (True, False):
        with pytest.raises(ClientError) as raised:
            quick.start(spot=spot, ResourceConfig=resources)
        error = raised.value.response["Error"]
        assert (error["Code"], error["Message"]) == (code, message)
    limit = read_limit(message)
    assert limit is not None and limit.too_small


def test_ld11_a_max_wait_without_spot_is_refused_in_awss_words(local: LocalSageMaker, bucket: str) -> None:
    jobs = Jobs(local)
    stopping = {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 60}
    with pytest.raises(ClientError, match=by_id("LD11")["expected"]):
        jobs.start("pass", EnableManagedSpotTraining=False, StoppingCondition=stopping)


def test_ld12_an_algorithm_without_checkpoints_may_wait_for_an_hour(quick: Jobs) -> None:
    def start(image: str, wait: int, **more: Any) -> str:
        algorithm = {"TrainingImage": image, "TrainingInputMode": "File"}
        limits = {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": wait}
        return quick.start(AlgorithmSpecification=algorithm, StoppingCondition=limits, HyperParameters=train(1), **more)

    with pytest.raises(ClientError, match=r"ValidationException.*Invalid MaxWaitTimeInSeconds 7200\..*kmeans"):
        start(KMEANS, 7200)
    start(KMEANS, 3600)
    start("123456789012.dkr.ecr.us-east-1.amazonaws.com/kmeans:1", 7200)
    start(KMEANS.replace("kmeans:1", "sagemaker-xgboost:1.7-1"), 7200)


def test_ld13_marker_files_appear_beside_checkpoints_and_are_neither_stored_nor_restored(real: Jobs) -> None:
    script = """
        import os, time
        folder = os.environ.get("SM_CHECKPOINT_DIR", "/opt/ml/checkpoints")
        print("begins", sorted(os.listdir(folder)))
        if os.listdir(folder):
            raise SystemExit
        open(folder + "/half.sagemaker-ignore", "w").write("x")
        open(folder + "/model-1", "w").write("x")
        def wait(marker):
            while [each for each in os.listdir(folder) if each.startswith("model-1.")] != ["model-1." + marker]:
                time.sleep(0.01)
            print(sorted(os.listdir(folder)))
        wait("sagemaker-uploading")
        wait("sagemaker-uploaded")
        time.sleep(600)
    """
    during, after = by_id("LD13")["expected"].removesuffix(" appear").replace("<file>", "model-1").split(", ")
    beside = ["half.sagemaker-ignore", "model-1"]
    # An upload that takes until the script has seen it.
    real.sm.set_faults("s3:PutObject=error:key=checkpoints/*")
    name = real.start(script)
    real.wait_for_line(name, str([*beside, during]))
    real.sm.set_faults("")
    real.wait_for_line(name, str([*beside, after]))
    real.sm.interrupt(name)
    assert real.end(name)["TrainingJobStatus"] == "Completed"
    first, second = real.output(name)
    assert first == ["begins []", str([*beside, during]), str([*beside, after])]
    assert second == ["begins ['model-1']"]
    assert real.keys(f"checkpoints/{name}/") == [f"checkpoints/{name}/model-1"]


def test_ld14_the_message_of_one_transition_changes_while_a_job_waits(quick: Jobs) -> None:
    quick.sm.set_market("never")
    name = quick.start(HyperParameters=train(1))
    waiting = ("Starting", by_id("D12")["input"]["SecondaryStatusTransitions"][0]["StatusMessage"])
    until(lambda: messages(quick.describe(name)) == [waiting], "it waits")
    begun = quick.describe(name)["SecondaryStatusTransitions"][0]["StartTime"]
    quick.sm.set_market("always")
    first = quick.end(name)["SecondaryStatusTransitions"][0]
    # As D07, which had waited for 84 minutes.
    assert first["StatusMessage"] == by_id("D07")["input"]["SecondaryStatusTransitions"][0]["StatusMessage"]
    assert first["StartTime"] == begun


def test_d13_on_demand_is_pending_without_end_and_without_an_error(quick: Jobs) -> None:
    quick.sm.set_market(on_demand_market="never")
    name = quick.start(spot=False, HyperParameters=train(1))
    job = quick.reach(name, "Pending")
    assert messages(job) == messages(by_id("D13")["input"])
    time.sleep(0.5)  # two minutes
    assert quick.describe(name)["SecondaryStatus"] == "Pending"
    quick.sm.set_market(on_demand_market="always")
    assert messages(quick.end(name))[1:3] == [
        ("Pending", "Training job waiting for capacity"),
        ("Pending", "Preparing the instances for training"),
    ]


def test_ld15_checkpoints_that_are_too_large_fail_each_start_before_its_log(real: Jobs) -> None:
    real.put("large/model", b"x" * 1_100_000)
    real.sm.set_faults("job:*=restore-failed:megabytes=1")
    for _ in range(2):
        job = real.run("print('begins')", CheckpointConfig={"S3Uri": f"s3://{BUCKET}/large"})
        assert job["FailureReason"] == by_id("D17")["input"]["FailureReason"]
        assert statuses(job) == statuses(by_id("D17")["input"])
        assert real.output(job["TrainingJobName"]) == []
    real.put("small/model", b"x" * 900_000)
    assert real.run("pass", CheckpointConfig={"S3Uri": f"s3://{BUCKET}/small"})["TrainingJobStatus"] == "Completed"


def test_ld16_a_job_without_memory_left_is_a_client_error(real: Jobs) -> None:
    real.sm.set_faults("job:*=out-of-memory:seconds=0.2,type=ml.m5.large")
    script = "import sys, time; time.sleep(600 if sys.argv[1:] else 0)"
    job = real.run(script, HyperParameters={"wait": "1"})
    assert (job["TrainingJobStatus"], job["FailureReason"]) == ("Failed", by_id("LD16")["expected"])
    larger = {"InstanceType": "ml.m5.4xlarge", "InstanceCount": 1, "VolumeSizeInGB": 1}
    assert real.run(script, ResourceConfig=larger)["TrainingJobStatus"] == "Completed"


def test_max_wait_is_enforced_two_minutes_late_where_the_plan_says_so(quick: Jobs) -> None:
    quick.sm.set_faults("job:*=max-wait-late")
    quick.sm.set_market("never")
    job = quick.run(StoppingCondition={"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 60})
    assert job["SecondaryStatus"] == "MaxWaitTimeExceeded"
    waited = job["SecondaryStatusTransitions"][-1]["StartTime"] - job["CreationTime"]
    assert waited >= timedelta(seconds=60 + 120)


def test_ld17_more_than_two_lists_a_second_are_refused(service: LocalSageMaker) -> None:
    # A client of its own, which does not try again; a region of its own, whose calls nobody else counts.
    client = boto3.client(
        "sagemaker",
        endpoint_url=service.endpoint_url,
        region_name="eu-west-1",
        aws_access_key_id="x",
        aws_secret_access_key="x",
        config=Config(retries={"total_max_attempts": 1}),
    )
    codes = []
    begun = time.monotonic()
    while not (codes.count("") >= 2 and any(codes)):
        assert time.monotonic() < begun + 120, codes
        try:
            client.list_training_jobs()
            codes.append("")
        except ClientError as error:
            codes.append(f"{error.response['Error']['Code']}: {error.response['Error']['Message']}")
            time.sleep(0.01)
    answered = codes.count("")
    assert answered <= 2 * (time.monotonic() - begun) + 2
    assert set(codes) == {"", by_id("LD17")["expected"].partition(" (")[0]}


def test_r11_a_channel_without_objects_is_refused(real: Jobs) -> None:
    for uri in (f"s3://{BUCKET}/nothing/here", "s3://no-such-bucket/here"):
        source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": uri}}
        with pytest.raises(ClientError) as raised:
            real.start("pass", InputDataConfig=[{"ChannelName": "train", "DataSource": source}])
        error = raised.value.response["Error"]
        recorded = by_id("R11")["input"]
        assert error["Code"] == recorded["code"]
        assert _words(error["Message"]) == _words(recorded["message"])


def _words(message: str) -> str:
    """The text without what is particular to a request."""
    return re.sub(r'"s3://[^"]*"|"arn:[^"]*"|bucket "[^"]*"|region \([^)]*\)', "...", message)


def test_every_difference_is_tested() -> None:
    known = {case["id"] for case in CASES if case["kind"] == "local_difference"}
    tested = {
        f"LD{number}" for name in globals() for number in re.findall(r"ld(\d\d)", name) if name.startswith("test_")
    }
    assert tested == known
