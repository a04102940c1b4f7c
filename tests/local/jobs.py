"""What the tests of Local SageMaker share: small jobs, and waiting for them with a deadline."""

from __future__ import annotations

import io
import json
import tarfile
import textwrap
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from airflow_spot.local import LocalSageMaker
from airflow_spot.local.api.validation import problems

T = TypeVar("T")

BUCKET = "bucket"
ROLE = "arn:aws:iam::123456789012:role/trainer"
DEADLINE_SECONDS = 120.0
"""For what comes in a second or two: a machine with much else to do must not fail a test."""

GRACE_SECONDS = 60.0
"""Of the service that most tests share: a script that listens to SIGTERM ends at once, also on a busy machine."""

SHORT_GRACE_SECONDS = 1.0
"""Of the service for scripts that do not listen."""

ABSENT = {
    f"Value null at '{name}' failed to satisfy constraint: Member must not be null"
    for name in ("modelArtifacts", "modelPackageName")
}
"""The model requires them of a description. The service gives a job's ModelArtifacts once it has ended, recorded; a
versioned package has no name of its own, assumed."""

_COUNTER = """
    import os, time
    folder = "/opt/ml/checkpoints"
    path = os.path.join(folder, "count")
    begun = count = int(open(path).read()) if os.path.exists(path) else 0
    print(f"first {count + 1}")  # in one write, which no signal cuts in two
    while count < STEPS:
        time.sleep(0.05)
        count += 1
        with open(folder + "/new.sagemaker-ignore", "w") as file:
            file.write(str(count))
        os.replace(folder + "/new.sagemaker-ignore", path)
        print(f"step {count}")
        while begun == 0 and count == HOLD:
            time.sleep(3600)
    with open("/opt/ml/model/count", "w") as file:
        file.write(str(count))
"""


def counter(steps: int | str, hold: int = 0) -> str:
    """Return a script that counts, 20 a second, with a checkpoint after each; it resumes.

    :param hold: where a start without a checkpoint waits for whoever ends it: it holds instances until then.
    """
    return _COUNTER.replace("STEPS", str(steps)).replace("HOLD", str(hold))


COUNTER = counter("STEPS")
"""Counts to STEPS, which is to be replaced, and waits nowhere."""


def until(probe: Callable[[], T | None], what: str, seconds: float = DEADLINE_SECONDS) -> T:
    """Ask until there is an answer that is not None or False; the less often, the longer it takes."""
    begun = time.monotonic()
    while (waited := time.monotonic() - begun) < seconds:
        answer = probe()
        if answer is not None and answer is not False:
            return answer
        time.sleep(min(max(0.02, waited / 10), 0.25))
    raise AssertionError(f"not within {seconds} seconds: {what}")


