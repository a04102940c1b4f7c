"""The life of a transform job: the model's process comes up, each object goes through it, the results go to S3.

As "Use Batch Transform" and "Use Your Own Inference Code with Batch Transform" in the developer guide have it: an
object whose every record succeeds has an ``.out``; if any object fails the job fails, and the others are still there;
a job that is stopped stores nothing.
"""

from __future__ import annotations

import http.client
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_spot.local.aws.s3 import S3_ERRORS, S3Uri, objects, upload
from airflow_spot.local.container.channels import read_manifest
from airflow_spot.local.errors import JobError, JobStopped
from airflow_spot.local.job_threads import Runner
from airflow_spot.local.serving.model_server import STARTUP_SECONDS, ModelServer, Owner
from airflow_spot.local.transform.objects import SEE_LOGS, Item, Limits, Transform

if TYPE_CHECKING:
    from airflow_spot.local.backend import Backend
    from airflow_spot.local.transform.job import TransformJob

LOG_GROUP = "/aws/sagemaker/TransformJobs"


class TransformRunner(Runner):
    """Runs one transform job."""

    def __init__(self, backend: Backend, job: TransformJob) -> None:
        super().__init__(f"transform job {job.name}")
        self._backend = backend
        self._job = job
        self._folder = backend.settings.root / "transform" / job.region / job.name

    def clean_up(self) -> None:
        if not self._backend.settings.keep:
            shutil.rmtree(self._folder, ignore_errors=True)

    def record_end(self, failure: str | None) -> None:
        with self._job.lock:
            if self._job.stopping.is_set():
                self._job.finish(self._backend, "Stopped")
            else:
                self._job.finish(self._backend, "Completed" if failure is None else "Failed", failure)

    def wake(self) -> None:
        self._job.stop(0.0)

    def run(self) -> None:
        """Do the job.

        :raises JobError: with the reason, if it fails.
        :raises JobStopped: if it is to end.
        """
        backend, job = self._backend, self._job
        now = backend.clock.now()
        with job.lock:
            job.facts["TransformStartTime"] = now
        items = self._items()
        stream = f"{job.name}/local-1-{int(now)}"
        owner = Owner("transform", job.region, job.name, LOG_GROUP, stream)
        server = ModelServer(backend, owner, job.model.container, self._folder / "model")
        notes = backend.logs.open(job.region, LOG_GROUP, f"{stream}/data-log")
        try:
            self._start(server)
            limits = Limits.of(job.request, _execution_parameters(server))
            notes.write(str(limits))
            transform = Transform(job.request, server, limits, notes, self._folder / "objects", job.stopping)
            files, failure = transform.all(backend.aws.s3, items)
        finally:
            server.close()
            backend.logs.close_stream(notes)
        self._store(files)
        if failure is not None:
            raise failure

    def _items(self) -> list[Item]:
        """Return the objects of the input.

        :raises JobError: ClientError, if there are none or S3 refuses.
        """
        source = self._job.request["TransformInput"]["DataSource"]["S3DataSource"]
        s3, uri = self._backend.aws.s3, source["S3Uri"]
        if source["S3DataType"] == "ManifestFile":
            named = [(S3Uri.parse(prefix + name), name) for prefix, name in read_manifest(s3, uri)]
            items = [Item(where.bucket, where.key, f"{name.lstrip('/')}.out") for where, name in named]
        else:
            where = S3Uri.parse(uri)
            try:
                keys = [item.key for item in objects(s3, where.bucket, where.key)]
            except S3_ERRORS as error:
                raise JobError(f"ClientError: Data download failed: {uri}: {error}") from error
            items = [Item(where.bucket, key, f"{below(where.key, key)}.out") for key in keys]
        if not items:
            raise JobError(f'ClientError: No S3 objects found under S3 URL "{uri}" given in the transform input.')
        return items

    def _start(self, server: ModelServer) -> None:
        """Start the model's process and wait until it answers.

        :raises JobError: if it does not.
        :raises JobStopped: if the job is to end before it does.
        """
        request, stopping = self._job.request, self._job.stopping
        variables = {"SAGEMAKER_BATCH": "true"}
        for member, variable in (
            ("MaxPayloadInMB", "SAGEMAKER_MAX_PAYLOAD_IN_MB"),
            ("MaxConcurrentTransforms", "SAGEMAKER_MAX_CONCURRENT_TRANSFORMS"),
        ):
            if member in request:
                variables[variable] = str(request[member])
        if "BatchStrategy" in request:
            strategy = "SINGLE_RECORD" if request["BatchStrategy"] == "SingleRecord" else "MULTI_RECORD"
            variables["SAGEMAKER_BATCH_STRATEGY"] = strategy
        server.start({**variables, **request.get("Environment", {})}, lambda: None)
        self._job.server = server
        # A stop before this has found no process to end.
        if not server.await_ping(STARTUP_SECONDS, stopping):
            if stopping.is_set():
                raise JobStopped
            code = server.poll()
            ended = "" if code is None else f" (It exited with {code}.)"
            raise JobError(f"AlgorithmError: The model did not pass the ping health check. {SEE_LOGS}{ended}")

    def _store(self, files: list[tuple[Item, Path]]) -> None:
        """Upload the results; nothing is left of them if the job is stopped meanwhile [D].

        :raises JobError: ClientError, if S3 refuses.
        """
        s3, path = self._backend.aws.s3, self._job.request["TransformOutput"]["S3OutputPath"].rstrip("/")
        stored = []
        try:
            for item, file in files:
                if self._job.stopping.is_set():
                    break
                upload(s3, file, f"{path}/{item.output}")
                stored.append(S3Uri.parse(f"{path}/{item.output}"))
            if self._job.stopping.is_set():
                for uri in stored:
                    s3.delete_object(Bucket=uri.bucket, Key=uri.key)
                raise JobStopped
        except S3_ERRORS as error:
            raise JobError(f"ClientError: results cannot be written to {path}: {error}") from error


def below(prefix: str, key: str) -> str:
    """Return what an object is called below S3OutputPath: its key without the folder that the prefix names.

    [T] for a folder. [A] for a prefix that ends within a name, where what is before its last slash is that folder.
    """
    folder = prefix if prefix.endswith("/") or key[len(prefix) :].startswith("/") else prefix[: prefix.rfind("/") + 1]
    return key[len(folder) :].lstrip("/")


def _execution_parameters(server: ModelServer) -> dict[str, Any]:
    """Return what the model asks for, if it answers GET /execution-parameters [D]."""
    try:
        answer = server.get("/execution-parameters")
        asked = json.loads(answer.body) if answer.status == 200 else {}
    except (OSError, http.client.HTTPException, ValueError):
        return {}
    return asked if isinstance(asked, dict) else {}
