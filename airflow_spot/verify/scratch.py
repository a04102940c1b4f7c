"""What one setup works with: jobs of its own, a folder of its own, and a list of facts."""

from __future__ import annotations

import io
import json
import tarfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from airflow_spot.aws import jobs
from airflow_spot.core.outcomes import ENDED_STATUSES
from airflow_spot.core.quotas import read_limit
from airflow_spot.verify.pace import Length
from airflow_spot.verify.scripts import SECONDS, TICK, TRAIN, command
from airflow_spot.verify.service import Service

#: Begins the name of every job; nothing else of this package begins so.
NAME_PREFIX = "spotverify-"
#: A tag of every job; its value is the run of the command.
TAG = "airflow-spot-verify"
#: The folder in the bucket, in which each run of the command has one.
FOLDER = "airflow-spot-verify"

#: Codes of errors that tell nothing of what is asked.
_SAYS_NOTHING = frozenset({"AccessDenied", "AccessDeniedException", "Throttling", "ThrottlingException"})
_KNOWN_AFTER_SECONDS = 30.0

Description = Mapping[str, Any]


class NotReached(Exception):
    """The rest of a setup cannot be seen; the message says why."""


class Run:
    """
    One run of the command: what it made, and whether it is to end. Thread-safe.

    :ivar id: in the names of its jobs, and the name of its folder.
    :ivar ending: set once nothing more is to be begun.
    """

    def __init__(self) -> None:
        self.id = uuid.uuid4().hex[:8]
        self.ending = threading.Event()
        self._names: list[str] = []
        self._lock = threading.Lock()

    def add(self, job_name: str) -> None:
        """Remember a job, before it is created."""
        with self._lock:
            self._names.append(job_name)

    def discard(self, job_name: str) -> None:
        """Forget a job that was refused: it was never there, and its name may be none that can be asked about."""
        with self._lock:
            self._names = [name for name in self._names if name != job_name]

    @property
    def names(self) -> list[str]:
        """The jobs that there may be."""
        with self._lock:
            return list(dict.fromkeys(self._names))

    @property
    def folder(self) -> str:
        """The key prefix of its scratch data."""
        return f"{FOLDER}/{self.id}/"