class Jobs:
    """Creates training jobs from small scripts and reads what became of them."""

    def __init__(self, sm: LocalSageMaker) -> None:
        self.sm = sm
        self.sagemaker = checked(sm.client("sagemaker"))
        self.s3 = sm.client("s3")
        self.logs = sm.client("logs")
        if BUCKET not in [bucket["Name"] for bucket in self.s3.list_buckets()["Buckets"]]:
            self.s3.create_bucket(Bucket=BUCKET)

    def put(self, key: str, body: str | bytes) -> str:
        self.s3.put_object(Bucket=BUCKET, Key=key, Body=body)
        return f"s3://{BUCKET}/{key}"

    def get(self, uri: str) -> bytes:
        body: bytes = self.s3.get_object(Bucket=BUCKET, Key=uri.removeprefix(f"s3://{BUCKET}/"))["Body"].read()
        return body

    def keys(self, prefix: str) -> list[str]:
        found = self.s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])
        return sorted(item["Key"] for item in found)

    def code(self, files: dict[str, str]) -> str:
        """Upload a sourcedir.tar.gz."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
            for name, text in files.items():
                data = textwrap.dedent(text).encode()
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
        return self.put(f"code/{uuid.uuid4().hex}/sourcedir.tar.gz", buffer.getvalue())

    def request(self, script: str | None = None, *, spot: bool = True, **overrides: Any) -> dict[str, Any]:
        """A request for a job with a name of its own; spot unless said otherwise."""
        name = f"job-{uuid.uuid4().hex[:10]}"
        request: dict[str, Any] = {
            "TrainingJobName": name,
            "RoleArn": ROLE,
            "AlgorithmSpecification": {"TrainingImage": "image:1", "TrainingInputMode": "File"},
            "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/out"},
            "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
            "StoppingCondition": {"MaxRuntimeInSeconds": 600},
        }
        if spot:
            request["EnableManagedSpotTraining"] = True
            request["StoppingCondition"]["MaxWaitTimeInSeconds"] = 1200
            request["CheckpointConfig"] = {"S3Uri": f"s3://{BUCKET}/checkpoints/{name}"}
        if script is not None:
            request["HyperParameters"] = {
                "sagemaker_program": json.dumps("train.py"),
                "sagemaker_submit_directory": json.dumps(self.code({"train.py": script})),
                **overrides.pop("HyperParameters", {}),
            }
        request.update(overrides)
        return request

    def start(self, script: str | None = None, **overrides: Any) -> str:
        request = self.request(script, **overrides)
        self.sagemaker.create_training_job(**request)
        return str(request["TrainingJobName"])

    def run(self, script: str | None = None, **overrides: Any) -> dict[str, Any]:
        """Start a job and return its description once it has ended."""
        return self.end(self.start(script, **overrides))

    def describe(self, name: str) -> dict[str, Any]:
        answer: dict[str, Any] = self.sagemaker.describe_training_job(TrainingJobName=name)
        return answer

    def end(self, name: str) -> dict[str, Any]:
        def ended() -> dict[str, Any] | None:
            job = self.describe(name)
            return job if job["TrainingJobStatus"] in ("Completed", "Failed", "Stopped") else None

        return until(ended, f"{name} ends")

    def reach(self, name: str, secondary: str) -> dict[str, Any]:
        """Wait for a secondary status that is, or was."""

        def reached() -> dict[str, Any] | None:
            job = self.describe(name)
            return job if secondary in statuses(job) else None

        return until(reached, f"{name} reaches {secondary}")

    def wait_for_checkpoint(self, name: str, **which: Any) -> None:
        """Wait for an upload.

        :param which: of the audit log's line, as its key.
        """
        until(lambda: self.events("checkpoint", job=name, action="upload", **which) or None, f"{name} uploads {which}")

    def wait_for_line(self, name: str, line: str) -> None:
        """Wait until a job has printed this."""
        self.reach(name, "Training")
        until(lambda: any(line in lines for lines in self.output(name)), f"{name} prints {line!r}")

    def release(self, name: str) -> None:
        """Make ``/opt/ml/input/go``, which the job's first host may wait for."""
        (self.sm.dir / "jobs" / "us-east-1" / name / "algo-1" / "ml" / "input" / "go").touch()

    def output(self, name: str) -> list[list[str]]:
        """Lines of each log stream of a job, oldest stream first."""
        group = "/aws/sagemaker/TrainingJobs"
        streams = self.logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=f"{name}/")["logStreams"]
        result = []
        for stream in sorted(streams, key=lambda item: item["logStreamName"].rsplit("-", 1)[1]):
            events = self.logs.get_log_events(
                logGroupName=group, logStreamName=stream["logStreamName"], startFromHead=True
            )["events"]
            result.append([event["message"] for event in events])
        return result

    def model(self, name: str) -> dict[str, bytes]:
        """The files of a job's model.tar.gz."""
        return files_of(self.get(self.describe(name)["ModelArtifacts"]["S3ModelArtifacts"]))

    def events(self, event: str, **fields: Any) -> list[dict[str, Any]]:
        """Lines of the audit log."""
        return [
            line
            for line in self.sm.audit
            if line["event"] == event and all(line.get(key) == value for key, value in fields.items())
        ]


def checked(client: Any) -> Any:
    """A client that fails on an answer that is not of the shape that botocore's model gives it."""

    def check(operation_model: Any, response_dict: dict[str, Any], **_: Any) -> None:
        if response_dict["status_code"] == 200 and operation_model.output_shape is not None:
            wrong = set(problems(operation_model.output_shape, json.loads(response_dict["body"]))) - ABSENT
            assert not wrong, f"{operation_model.name} answered {wrong}"

    client.meta.events.register("before-parse.sagemaker", check)
    return client


def files_of(archive: bytes) -> dict[str, bytes]:
    """The files of a tar.gz."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        members = [member for member in tar.getmembers() if member.isfile()]
        return {member.name: tar.extractfile(member).read() for member in members}  # type: ignore[union-attr]


def statuses(job: dict[str, Any]) -> list[str]:
    """The secondary statuses that a job went through."""
    return [transition["Status"] for transition in job["SecondaryStatusTransitions"]]


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] != b"Z"
    except OSError:
        return False
