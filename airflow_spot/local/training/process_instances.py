"""The instances of one start of a training job: a process group per host, under the container contract."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable, Generator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from airflow_spot.local.aws.logs import LogStream
from airflow_spot.local.aws.s3 import S3_ERRORS, pack, upload
from airflow_spot.local.container.channels import fetch_channel
from airflow_spot.local.container.container import Container, OnLine, OptMl, Spec
from airflow_spot.local.container.toolkit import ErrorLines, called_process_error
from airflow_spot.local.errors import JobError
from airflow_spot.local.training.checkpoint_sync import CheckpointSync
from airflow_spot.local.training.command import CODE, Program, fetch_code, program
from airflow_spot.local.training.environment import checkpoint_path, training_environment, write_config_files
from airflow_spot.local.training.failures import of_container
from airflow_spot.local.training.job import FAILURE_REASON_CHARACTERS, TrainingJob
from airflow_spot.local.training.metrics import Metrics

if TYPE_CHECKING:
    from airflow_spot.local.backend import Backend

LOG_GROUP = "/aws/sagemaker/TrainingJobs"
MAX_HOSTS = 32


class Instances(Protocol):
    """What a lifecycle needs of a job's instances. One object per start; one thread at a time calls it."""

    def prepare(self, wake: Callable[[], None]) -> Generator[float, None, None]:
        """Download code, data and checkpoints. Raises JobError.

        Yields how many service seconds it may be left alone, unless ``wake`` is called before. If it is closed,
        nothing that it has started is left.
        """

    def launch(self, wake: Callable[[], None]) -> None:
        """Start the processes; ``wake`` is called when one ends."""

    def horizon(self) -> float:
        """Return service seconds after which :meth:`poll` may answer without ``wake`` having been called."""

    @property
    def sync_seconds(self) -> float:
        """How often :meth:`sync` is to be called, in service seconds."""

    def poll(self) -> int | None:
        """Return the exit code once all hosts have ended: that of the first that failed, else 0."""

    @property
    def ended(self) -> float | None:
        """When the last process ended, in service time; None where that is not known."""

    def sync(self, *, final: bool = False) -> None:
        """Upload checkpoints."""

    def terminate(self) -> None:
        """SIGTERM to every host's process group."""

    def kill(self) -> None:
        """SIGKILL to every process."""

    def failure_reason(self, code: int) -> str:
        """Return the FailureReason of a job whose processes have ended with a code other than 0."""

    def deliver(self, *, model: bool) -> None:
        """Upload the output, and the model if wanted. Raises JobError."""

    def close(self) -> None:
        """Release the instances: nothing of them is left."""


class _Host:
    """One of a job's hosts."""

    def __init__(self, name: str, address: str, scratch: Path, opt_ml: OptMl) -> None:
        self.name = name
        self.address = address
        self.scratch = scratch
        self.opt_ml = opt_ml
        self.checkpoints: CheckpointSync | None = None
        self.program: Program | None = None
        self.container: Container | None = None
        self.stream: LogStream | None = None
        self.errors = ErrorLines()

    def log(self, line: str) -> None:
        """Add a line to its log, once it has one."""
        if self.stream is not None:
            self.stream.write(line)


