"""A Local SageMaker with what is rehearsed on it: runs the script in one scenario, and tells what was seen."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_spot.rehearsal.driver import ENDED_BEFORE, Driver
from airflow_spot.rehearsal.log_lines import Line
from airflow_spot.rehearsal.models import read_model
from airflow_spot.rehearsal.observations import Scenario, Start, Stored, Trial, Written
from airflow_spot.rehearsal.plan import Interruption
from airflow_spot.rehearsal.subject import RehearsalError, Subject
from airflow_spot.rehearsal.writes import FolderWatch, Write, is_scripts, is_supported

if TYPE_CHECKING:
    from airflow_spot.local import LocalSageMaker

BUCKET = "rehearsal"
REGION = "us-east-1"
LOG_GROUP = "/aws/sagemaker/TrainingJobs"
DEFAULT_LOCAL_PATH = "/opt/ml/checkpoints"
_ROLE = "arn:aws:iam::123456789012:role/rehearsal"
#: From the end of a process that ends by itself, and of its files, until the service has noticed it.
_CLOSING_SECONDS = 0.03


class Stage:
    """
    Runs trials.

    :param subject: what is rehearsed.
    :param service: a running Local SageMaker, for these trials alone.
    :param answers: a command that is asked about each model, see :func:`~airflow_spot.rehearsal.models.read_model`.
    """

    def __init__(self, subject: Subject, service: LocalSageMaker, answers: str | None = None, *, markers: bool) -> None:
        self._subject = subject
        self._service = service
        self._answers = answers
        self._markers = markers
        self._sagemaker = service.client("sagemaker", REGION)
        self._s3 = service.client("s3", REGION)
        self._logs = service.client("logs", REGION)
        self._audit = _Tail(service.dir / "audit.jsonl")
        self._names = 0
        self._s3.create_bucket(Bucket=BUCKET)
        self._template = self._upload()

    def _upload(self) -> dict[str, Any]:
        subject, request = self._subject, dict(self._subject.request)
        with subject.archive() as archive:
            if archive is not None:
                self._s3.put_object(Bucket=BUCKET, Key="code/sourcedir.tar.gz", Body=archive.content)
                request["HyperParameters"] = {
                    **request.get("HyperParameters", {}),
                    "sagemaker_program": json.dumps(archive.program),
                    "sagemaker_submit_directory": json.dumps(f"s3://{BUCKET}/code/sourcedir.tar.gz"),
                }
        for name, folder in subject.channels.items():
            for path in sorted(each for each in folder.rglob("*") if each.is_file()):
                key = f"data/{name}/{path.relative_to(folder).as_posix()}"
                self._s3.upload_file(str(path), BUCKET, key)
        request["InputDataConfig"] = [_local_channel(each) for each in request.get("InputDataConfig", ())]
        if not request["InputDataConfig"]:
            del request["InputDataConfig"]
        algorithm = {"TrainingInputMode": "File", **request.get("AlgorithmSpecification", {})}
        if "AlgorithmName" not in algorithm:
            algorithm.setdefault("TrainingImage", "rehearsal")
        request["AlgorithmSpecification"] = algorithm
        return request

    @property
    def _local_path(self) -> str:
        config = self._template.get("CheckpointConfig") or {}
        return str(config.get("LocalPath") or DEFAULT_LOCAL_PATH)

    def run(self, scenario: Scenario, interruptions: Sequence[Interruption], max_run: float) -> Trial:
        """
        Run the script once, with these interruptions.

        :param max_run: how long a job of it may train, in seconds.
        :raises RehearsalError: SageMaker would not take the request.
        """
        self._names += 1
        folder = f"trial-{self._names}"
        checkpoints = f"{folder}/checkpoints/"
        jobs = [f"{folder}-1"]
        # Before there is a job: on a busy machine a short script has written before an answer is read.
        with FolderWatch(self.folder_of(jobs[0])) as watch:
            self.create(jobs[0], folder, max_run)
            driver = Driver(self, watch, jobs, folder, max_run)
            missed = driver.drive(interruptions)
            description = driver.end()
            if missed is None and driver.starts <= len(interruptions):
                missed = ENDED_BEFORE  # it ended by itself while its instance was taken
        return self._observed(scenario, jobs, watch, driver, missed, description, checkpoints)

    def create(self, job: str, folder: str, max_run: float) -> None:
        """
        Create a job of a trial, with the trial's checkpoint folder.

        :raises RehearsalError: SageMaker would not take the request.
        """
        from botocore.exceptions import ClientError, ParamValidationError

        limit = max(1, math.ceil(max_run))
        try:
            self._sagemaker.create_training_job(
                **{
                    **self._template,
                    "TrainingJobName": job,
                    "RoleArn": _ROLE,
                    "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/{folder}/output"},
                    "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 30},
                    "StoppingCondition": {"MaxRuntimeInSeconds": limit, "MaxWaitTimeInSeconds": limit + 3600},
                    "CheckpointConfig": {
                        "S3Uri": f"s3://{BUCKET}/{folder}/checkpoints",
                        "LocalPath": self._local_path,
                    },
                    "EnableManagedSpotTraining": True,
                }
            )
        except (ClientError, ParamValidationError) as error:
            raise RehearsalError(f"SageMaker would refuse the request: {error}") from error

    def describe(self, job: str) -> dict[str, Any]:
        """Return what SageMaker says of a job."""
        answer: dict[str, Any] = self._sagemaker.describe_training_job(TrainingJobName=job)
        return answer

    # What was seen.

    def _observed(
        self,
        scenario: Scenario,
        jobs: Sequence[str],
        watch: FolderWatch,
        driver: Driver,
        missed: str | None,
        description: dict[str, Any],
        checkpoints: str,
    ) -> Trial:
        starts = [start for job in jobs for start in self._starts(job, jobs)]
        spans = [(start.began, start.ended) for start in starts]
        writes = tuple(
            Written(each.key, each.began, _ended(each, starts), each.size, each.pieces, each.aside)
            for each in watch.writes
            if _within(each.began, _heard(spans))
        )
        if not is_supported():
            writes = self._uploaded(jobs)
        left = tuple(self._stored(checkpoints))
        trial = Trial(
            scenario=scenario,
            status=description["TrainingJobStatus"],
            secondary=description["SecondaryStatus"],
            starts=tuple(starts),
            cuts=len(starts) - 1,
            torn=driver.torn,
            missed=missed,
            writes=writes,
            deleted=tuple(each.key for each in watch.deleted if _within(each.time, spans)),
            left=left,
            reason=None if starts else description.get("FailureReason"),
            markers=self._markers,
        )
        if not trial.completed:
            return trial
        uri = description["ModelArtifacts"]["S3ModelArtifacts"]
        body = self._s3.get_object(Bucket=BUCKET, Key=uri.removeprefix(f"s3://{BUCKET}/"))["Body"]
        model, answers, complaint = read_model(body, self._answers)
        return replace(trial, model=model, answers=answers, complaint=complaint)

    def _stored(self, prefix: str) -> Iterable[Stored]:
        for page in self._s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix):
            for item in page.get("Contents", ()):
                key = item["Key"].removeprefix(prefix)
                if is_scripts(key):
                    yield Stored(key, int(item["Size"]))

    def _uploaded(self, jobs: Sequence[str]) -> tuple[Written, ...]:
        """Return the writes as far as the uploads tell of them, where the machine does not."""
        lines = (line for job in jobs for line in self._audit.of(job, "checkpoint") if line["action"] == "upload")
        return tuple(
            Written(line["key"], line["mtime"], line["mtime"], line["size"], 0)
            for line in lines
            if is_scripts(line["key"])
        )

    def _starts(self, job: str, jobs: Sequence[str]) -> list[Start]:
        streams = self._streams(job)
        begun = [line for line in self._audit.of(job, "process") if line["action"] == "started"]
        found = []
        for index, line in enumerate(begun):
            number = line["start"]
            exits = [
                other
                for other in self._audit.of(job, "process")
                if other["action"] == "exited" and other["start"] == number
            ]
            restored = tuple(
                Stored(other["key"], other["size"], self._written(jobs, other))
                for other in self._audit.of(job, "checkpoint")
                if other["action"] == "restore" and other["start"] == number and is_scripts(other["key"])
            )
            ended = exits[-1]["time"] if exits else time.time()
            code = exits[-1]["code"] if exits else None
            lines = streams[index] if index < len(streams) else ()
            signalled = exits[-1]["signalled"] if exits else None
            found.append(Start(line["asked"], ended, code, tuple(lines), restored, signalled))
        return found

    def _written(self, jobs: Sequence[str], restored: dict[str, Any]) -> float | None:
        """Return when a file had been written that is restored: as its last upload says."""
        times = [
            line["mtime"]
            for job in jobs
            for line in self._audit.of(job, "checkpoint")
            if line["action"] == "upload" and line["key"] == restored["key"] and line["time"] <= restored["time"]
        ]
        return times[-1] if times else None

    def _streams(self, job: str) -> list[list[Line]]:
        from botocore.exceptions import ClientError

        try:
            pages = self._logs.get_paginator("describe_log_streams").paginate(
                logGroupName=LOG_GROUP, logStreamNamePrefix=f"{job}/algo-1-"
            )
            names = [stream["logStreamName"] for page in pages for stream in page["logStreams"]]
        except ClientError:
            return []
        return [self._lines(name) for name in sorted(names, key=lambda name: int(name.rpartition("-")[2]))]

    def _lines(self, stream: str) -> list[Line]:
        found: list[Line] = []
        token: dict[str, Any] = {}
        while True:
            page = self._logs.get_log_events(logGroupName=LOG_GROUP, logStreamName=stream, startFromHead=True, **token)
            found += [Line(event["timestamp"] / 1000, event["message"]) for event in page["events"]]
            if not page["events"] or token.get("nextToken") == page["nextForwardToken"]:
                return found
            token = {"nextToken": page["nextForwardToken"]}

    # For the driver.

    def audit_of(self, job: str, event: str) -> list[dict[str, Any]]:
        """Return a job's lines of the audit log, so far."""
        return self._audit.of(job, event)

    def interrupt(self, job: str, how: str) -> None:
        """Take a job's instance; where it has none, nothing happens."""
        self._service.interrupt(job, reclaim=how)

    def stop(self, job: str) -> None:
        """Stop a job."""
        self._sagemaker.stop_training_job(TrainingJobName=job)

    def folder_of(self, job: str) -> Path:
        """Return where a job's checkpoint folder is on this machine, once it runs."""
        inside = os.path.relpath(self._local_path, "/opt/ml")
        return self._service.dir / "jobs" / REGION / job / "algo-1" / "ml" / inside


