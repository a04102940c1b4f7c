"""The Local SageMaker of all runs of one engine, and its audit log sorted by run."""

from __future__ import annotations

import io
import json
import re
import tarfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from types import TracebackType
from typing import Any

from airflow_spot.core.identity import JobName
from airflow_spot.core.marks import ENV_ATTEMPT, ENV_ROLE, ENV_WHY, TAG_ROLE
from airflow_spot.core.roles import Role
from airflow_spot.local import LocalSageMaker
from airflow_spot.local.training.simulated_instances import PROGRESS
from tests.chaos.operators import DRY, FORBIDDEN, RARE, SCARCE, SHARED
from tests.chaos.wire import Proxy

BUCKET = "chaos"
#: A type without any, one that fails a job that asks at the wrong moment, and one that takes its instances back.
MARKET = f"{DRY}=never;{SCARCE}=script:fail=2,up=2.5;{RARE}=script:down=6,up=3;*=always"
#: What a service that is late takes to end a job that it stops.
STOPS_SECONDS = 60.0
#: A quota that is 0, as AWS's spot quotas often are, and one that the runs have to share.
QUOTAS = f"{FORBIDDEN}:spot=0;{SHARED}=1"
GRACE_SECONDS = 1.0
_RUN = re.compile(r"run-([a-z0-9]+)-")


