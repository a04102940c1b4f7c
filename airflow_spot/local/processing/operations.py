"""Processing jobs: a script between S3 folders.

As "How Amazon SageMaker Processing Runs Your Processing Container Image" in the developer guide has it: inputs below
``/opt/ml/processing``, the job's description in ``/opt/ml/config``, outputs uploaded when the script has ended. A
process can give up to 1 KB in ``/opt/ml/output/message``, which becomes ExitMessage.
"""

from __future__ import annotations

import copy
import json
import logging
import shutil
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from airflow_spot.local.api.call import Call
from airflow_spot.local.api.ignored import ignored as inert
from airflow_spot.local.api.ignored import tell_inert
from airflow_spot.local.api.tagging import to_dict
from airflow_spot.local.aws.events import PROCESSING
from airflow_spot.local.backend import Backend, Operations
from airflow_spot.local.container.channels import fetch_channel
from airflow_spot.local.container.container import Container, OptMl, Spec
from airflow_spot.local.container.helpers import end, environment, join_all, relocated, upload_folder
from airflow_spot.local.errors import JobError, validation
from airflow_spot.local.state_changes import publish_event, record_status
from airflow_spot.local.storage.store import Kind

log = logging.getLogger(__name__)

LOG_GROUP = "/aws/sagemaker/ProcessingJobs"
DEFAULT_MAX_RUNTIME = 24 * 3600
STATES = ("processing", PROCESSING)
TERMINAL = ("Completed", "Failed", "Stopped")
HOST = "algo-1"
MESSAGE_CHARACTERS = 1024
_INERT = (
    "NetworkConfig.VpcConfig",
    "NetworkConfig.EnableNetworkIsolation",
    "NetworkConfig.EnableInterContainerTrafficEncryption",
    "ProcessingOutputConfig.KmsKeyId",
    "ProcessingResources.ClusterConfig.VolumeKmsKeyId",
    "ExperimentConfig",
)


@dataclass
class ProcessingJob:
    """One processing job.

    :param request: the body of CreateProcessingJob, tags left out.
    :ivar facts: what the description has beside the request: status, times, reasons.
    :ivar lock: held by whoever changes it, so that a stop comes before its end or is refused.
    :ivar wake: set when its thread has something to look at.
    :ivar thread: drives it, until it has ended.
    :ivar stopping: it is to end as Stopped: by a person, or because its time is over.
    :ivar abandoned: the service ends; nothing is recorded any more.
    """

    region: str
    name: str
    request: dict[str, Any]
    facts: dict[str, Any]
    lock: threading.RLock = field(default_factory=threading.RLock)
    wake: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread | None = None
    stopping: bool = False
    abandoned: bool = False

    @property
    def arn(self) -> str:
        return PROCESSING_JOBS.arn(self.region, self.name)

    @property
    def max_runtime(self) -> float:
        """Seconds that the script may run."""
        return float(self.request.get("StoppingCondition", {}).get("MaxRuntimeInSeconds", DEFAULT_MAX_RUNTIME))

    def describe(self, now: float) -> dict[str, Any]:
        """Return the answer of DescribeProcessingJob: the same at any time."""
        with self.lock:
            return {**self.request, "ProcessingJobArn": self.arn, **self.facts}

    def update(self, now: float, **facts: Any) -> None:
        """Change facts at a service time."""
        with self.lock:
            self.facts.update(facts, LastModifiedTime=now)

    def enter(self, backend: Backend, status: str, **facts: Any) -> None:
        """Change the status, and tell of it."""
        with self.lock:
            self.update(backend.clock.now(), ProcessingJobStatus=status, **facts)
            record_status(backend, self, STATES, status, facts.get("FailureReason"))

    def stop(self, backend: Backend) -> None:
        """Have it end soon; from now on it is Stopping.

        :raises ServiceError: ValidationException, if it has ended.
        """
        with self.lock:
            status = self.facts["ProcessingJobStatus"]
            if status in TERMINAL:
                raise validation(f"The request was rejected because the processing job is in status {status}.")
            if not self.stopping:
                self.stopping = True
                self.enter(backend, "Stopping")
        self.wake.set()


PROCESSING_JOBS = Kind[ProcessingJob]("processing-job", "Processing job")


class _Stopped(Exception):
    """The job is to end, and its script has not been started."""