class Scratch:
    """
    One setup's jobs and folder.

    :ivar facts: what was seen so far.
    :ivar why: why single facts are missing, by their name.
    """

    def __init__(self, service: Service, run: Run, setup: str) -> None:
        self.service = service
        self.facts: dict[str, Any] = {}
        self.why: dict[str, str] = {}
        self._run = run
        self._setup = setup
        self._count = 0

    @property
    def names(self) -> list[str]:
        """The jobs of this setup that there may be."""
        return [name for name in self._run.names if name.startswith(f"{NAME_PREFIX}{self._run.id}-{self._setup}-")]

    # Places.

    def uri(self, path: str) -> str:
        """Return the S3 URI of a path in the setup's folder."""
        return f"s3://{self.service.bucket}/{self._key(path)}"

    def put(self, path: str, body: bytes) -> str:
        """Write an object into the setup's folder; returns its S3 URI."""
        self.service.s3.put_object(Bucket=self.service.bucket, Key=self._key(path), Body=body)
        return self.uri(path)

    def keys(self, path: str) -> list[str]:
        """Return what lies in a folder of the setup's folder, as paths in that folder."""
        prefix = self._key(f"{path}/")
        pages = self.service.s3.get_paginator("list_objects_v2").paginate(Bucket=self.service.bucket, Prefix=prefix)
        return sorted(item["Key"][len(prefix) :] for page in pages for item in page.get("Contents", ()))

    def read_json(self, path: str) -> Any:
        """Return an object's JSON; None where it is not there."""
        try:
            answer = self.service.s3.get_object(Bucket=self.service.bucket, Key=self._key(path))
        except ClientError as error:
            if error.response["Error"]["Code"] in ("NoSuchKey", "404"):
                return None
            raise
        return json.loads(answer["Body"].read())

    def model(self, job_name: str, file: str = "seen.json") -> Any:
        """
        Return a JSON file of a job's model archive; None where it is not in it.

        :raises NotReached: there is no archive.
        """
        key = self._key(f"out/{job_name}/output/model.tar.gz")
        try:
            body = self.service.s3.get_object(Bucket=self.service.bucket, Key=key)["Body"].read()
        except ClientError as error:
            if error.response["Error"]["Code"] in ("NoSuchKey", "404"):
                raise NotReached("the job left no model archive") from error
            raise
        with tarfile.open(fileobj=io.BytesIO(body)) as archive:
            for member in archive.getmembers():
                if member.name.removeprefix("./") == file and (content := archive.extractfile(member)):
                    return json.load(content)
        return None

    def _key(self, path: str) -> str:
        return f"{self._run.folder}{self._setup}/{path}"

    # Jobs.

    def request(
        self,
        script: str = TRAIN,
        *,
        length: Length = Length.BRIEF,
        spot: bool = False,
        max_wait: int | None = None,
        checkpoints: str = "",
        seconds: float | None = None,
        environment: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """
        Return a request for a job with a name of its own.

        :param max_wait: MaxWaitTimeInSeconds; default: for spot, what the pace says.
        :param checkpoints: a folder of the setup's folder.
        :param seconds: how long the script trains; default: what the pace says.
        """
        service, pace = self.service, self.service.pace
        self._count += 1
        max_run = pace.max_run[length]
        made: dict[str, Any] = {
            "TrainingJobName": f"{NAME_PREFIX}{self._run.id}-{self._setup}-{self._count}",
            "RoleArn": service.role,
            "AlgorithmSpecification": {
                "TrainingImage": service.image,
                "TrainingInputMode": "File",
                **command(script),
            },
            "OutputDataConfig": {"S3OutputPath": self.uri("out")},
            "ResourceConfig": {"InstanceType": service.instance_type, "InstanceCount": 1, "VolumeSizeInGB": 30},
            "StoppingCondition": {"MaxRuntimeInSeconds": max_run},
            "Environment": {
                SECONDS: str(pace.train if seconds is None else seconds),
                TICK: str(pace.tick),
                **(environment or {}),
            },
            "EnableManagedSpotTraining": spot,
            "Tags": [{"Key": key, "Value": value} for key, value in {TAG: self._run.id, **(tags or {})}.items()],
        }
        if spot or max_wait is not None:
            wait = max_run + pace.queue_wait if max_wait is None else max_wait
            made["StoppingCondition"]["MaxWaitTimeInSeconds"] = wait
        if checkpoints:
            made["CheckpointConfig"] = {"S3Uri": self.uri(checkpoints)}
        return made

    def create(self, request: Mapping[str, Any]) -> str:
        """
        Create a job; wait for a turn where the account's limit is used up.

        :return: its name.
        :raises NotReached: the limit is below one instance, or stays used up.
        """
        name = str(request["TrainingJobName"])
        begun = time.monotonic()
        while True:
            self.pause(0)
            self._run.add(name)
            try:
                self.service.sagemaker.create_training_job(**request)
                return name
            except ClientError as error:
                code = error.response["Error"]["Code"]
                if code == "ResourceInUse":  # of a name that is ours alone: an answer was lost, and the call repeated
                    return name
                if code != "ResourceLimitExceeded":
                    raise
                message = error.response["Error"]["Message"]
                limit = read_limit(message)
                if limit is None or limit.too_small:
                    raise NotReached(message) from error
                if time.monotonic() - begun > self.service.pace.patience:
                    raise NotReached(f"{message} It stayed used up; --parallel 1 needs less of it") from error
            self.pause(self.service.pace.poll * 2)

    def refused(self, request: Mapping[str, Any]) -> tuple[str, str] | None:
        """
        Create a job that is assumed to be refused; one that is not is stopped.

        :return: the error's code and message; None where the job was accepted.
        """
        self.pause(0)
        name = str(request["TrainingJobName"])
        self._run.add(name)
        answer = self.attempt(lambda: self.service.sagemaker.create_training_job(**request))
        if answer is None:
            jobs.stop(self.service.sagemaker, name)
        elif answer[0] == "ValidationException":
            self._run.discard(name)
        return answer

    def attempt(self, call: Callable[[], Any]) -> tuple[str, str] | None:
        """
        Return the code and message of the error that a call answers; None where it answers none.

        :raises NotReached: the caller may not make that call, or was throttled: that says nothing of what is asked.
        """
        try:
            call()
        except ClientError as error:
            code, message = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
            if code in _SAYS_NOTHING:
                raise NotReached(f"a call failed: {error}") from error
            return code, message
        return None

    def describe(self, job_name: str) -> Description:
        """
        Return what DescribeTrainingJob answers of a job that was created.

        :raises NotReached: it is unknown even after half a minute.
        """
        deadline = time.monotonic() + _KNOWN_AFTER_SECONDS
        while (found := jobs.find(self.service.sagemaker, job_name)) is None:
            if time.monotonic() > deadline:
                raise NotReached("a job that was created is not known half a minute later")
            self.pause(1.0)
        return found

    def watch(self, job_name: str) -> Iterator[Description]:
        """
        Yield a job's description again and again, the last time when it has ended.

        :raises NotReached: the run is to end, or the job takes longer than it can.
        """
        job = self.describe(job_name)
        stopping = job["StoppingCondition"]
        longest = stopping.get("MaxWaitTimeInSeconds") or stopping["MaxRuntimeInSeconds"]
        deadline = time.monotonic() + float(longest) + 2 * self.service.pace.patience
        while True:
            yield job
            if job["TrainingJobStatus"] in ENDED_STATUSES:
                return
            if time.monotonic() > deadline:
                raise NotReached(f"the job is {job['TrainingJobStatus']} long after its limits")
            self.pause(self.service.pace.poll)
            job = self.describe(job_name)

    def until(self, job_name: str, status: str) -> Description:
        """
        Wait until a job is in a secondary status, or was.

        :raises NotReached: it ended without.
        """
        for job in self.watch(job_name):
            if status in statuses(job):
                return job
        why = job.get("FailureReason") or job["SecondaryStatus"]
        raise NotReached(f"the job was never {status}: {job['TrainingJobStatus']}, {why}")

    def end(self, job_name: str) -> Description:
        """Wait for a job's end; returns its description once that changes no more."""
        for _ in self.watch(job_name):
            pass
        self.pause(self.service.pace.settle)
        return self.describe(job_name)

    def stop(self, job_name: str) -> None:
        """Stop a job, if it has not ended."""
        jobs.stop(self.service.sagemaker, job_name)

    def pause(self, seconds: float) -> None:
        """
        Wait.

        :raises NotReached: the run is to end.
        """
        if self._run.ending.wait(seconds):
            raise NotReached("interrupted")


def statuses(job: Description) -> list[str]:
    """Return the secondary statuses that a job went through."""
    return [str(each["Status"]) for each in job.get("SecondaryStatusTransitions", ())]


def messages(job: Description) -> list[str]:
    """Return the messages of a job's transitions."""
    return [str(each.get("StatusMessage", "")) for each in job.get("SecondaryStatusTransitions", ())]


#: What a call to AWS may raise.
CALL_ERRORS = (ClientError, BotoCoreError)