class Cloud:
    """
    A context manager: a service, the proxy in front of it, and what happened to each run's jobs.

    :param engine: ``simulated`` or ``process``.
    """

    def __init__(self, engine: str, **settings: Any) -> None:
        defaults: dict[str, Any] = {"market": MARKET, "quotas": QUOTAS, "pending_timeout_seconds": 5}
        defaults |= {"grace_seconds": GRACE_SECONDS}
        if engine == "process":
            defaults |= {"checkpoint_seconds": 0.2, "isolation": "relocate"}
        self.engine = engine
        self.local = LocalSageMaker(engine=engine, **{**defaults, **settings})
        self.proxy: Proxy
        self._events: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self._lock = threading.Lock()
        self._afflictions: dict[str, list[str]] = {}
        self._read = 0
        self._rest = b""

    def __enter__(self) -> Cloud:
        self.local.start()
        self.proxy = Proxy(self.local.endpoint_url)
        self.s3 = self.local.client("s3")
        self.sagemaker = self.local.client("sagemaker")
        self.s3.create_bucket(Bucket=BUCKET)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.proxy.close()
        self.local.stop()

    def events(self, run: str) -> list[dict[str, Any]]:
        """What the audit log has so far about the jobs whose names begin with ``run-<run>-``."""
        with self._lock:
            with (self.local.dir / "audit.jsonl").open("rb") as file:
                file.seek(self._read)
                data = file.read()
            self._read += len(data)
            lines = (self._rest + data).split(b"\n")
            self._rest = lines.pop()
            for line in lines:
                match = _RUN.search(line.decode())
                if match is not None:
                    self._events[match[1]].append(json.loads(line))
            return list(self._events[run])

    def forget(self, run: str) -> None:
        """Drop what is kept of a run that has been judged."""
        with self._lock:
            self._events.pop(run, None)

    def afflict(self, run: str, faults: Iterable[str]) -> None:
        """Replace what befalls a run's jobs. Nothing in it is counted, so that all runs can share a plan."""
        entries = [fault.format(run=f"run-{run}-") for fault in faults]
        with self._lock:
            before = dict(self._afflictions)
            self._afflictions.pop(run, None)
            if entries:
                self._afflictions[run] = entries
            if self._afflictions != before:
                self.local.set_faults(";".join(entry for each in self._afflictions.values() for entry in each))

    def live(self, run: str) -> dict[str, str]:
        """The run's jobs that have not ended, and their statuses."""
        status: dict[str, str] = {}
        for event in self.events(run):
            if event["event"] == "state":
                status[event["job"]] = event["status"]
        return {name: found for name, found in status.items() if found in ("InProgress", "Stopping")}

    def settle(self, run: str, seconds: float) -> dict[str, str]:
        """
        Wait until no job of a run is live, at most so long, and return those that are.

        A job that stops is waited for longer: it ends by itself, on a busy machine late.
        """
        begun = time.monotonic()
        while live := self.live(run):
            if time.monotonic() > begun + (seconds if "InProgress" in live.values() else max(seconds, STOPS_SECONDS)):
                break
            time.sleep(0.1)
        return live

    def stop(self, jobs: dict[str, str]) -> None:
        """Clean up what a run left."""
        for name in jobs:
            try:
                self.sagemaker.stop_training_job(TrainingJobName=name)
            except self.sagemaker.exceptions.ClientError:
                continue

    def folders(self, jobs: Iterable[str]) -> dict[str, str]:
        """Say where each of some jobs keeps its checkpoints; without those that keep none."""
        described = {job: self.sagemaker.describe_training_job(TrainingJobName=job) for job in jobs}
        return {
            job: found["CheckpointConfig"]["S3Uri"] for job, found in described.items() if "CheckpointConfig" in found
        }

    def kept(self, folder: str) -> float:
        """Say how many seconds of training a simulated checkpoint folder holds."""
        try:
            content = self.s3.get_object(Bucket=BUCKET, Key=f"{_key(folder)}/{PROGRESS}")["Body"].read()
        except self.s3.exceptions.NoSuchKey:
            return 0.0
        return float(json.loads(content)["seconds"])

    def seed(self, folder: str, seconds: float) -> None:
        """Put a simulated checkpoint into a folder."""
        self.s3.put_object(Bucket=BUCKET, Key=f"{_key(folder)}/{PROGRESS}", Body=json.dumps({"seconds": seconds}))

    def probe(self, beside: str) -> None:
        """Create a probe of the run whose job is given: no checkpoint, no data; it runs until somebody stops it."""
        job = self.sagemaker.describe_training_job(TrainingJobName=beside)
        name = replace(JobName.parse(beside) or _no_job(beside), number=1, role=Role.PROBE)
        tags = {tag["Key"]: tag["Value"] for tag in self.sagemaker.list_tags(ResourceArn=job["TrainingJobArn"])["Tags"]}
        wanted = ("AlgorithmSpecification", "RoleArn", "OutputDataConfig", "ResourceConfig", "StoppingCondition")
        environment = {key: value for key, value in job["Environment"].items() if key not in (ENV_ATTEMPT, ENV_WHY)}
        self.sagemaker.create_training_job(
            TrainingJobName=str(name),
            **{field: job[field] for field in wanted},
            EnableManagedSpotTraining=job["EnableManagedSpotTraining"],
            HyperParameters={"simulated_seconds": "600", "steps": "4000"},
            Environment={**environment, ENV_ROLE: str(Role.PROBE)},
            Tags=[{"Key": key, "Value": value} for key, value in {**tags, TAG_ROLE: str(Role.PROBE)}.items()],
        )

    def trained(self, job: str) -> float | None:
        """What a completed job's model holds: seconds, or a whole chain of steps; None for anything else."""
        description = self.sagemaker.describe_training_job(TrainingJobName=job)
        uri = description["ModelArtifacts"]["S3ModelArtifacts"]
        key = uri.removeprefix(f"s3://{BUCKET}/")
        try:
            content = self.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        except self.s3.exceptions.ClientError:
            return None
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            member = next(item for item in archive.getmembers() if item.name.endswith("model.json"))
            file = archive.extractfile(member)
            model = json.load(file) if file else {}
        if "chain" in model:
            chain = model["chain"]
            return float(len(chain)) if chain == list(range(1, len(chain) + 1)) else None
        return float(model["seconds"])


def _key(uri: str) -> str:
    return uri.removeprefix(f"s3://{BUCKET}/").rstrip("/")


def _no_job(name: str) -> JobName:
    raise ValueError(f"{name} is no job of a run")