class Run:
    """The life of one job, on a thread of its own."""

    def __init__(self, backend: Backend, job: ProcessingJob) -> None:
        self._backend = backend
        self._job = job
        self._folder = backend.settings.root / "processing" / job.region / job.name

    def __call__(self) -> None:
        """Run the job to its end, whatever happens in it."""
        backend, job = self._backend, self._job
        reason: str | None = None
        facts: dict[str, Any] = {}
        try:
            opt_ml = backend.containers.opt_ml(self._folder)
            command = self._prepare(opt_ml)
            reason, facts = self._execute(opt_ml, command)
        except _Stopped:
            log.debug("processing job %s is stopped", job.name)
        except JobError as error:
            reason = str(error)
        except Exception as error:
            log.exception("processing job %s", job.name)
            reason = f"InternalServerError: {type(error).__name__}: {error}"
        if not backend.settings.keep:
            shutil.rmtree(self._folder, ignore_errors=True)
        with job.lock:
            if job.abandoned:
                return
            facts["ProcessingEndTime"] = backend.clock.now()
            if job.stopping:
                if reason is not None:
                    log.warning("processing job %s: %s", job.name, reason)
                job.enter(backend, "Stopped", **facts)
            elif reason is not None:
                job.enter(backend, "Failed", FailureReason=reason, **facts)
            else:
                job.enter(backend, "Completed", **facts)

    def _check_stop(self) -> None:
        if self._job.stopping or self._job.abandoned:
            raise _Stopped

    def _prepare(self, opt_ml: OptMl) -> list[str]:
        """Download the inputs, write the configuration; return the command.

        :raises _Stopped: if the job is to end before all is there.
        """
        request = self._job.request
        scripts: list[Path] = []
        for item in request.get("ProcessingInputs", ()):
            self._check_stop()
            folder = opt_ml.path(item["S3Input"]["LocalPath"])
            fetch_channel(self._backend.aws.s3, _channel(item), folder, 0, 1)
            scripts += folder.rglob("*.py")
        for output in _outputs(request):
            opt_ml.path(output["LocalPath"]).mkdir(parents=True, exist_ok=True)
        config = opt_ml.path("/opt/ml/config")
        config.mkdir()
        opt_ml.path("/opt/ml/output").mkdir(exist_ok=True)
        document = {"ProcessingJobArn": self._job.arn, **request}
        (config / "processingjobconfig.json").write_text(json.dumps(document))
        (config / "resourceconfig.json").write_text(json.dumps({"current_host": HOST, "hosts": [HOST]}))
        command = relocated(opt_ml, self._command())
        self._backend.containers.refuse_hard_coded(scripts, command)
        self._check_stop()
        return command

    def _command(self) -> list[str]:
        application = self._job.request["AppSpecification"]
        arguments = list(application.get("ContainerArguments", ()))
        if "ContainerEntrypoint" in application:
            return [*application["ContainerEntrypoint"], *arguments]
        given = self._backend.images.command(application["ImageUri"])
        if given is None:
            raise JobError(
                "ClientError: Local SageMaker runs no containers and knows nothing to run for the image "
                f"{application['ImageUri']!r}. Give the job AppSpecification.ContainerEntrypoint, or start the service "
                "with --image 'PATTERN=COMMAND'."
            )
        return [*given, *arguments]

    def _execute(self, opt_ml: OptMl, command: list[str]) -> tuple[str | None, dict[str, Any]]:
        """Run the script, then upload; return why it failed, if it did, and what else the description gets."""
        backend, job = self._backend, self._job
        now = backend.clock.now()
        stream = backend.logs.open(job.region, LOG_GROUP, f"{job.name}/{HOST}-{int(now)}")
        variables = environment(backend.containers, backend.aws, opt_ml, job.region, job.request.get("Environment", {}))
        cwd = opt_ml.see("/opt/ml/processing") if opt_ml.path("/opt/ml/processing").is_dir() else opt_ml.seen
        container = backend.containers.start(Spec(opt_ml, command, variables, cwd, hostname=HOST), stream.write)
        job.update(now, ProcessingStartTime=now)
        self._audit_process("started", container)
        try:
            stopped = self._wait(container)
        finally:
            container.kill()
            container.wait(30)
            backend.logs.close_stream(stream)
        self._audit_process("exited", container, code=container.poll())
        if job.abandoned:
            return None, {}
        failed = bool(container.poll()) and not stopped
        for output in _outputs(job.request):
            if not failed or output.get("S3UploadMode") == "Continuous":
                upload_folder(backend.aws.s3, opt_ml.path(output["LocalPath"]), output["S3Uri"])
        facts = _exit_message(opt_ml)
        if failed:
            return f"AlgorithmError: See job logs for more information, exit code: {container.poll()}", facts
        return None, facts

    def _wait(self, container: Container) -> bool:
        """Wait for the script's end; whether it was we who ended it, at a stop or at the end of its time."""
        clock, job = self._backend.clock, self._job
        container.on_exit(job.wake.set)
        deadline = clock.now() + job.max_runtime
        while container.poll() is None:
            job.wake.wait(min(clock.machine_seconds(deadline - clock.now()), threading.TIMEOUT_MAX))
            job.wake.clear()
            if container.poll() is None and (job.stopping or job.abandoned or clock.now() >= deadline):
                if not job.abandoned:
                    job.stop(self._backend)
                end(container, 0 if job.abandoned else self._backend.settings.grace_seconds)
                return True
        return job.stopping

    def _audit_process(self, action: str, container: Container, **more: Any) -> None:
        self._backend.audit.write(
            "process",
            action=action,
            kind="processing",
            job=self._job.name,
            host=HOST,
            start=1,
            pid=container.pid,
            **more,
        )