class ProcessInstances:
    """Instances whose hosts are processes of this machine."""

    def __init__(self, backend: Backend, job: TrainingJob, folder: Path) -> None:
        self._backend = backend
        self._job = job
        self._folder = folder
        self._first_failed: _Host | None = None
        self.ended: float | None = None
        self._metrics = Metrics(job)
        if job.instance_count > MAX_HOSTS:
            raise JobError(
                f"ClientError: InstanceCount {job.instance_count}: one machine stands in for {MAX_HOSTS} hosts"
            )
        shutil.rmtree(folder, ignore_errors=True)
        self._hosts = [self._make_host(number) for number in range(1, job.instance_count + 1)]
        self._names = [host.name for host in self._hosts]

    def _make_host(self, number: int) -> _Host:
        scratch = self._folder / f"algo-{number}"
        opt_ml = self._backend.containers.opt_ml(scratch)
        address = f"127.0.0.{number}"
        # A name resolves only where a namespace has an /etc/hosts of its own; an address always does.
        name = f"algo-{number}" if self._backend.containers.namespace else address
        return _Host(name, address, scratch, opt_ml)

    def prepare(self, wake: Callable[[], None]) -> Generator[float, None, None]:
        backend, job = self._backend, self._job
        s3 = backend.aws.s3
        for index, host in enumerate(self._hosts):
            write_config_files(job, host.opt_ml, host.name, self._names)
            for channel in job.request.get("InputDataConfig", ()):
                folder = host.opt_ml.path(f"/opt/ml/input/data/{channel['ChannelName']}")
                fetch_channel(s3, channel, folder, index, len(self._hosts))
            code = fetch_code(job, s3, host.opt_ml)
            installer = partial(self._install, host.opt_ml, wake)
            host.program = yield from program(job, backend.images, backend.environments, host.opt_ml, installer)
            backend.containers.refuse_hard_coded(code, host.program.command)
            path = checkpoint_path(job)
            if path is not None:
                uri = job.request["CheckpointConfig"]["S3Uri"]
                facts = {"job": job.name, "host": host.name, "start": job.starts}
                local = host.opt_ml.path(path)
                host.checkpoints = CheckpointSync(
                    s3,
                    uri,
                    local,
                    scratch=host.scratch,
                    audit=backend.audit,
                    facts=facts,
                    warn=host.log,
                    markers=backend.settings.checkpoint_markers,
                )
                host.checkpoints.restore()

    def _install(self, opt_ml: OptMl, wake: Callable[[], None], command: list[str], on_line: OnLine) -> Container:
        """Start a command of an installation: on this machine's terms, with its proxies and package indexes."""
        spec = Spec(opt_ml, command, dict(os.environ), opt_ml.see(CODE))
        container = self._backend.containers.start(spec, on_line)
        container.on_exit(wake)
        return container

    def launch(self, wake: Callable[[], None]) -> None:
        for number, host in enumerate(self._hosts, 1):
            host.container = self._start(host, number)
            host.container.on_exit(self._on_exit(host))
            host.container.on_exit(wake)

    def _start(self, host: _Host, number: int) -> Container:
        backend, job = self._backend, self._job
        assert host.program is not None  # noqa: S101 - prepare comes first
        image = job.request.get("AlgorithmSpecification", {}).get("TrainingImage")
        environment = {
            **backend.containers.base_environment(host.opt_ml, backend.images.path(image)),
            **backend.aws.environment,
            "AWS_REGION": job.region,
            "AWS_DEFAULT_REGION": job.region,
            **training_environment(job, host.opt_ml, host.name, self._names, host.program.script),
            **job.request.get("Environment", {}),
        }
        stream = backend.logs.open(job.region, LOG_GROUP, _stream_name(job, number, backend.clock.now()))
        host.stream = stream
        metrics = self._metrics

        def on_line(line: str) -> None:
            stream.write(line)
            host.errors.read(line)
            metrics.read(line, backend.clock.now())

        spec = Spec(
            host.opt_ml,
            host.program.command,
            environment,
            host.opt_ml.see(CODE),
            hostname=f"algo-{number}",
            hosts={f"algo-{index}": other.address for index, other in enumerate(self._hosts, 1)},
        )
        asked = backend.clock.now()
        container = backend.containers.start(spec, on_line)
        backend.audit.write(
            "process",
            action="started",
            kind="training",
            job=job.name,
            host=host.name,
            start=job.starts,
            pid=container.pid,
            asked=asked,
        )
        return container

    def _on_exit(self, host: _Host) -> Callable[[], None]:
        container = host.container
        assert container is not None  # noqa: S101 - it has just been started
        start = self._job.starts

        def record() -> None:
            self.ended = self._backend.clock.now()
            self._backend.audit.write(
                "process",
                action="exited",
                kind="training",
                job=self._job.name,
                host=host.name,
                start=start,
                pid=container.pid,
                code=container.poll(),
                signalled=container.signalled,
            )

        return record

    def horizon(self) -> float:
        return math.inf

    @property
    def sync_seconds(self) -> float:
        return self._backend.settings.checkpoint_seconds

    def _containers(self) -> list[Container]:
        return [host.container for host in self._hosts if host.container is not None]

    def poll(self) -> int | None:
        codes = {host.name: host.container.poll() for host in self._hosts if host.container is not None}
        failed = [host for host in self._hosts if codes.get(host.name)]
        if failed and self._first_failed is None:
            self._first_failed = failed[0]
            # One host's failure is the job's: the others would wait for it for ever.
            self.kill()
        if None in codes.values():
            return None
        return codes[self._first_failed.name] if self._first_failed is not None else 0

    def sync(self, *, final: bool = False) -> None:
        for host in self._hosts:
            if host.checkpoints is not None:
                host.checkpoints.sync(final=final)

    def terminate(self) -> None:
        for container in self._containers():
            container.terminate()

    def kill(self) -> None:
        for container in self._containers():
            container.kill()

    def failure_reason(self, code: int) -> str:
        failed = self._first_failed
        if failed is None or failed.program is None or failed.program.script is None:
            return of_container(self._failure(), code)
        # The toolkit writes over what the script has left in the failure file.
        signal = failed.container.signal if failed.container is not None else 0
        own = -signal if signal else code
        return called_process_error("ExecuteUserScriptError", own, str(failed.errors), failed.program.shown)

    def _failure(self) -> str:
        """Return what the containers left in ``/opt/ml/output/failure``."""
        for host in self._hosts:
            path = host.opt_ml.path("/opt/ml/output/failure")
            if path.is_file():
                with path.open(encoding="utf-8", errors="replace") as file:
                    return file.read(FAILURE_REASON_CHARACTERS)
        return ""

    def deliver(self, *, model: bool) -> None:
        try:
            if model:
                self._deliver("model", self._job.model_uri, always=True)
            self._deliver("output/data", f"{self._job.output_prefix}/output.tar.gz", always=False)
        except S3_ERRORS as error:
            raise JobError(f"ClientError: Artifact upload failed: {self._job.output_prefix}: {error}") from error

    def _deliver(self, name: str, uri: str, *, always: bool) -> None:
        s3 = self._backend.aws.s3
        folders = [host.opt_ml.path(f"/opt/ml/{name}") for host in self._hosts]
        if uri.endswith("/"):
            for folder in folders:
                for file in sorted(path for path in folder.rglob("*") if path.is_file()):
                    upload(s3, file, uri + file.relative_to(folder).as_posix())
            return
        archive = self._folder / "archive.tar.gz"
        if pack(folders, archive) or always:
            upload(s3, archive, uri)
        archive.unlink()

    def close(self) -> None:
        self.kill()
        for host in self._hosts:
            if host.container is not None:
                host.container.wait(30)
            if host.stream is not None:
                self._backend.logs.close_stream(host.stream)
        if not self._backend.settings.keep:
            shutil.rmtree(self._folder, ignore_errors=True)


def _stream_name(job: TrainingJob, number: int, now: float) -> str:
    """Return a new stream for each start, also for two within a second: SageMaker's ends with the time of the start."""
    stamp = max(int(now), job.last_stream + 1) if number == 1 else job.last_stream
    job.last_stream = stamp
    return f"{job.name}/algo-{number}-{stamp}"
