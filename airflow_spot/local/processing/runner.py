"""The life of a processing job: its inputs come from S3, its script runs, its outputs go to S3.

As "How Amazon SageMaker Processing Runs Your Processing Container Image" in the developer guide has it: inputs below
``/opt/ml/processing``, the job's description in ``/opt/ml/config``, outputs uploaded when the script has ended. A
process can give up to 1 KB in ``/opt/ml/output/message``, which becomes ExitMessage.
"""

from __future__ import annotations

import json
import logging
import shutil
import threading
from pathlib import Path
from typing import Any

from airflow_spot.local.backend import Backend
from airflow_spot.local.container.channels import fetch_channel
from airflow_spot.local.container.container import Container, OptMl, Spec
from airflow_spot.local.container.helpers import end, environment, relocated, upload_folder
from airflow_spot.local.errors import JobError, JobStopped
from airflow_spot.local.job_threads import Runner
from airflow_spot.local.processing.job import ProcessingJob

log = logging.getLogger(__name__)

LOG_GROUP = "/aws/sagemaker/ProcessingJobs"
HOST = "algo-1"
MESSAGE_CHARACTERS = 1024


class ProcessingRunner(Runner):
    """Runs one processing job."""

    def __init__(self, backend: Backend, job: ProcessingJob) -> None:
        super().__init__(f"processing job {job.name}")
        self._backend = backend
        self._job = job
        self._folder = backend.settings.root / "processing" / job.region / job.name
        self._facts: dict[str, Any] = {}

    def run(self) -> None:
        """Fetch the inputs, run the script, upload the outputs.

        :raises JobError: with the reason, if it fails.
        :raises JobStopped: if it is to end, and its script has not been started.
        """
        opt_ml = self._backend.containers.opt_ml(self._folder)
        self._execute(opt_ml, self._prepare(opt_ml))

    def clean_up(self) -> None:
        if not self._backend.settings.keep:
            shutil.rmtree(self._folder, ignore_errors=True)

    def record_end(self, failure: str | None) -> None:
        backend, job = self._backend, self._job
        with job.lock:
            facts = {**self._facts, "ProcessingEndTime": backend.clock.now()}
            if job.stopping:
                if failure is not None:
                    log.warning("processing job %s: %s", job.name, failure)
                job.enter(backend, "Stopped", **facts)
            elif failure is not None:
                job.enter(backend, "Failed", FailureReason=failure, **facts)
            else:
                job.enter(backend, "Completed", **facts)

    def wake(self) -> None:
        self._job.wake.set()

    def _check_stop(self) -> None:
        if self._job.stopping or self.abandoned:
            raise JobStopped

    def _prepare(self, opt_ml: OptMl) -> list[str]:
        """Download the inputs, write the configuration, and return the command.

        :raises JobStopped: if the job is to end before all is there.
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
                "ClientError: Local SageMaker runs no containers, and no command is configured for image "
                f"{application['ImageUri']!r}. Give the job AppSpecification.ContainerEntrypoint, or start the service "
                "with --image 'PATTERN=COMMAND'."
            )
        return [*given, *arguments]

    def _execute(self, opt_ml: OptMl, command: list[str]) -> None:
        """Run the script, then upload.

        :raises JobError: if the script fails, or S3 refuses.
        """
        backend, job = self._backend, self._job
        now = backend.clock.now()
        stream = backend.logs.open(job.region, LOG_GROUP, f"{job.name}/{HOST}-{int(now)}")
        first = backend.images.path(job.request["AppSpecification"]["ImageUri"])
        given = job.request.get("Environment", {})
        variables = environment(backend.containers, backend.aws, opt_ml, job.region, given, first)
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
        if self.abandoned:
            return
        failed = bool(container.poll()) and not stopped
        for output in _outputs(job.request):
            if not failed or output.get("S3UploadMode") == "Continuous":
                upload_folder(backend.aws.s3, opt_ml.path(output["LocalPath"]), output["S3Uri"])
        self._facts = _exit_message(opt_ml)
        if failed:
            raise JobError(f"AlgorithmError: See job logs for more information, exit code: {container.poll()}")

    def _wait(self, container: Container) -> bool:
        """Wait for the script's end; return whether it was ended here, at a stop or at the end of its time."""
        clock, job = self._backend.clock, self._job
        container.on_exit(job.wake.set)
        deadline = clock.now() + job.max_runtime
        while container.poll() is None:
            job.wake.wait(min(clock.machine_seconds(deadline - clock.now()), threading.TIMEOUT_MAX))
            job.wake.clear()
            if container.poll() is None and (job.stopping or self.abandoned or clock.now() >= deadline):
                if not self.abandoned:
                    job.stop(self._backend)
                end(container, 0 if self.abandoned else self._backend.settings.grace_seconds)
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
    """Return an input as a training job's channel: the same rules of S3 apply to both."""
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