def _channel(item: dict[str, Any]) -> dict[str, Any]:
    """An input as a training job's channel: the same rules of S3 apply to both."""
    source = item["S3Input"]
    data = {
        "S3Uri": source["S3Uri"],
        "S3DataType": source.get("S3DataType", "S3Prefix"),
        "S3DataDistributionType": source.get("S3DataDistributionType", "FullyReplicated"),
    }
    return {
        "ChannelName": item["InputName"],
        "DataSource": {"S3DataSource": data},
        "CompressionType": source.get("S3CompressionType", "None"),
    }


def _outputs(request: dict[str, Any]) -> list[dict[str, Any]]:
    outputs = request.get("ProcessingOutputConfig", {}).get("Outputs", ())
    return [output["S3Output"] for output in outputs if "S3Output" in output]


def _exit_message(opt_ml: OptMl) -> dict[str, str]:
    path = opt_ml.path("/opt/ml/output/message")
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8", errors="replace") as file:
        return {"ExitMessage": file.read(MESSAGE_CHARACTERS)}


def _check(request: dict[str, Any]) -> None:
    for item in request.get("ProcessingInputs", ()):
        source = item.get("S3Input")
        if source is None:
            raise validation(f"ProcessingInputs {item['InputName']}: only S3Input is implemented by Local SageMaker")
        if not source.get("LocalPath"):
            raise validation(f"ProcessingInputs {item['InputName']}: S3Input.LocalPath is required")
        if source.get("S3InputMode", "File") != "File":
            raise validation(f"ProcessingInputs {item['InputName']}: S3InputMode must be File in Local SageMaker")
    for output in request.get("ProcessingOutputConfig", {}).get("Outputs", ()):
        name = f"ProcessingOutputConfig.Outputs {output['OutputName']}"
        if "S3Output" not in output or "FeatureStoreOutput" in output:
            raise validation(f"{name}: only S3Output is implemented by Local SageMaker")
        if not output["S3Output"].get("LocalPath"):
            raise validation(f"{name}: S3Output.LocalPath is required")
    cluster = request["ProcessingResources"]["ClusterConfig"]
    if cluster.get("InstanceCount", 1) != 1:
        raise validation(
            f"ProcessingResources.ClusterConfig.InstanceCount is {cluster['InstanceCount']}; Local SageMaker runs "
            "processing jobs on one instance"
        )


def create_processing_job(backend: Backend, call: Call) -> dict[str, Any]:
    _check(call.params)
    request = copy.deepcopy(call.params)
    tags = to_dict(request.pop("Tags", []))
    request.setdefault("StoppingCondition", {"MaxRuntimeInSeconds": DEFAULT_MAX_RUNTIME})
    now = backend.clock.now()
    facts = {"ProcessingJobStatus": "InProgress", "CreationTime": now, "LastModifiedTime": now}
    job = ProcessingJob(call.region, request["ProcessingJobName"], request, facts)
    backend.store.table(PROCESSING_JOBS).add(job)
    if tags:
        backend.store.tags[job.arn] = tags
    tell_inert(backend.audit, "processing job", job.name, inert(request, _INERT))
    publish_event(backend, PROCESSING, job)
    job.thread = threading.Thread(target=Run(backend, job), name=f"processing-{job.name}", daemon=True)
    job.thread.start()
    return {"ProcessingJobArn": job.arn}


def describe_processing_job(backend: Backend, call: Call) -> dict[str, Any]:
    job = backend.store.table(PROCESSING_JOBS).get(call.region, call.params["ProcessingJobName"])
    return job.describe(backend.clock.now())


def stop_processing_job(backend: Backend, call: Call) -> dict[str, Any]:
    job = backend.store.table(PROCESSING_JOBS).get(call.region, call.params["ProcessingJobName"])
    job.stop(backend)
    return {}


def close(backend: Backend) -> None:
    """End all jobs, because the service ends."""
    for job in backend.store.table(PROCESSING_JOBS):
        job.abandoned = True
        job.wake.set()
    join_all(job.thread for job in backend.store.table(PROCESSING_JOBS))


OPERATIONS: Operations = {
    "CreateProcessingJob": create_processing_job,
    "DescribeProcessingJob": describe_processing_job,
    "StopProcessingJob": stop_processing_job,
}