class _Tail:
    """The audit log, read as it grows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._lines: dict[tuple[str, str], list[dict[str, Any]]] = {}

    def of(self, job: str, event: str) -> list[dict[str, Any]]:
        """Return a job's lines of one kind, so far."""
        self._read()
        return self._lines.get((job, event), [])

    def _read(self) -> None:
        with self._path.open("rb") as file:
            file.seek(self._offset)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        for text in whole.splitlines():
            line = json.loads(text)
            if "job" in line:
                self._lines.setdefault((str(line["job"]), line["event"]), []).append(line)


def _ended(write: Write, starts: Sequence[Start]) -> float | None:
    """Return when a write was whole; None where the file was closed by the end of the process that wrote it."""
    if write.ended is None or write.aside:
        return write.ended
    start = next((each for each in starts[:-1] if each.began <= write.began <= each.ended), None)
    if start is None:
        return write.ended
    # How long the service takes to notice an end depends on how busy the machine is; when it sent the signal does not.
    cut = start.ended - _CLOSING_SECONDS if start.signalled is None else start.signalled
    return None if write.ended > cut else write.ended


def _heard(spans: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return when writes of starts are heard of: the last ones also after the end, and nobody else writes then."""
    return [*spans[:-1], *((began, math.inf) for began, _ in spans[-1:])]


def _within(moment: float, spans: Sequence[tuple[float, float]]) -> bool:
    return any(began <= moment <= ended for began, ended in spans)


def _local_channel(channel: dict[str, Any]) -> dict[str, Any]:
    """Return a channel whose data is here."""
    source = dict((channel.get("DataSource") or {}).get("S3DataSource") or {})
    source.pop("S3Uri", None)
    place = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/data/{channel['ChannelName']}"}
    return {**channel, "InputMode": "File", "DataSource": {"S3DataSource": {**source, **place}}}
