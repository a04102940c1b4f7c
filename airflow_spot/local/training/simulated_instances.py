"""Instances without processes: a job "trains" for a time, so that thousands fit on one core.

``--engine simulated``. What a job does is in its hyperparameters (JSON or plain text), all optional:

==================================  ========================================================================
``simulated_seconds``               seconds of training that it needs in all (default 60)
``simulated_checkpoint_seconds``    seconds between checkpoints (default 30)
``simulated_exit_code``             what its script would exit with in the end (default 0)
``simulated_failure``               what its script would write to ``/opt/ml/output/failure``, or in script mode what
                                    error it would print
``simulated_metric``                in the end, the value of every metric that its MetricDefinitions name
==================================  ========================================================================

Its checkpoint is one small file, ``progress.json``, which goes to S3 and back through the same code as those of real
processes; a start resumes from it. The model is a small model.tar.gz. It writes no log.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_spot.local.aws.s3 import S3_ERRORS, pack, upload
from airflow_spot.local.container.toolkit import called_process_error
from airflow_spot.local.errors import JobError
from airflow_spot.local.training.checkpoint_sync import CheckpointSync
from airflow_spot.local.training.environment import arguments, decode, user_hyperparameters
from airflow_spot.local.training.failures import of_container
from airflow_spot.local.training.job import TrainingJob
from airflow_spot.local.training.metrics import Metrics

if TYPE_CHECKING:
    from airflow_spot.local.backend import Backend

PROGRESS = "progress.json"
HOST = "algo-1"
TERMINATED, KILLED = 143, 137


class SimulatedInstances:
    """All hosts of one start of a job; what they write is written once. See
    :class:`airflow_spot.local.training.process_instances.Instances` for the methods."""

    def __init__(self, backend: Backend, job: TrainingJob, folder: Path) -> None:
        self._backend = backend
        self._job = job
        self._folder = folder
        values = decode(job.request.get("HyperParameters", {}))
        self._needed = _number(values, "simulated_seconds", 60.0)
        self._interval = _number(values, "simulated_checkpoint_seconds", 30.0)
        self._exit_code = int(_number(values, "simulated_exit_code", 0.0))
        self._failure = str(values.get("simulated_failure", ""))
        self._metric = _number(values, "simulated_metric", math.nan)
        self._done = 0.0
        self._started: float | None = None
        self._signal: int | None = None
        self._recorded = False
        self.ended: float | None = None
        self._checkpoints: CheckpointSync | None = None

    def prepare(self, wake: Callable[[], None]) -> Generator[float, None, None]:
        yield from ()  # it never waits
        job = self._job
        config = job.request.get("CheckpointConfig")
        if config is None:
            return
        local = self._folder / "checkpoints"
        local.mkdir(parents=True, exist_ok=True)
        facts = {"job": job.name, "host": HOST, "start": job.starts}
        self._checkpoints = CheckpointSync(
            self._backend.aws.s3,
            config["S3Uri"],
            local,
            scratch=self._folder,
            audit=self._backend.audit,
            facts=facts,
            markers=False,
        )
        self._checkpoints.restore()
        progress = local / PROGRESS
        if progress.exists():
            self._done = float(json.loads(progress.read_text(encoding="utf-8"))["seconds"])
            self._record_progress("resumed", self._done)

    def launch(self, wake: Callable[[], None]) -> None:
        self._started = self._backend.clock.now()
        self._record("started")

    def horizon(self) -> float:
        return max(0.0, self._needed - self._trained())

    @property
    def sync_seconds(self) -> float:
        return self._interval if self._checkpoints is not None else math.inf

    def _trained(self) -> float:
        """Return seconds of training so far, over all starts that had a checkpoint."""
        since = 0.0 if self._started is None else self._backend.clock.now() - self._started
        return min(self._needed, self._done + since)

    def poll(self) -> int | None:
        code = self._signal
        if code is None and self._trained() >= self._needed:
            code = self._exit_code
            assert self._started is not None  # noqa: S101 - else it is not polled
            self.ended = self._started + self._needed - self._done
        if code is not None and not self._recorded:
            self._recorded = True
            self._record("exited", code=code)
            if self._signal is None and not math.isnan(self._metric):
                Metrics(self._job).final(self._metric, self._backend.clock.now())
        return code

    def _record(self, action: str, **fields: Any) -> None:
        job = self._job
        self._backend.audit.write(
            "process", action=action, kind="training", job=job.name, host=HOST, start=job.starts, pid=None, **fields
        )

    def sync(self, *, final: bool = False) -> None:
        if self._checkpoints is not None:
            path = self._folder / "checkpoints" / PROGRESS
            trained = self._trained()
            path.write_text(json.dumps({"seconds": trained}), encoding="utf-8")
            if self._checkpoints.sync(final=final):
                self._record_progress("saved", trained)

    def _record_progress(self, action: str, seconds: float) -> None:
        job = self._job
        uri = job.request["CheckpointConfig"]["S3Uri"]
        self._backend.audit.write("progress", action=action, job=job.name, start=job.starts, uri=uri, seconds=seconds)

    def terminate(self) -> None:
        self._end(TERMINATED)

    def kill(self) -> None:
        self._end(KILLED)

    def _end(self, code: int) -> None:
        if self._started is not None and self.poll() is None:
            self._done, self._started = self._trained(), None
            self._signal = code
            self.poll()

    def failure_reason(self, code: int) -> str:
        script = decode(self._job.request.get("HyperParameters", {})).get("sagemaker_program")
        if not script:
            return of_container(self._failure, code)
        command = " ".join(["python", str(script), *arguments(user_hyperparameters(self._job))])
        return called_process_error("ExecuteUserScriptError", code, self._failure, command)

    def deliver(self, *, model: bool) -> None:
        if not model:
            return
        folder = self._folder / "model"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "model.json").write_text(json.dumps({"seconds": self._trained()}), encoding="utf-8")
        archive = self._folder / "model.tar.gz"
        pack([folder], archive)
        try:
            upload(self._backend.aws.s3, archive, self._job.model_uri.rstrip("/"))
        except S3_ERRORS as error:
            raise JobError(f"ClientError: Artifact upload failed: {self._job.output_prefix}: {error}") from error

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)


def _number(values: dict[str, Any], name: str, default: float) -> float:
    value = values.get(name, default)
    try:
        return float(value)
    except (TypeError, ValueError):
        # Without its value, which may not come into logs.
        raise JobError(f"ClientError: hyperparameter {name} is no number, which the simulated engine needs") from None
