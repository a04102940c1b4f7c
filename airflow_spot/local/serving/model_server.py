"""A model's serving process: what stands behind an endpoint's variant, and behind a transform job.

As "Use Your Own Inference Code" in the developer guide has it, for hosting and for batch transform alike: model data
in ``/opt/ml/model``, the image run with ``serve``, GET /ping answered with 200, POST /invocations with a prediction.
"""

from __future__ import annotations

import http.client
import shutil
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_spot.local.aws.s3 import S3_ERRORS, S3Uri, download, download_prefix, unpack
from airflow_spot.local.container.container import Container, OptMl, Spec
from airflow_spot.local.container.helpers import end, environment
from airflow_spot.local.errors import JobError
from airflow_spot.local.serving.ports import free_port

if TYPE_CHECKING:
    from airflow_spot.local.aws.logs import LogStream
    from airflow_spot.local.backend import Backend

SERVING = Path(__file__).with_name("inference_server.py")
MODEL, CODE = "/opt/ml/model", "/opt/ml/code"
PING_SECONDS = 2.0  # AWS's limit for an answer
STARTUP_SECONDS = 120.0
STOP_SECONDS = 2.0


@dataclass(frozen=True)
class Owner:
    """The endpoint or job of a serving process.

    :param kind: the audit log's word: ``endpoint`` or ``transform``.
    :param name: of the endpoint or job.
    :param group: where its log goes.
    :param stream: in that group; it is also what the audit log has as the host.
    """

    kind: str
    region: str
    name: str
    group: str
    stream: str


@dataclass(frozen=True)
class Answer:
    """What a model answered to an invocation.

    :param headers: by name, in whatever case the model wrote it.
    """

    status: int
    body: bytes
    headers: http.client.HTTPMessage


class ModelServer:
    """One serving process on a port of its own. ``ask`` and ``stop`` may be called on any thread, the rest by its owner
    only.

    :param container: PrimaryContainer of the model.
    :param folder: for its ``/opt/ml``; removed when it ends.
    """

    def __init__(self, backend: Backend, owner: Owner, container: dict[str, Any], folder: Path) -> None:
        self._backend = backend
        self._owner = owner
        self._model = container
        self._folder = folder
        self._container: Container | None = None
        self._stream: LogStream | None = None
        self._opt_ml: OptMl | None = None
        self._command: list[str] = []
        self._variables: dict[str, str] = {}
        self._starts = 0
        self.port = 0

    def start(self, given: Mapping[str, str], on_exit: Callable[[], None]) -> None:
        """Fetch model and code, and start the process. It does not answer yet.

        :param given: variables that go over those of the model.
        :param on_exit: called once, on another thread, when the process has ended.
        :raises JobError: if there is nothing to serve, or S3 refuses.
        """
        self._opt_ml = self._backend.containers.opt_ml(self._folder)
        self._command, self._variables = self._prepare(self._opt_ml, given)
        owner = self._owner
        self._stream = self._backend.logs.open(owner.region, owner.group, owner.stream)
        self._run(on_exit)

    def restart(self, on_exit: Callable[[], None]) -> None:
        """Start the process once more, over the model and the code that are there [A]; one that still runs is ended.

        :param on_exit: as for :meth:`start`, which has been called.
        :raises JobError: if it cannot be started.
        """
        self._end()
        self._run(on_exit)

    def _run(self, on_exit: Callable[[], None]) -> None:
        opt_ml, stream = self._opt_ml, self._stream
        assert opt_ml is not None and stream is not None  # noqa: S101 - start has made both
        # A new one each time: the system may not give one back at once.
        self.port = free_port()
        port = {"SAGEMAKER_BIND_TO_PORT": str(self.port), "SAGEMAKER_SAFE_PORT_RANGE": f"{self.port}-{self.port}"}
        spec = Spec(opt_ml, self._command, {**self._variables, **port}, opt_ml.seen)
        self._container = self._backend.containers.start(spec, stream.write)
        self._starts += 1
        self._audit("started", self._container)
        self._container.on_exit(on_exit)

    def _prepare(self, opt_ml: OptMl, variables: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
        """Download model and code; return command and environment, which has no port yet."""
        model = self._model
        for inside in (MODEL, CODE):
            opt_ml.path(inside).mkdir()
        fetch_model(self._backend.aws.s3, model, opt_ml)
        given = {**model.get("Environment", {}), **variables}
        folder = _fetch_code(self._backend.aws.s3, given.get("SAGEMAKER_SUBMIT_DIRECTORY", ""), opt_ml)
        script = f"{folder}/{given.get('SAGEMAKER_PROGRAM', 'inference.py')}"
        command = self._serve(model["Image"], script, opt_ml)
        self._backend.containers.refuse_hard_coded(opt_ml.path(folder).rglob("*.py"), [str(opt_ml.path(script))])
        contract = {**given, "SM_MODEL_DIR": opt_ml.see(MODEL)}
        return command, environment(self._backend.containers, self._backend.aws, opt_ml, self._owner.region, contract)

    def _serve(self, image: str, script: str, opt_ml: OptMl) -> list[str]:
        """Return the command: the server given for the image, else ours for the model's script, else its algorithm's.

        :raises JobError: if there is none of these.
        """
        given = self._backend.images.entrypoint(image)
        if given is not None:
            return [*given, "serve"]
        if opt_ml.path(script).is_file():
            interpreter = self._backend.images.interpreter(image)
            return [*interpreter, str(SERVING), "--script", opt_ml.see(script), "--model-dir", opt_ml.see(MODEL)]
        built_in = self._backend.images.built_in(image)
        if built_in is not None:
            return [*built_in, "serve"]
        raise JobError(
            f"Local SageMaker runs no containers and finds nothing that serves: there is no {script}, and no server "
            f"was given for the image {image!r}. Put code/inference.py into model.tar.gz, set SAGEMAKER_PROGRAM and "
            "SAGEMAKER_SUBMIT_DIRECTORY in the model's Environment, or start the service with "
            "--image 'PATTERN=COMMAND'."
        )

    def await_ping(self, seconds: float, cancelled: threading.Event) -> bool:
        """Wait until it answers /ping.

        :param seconds: how long, in service time.
        :param cancelled: ends the wait.
        :returns: False if it has ended, was cancelled, or did not answer in time.
        """
        clock = self._backend.clock
        deadline = clock.now() + seconds
        while not cancelled.is_set() and self.poll() is None and clock.now() <= deadline:
            if self._ping():
                return True
            cancelled.wait(0.1)
        return False

    def _ping(self) -> bool:
        try:
            return self._request("GET", "/ping", PING_SECONDS).status == 200
        except (OSError, http.client.HTTPException):
            return False

    def get(self, path: str) -> Answer:
        """Return what it answers to a GET; raises as :meth:`ask` does."""
        return self._request("GET", path, PING_SECONDS)

    def ask(self, body: bytes, headers: Mapping[str, str], seconds: float) -> Answer:
        """Return the answer to a POST to /invocations.

        :param seconds: the longest wait for an answer.
        :raises TimeoutError: if there was none in time.
        :raises OSError: or HTTPException, if the process does not listen or breaks the connection.
        """
        return self._request("POST", "/invocations", seconds, body, headers)

    def _request(
        self,
        method: str,
        path: str,
        seconds: float,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)
        try:
            connection.request(method, path, body=body, headers=dict(headers or {}))
            answer = connection.getresponse()
            return Answer(answer.status, answer.read(), answer.headers)
        finally:
            connection.close()

    def poll(self) -> int | None:
        """Return its exit code, or None while it runs or has not started."""
        return None if self._container is None else self._container.poll()

    def terminate(self) -> None:
        """Ask it to end. Does not wait."""
        if self._container is not None:
            self._container.terminate()

    def stop(self, grace_seconds: float) -> None:
        """End its process: SIGTERM, up to ``grace_seconds``, then SIGKILL, which breaks the connections to it."""
        container = self._container
        if container is not None:
            end(container, grace_seconds)

    def close(self) -> None:
        """End it, and remove what it had. May be called again, and before it has started."""
        self._end()
        stream, self._stream = self._stream, None
        if stream is not None:
            self._backend.logs.close_stream(stream)
        if not self._backend.settings.keep:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _end(self) -> None:
        container, self._container = self._container, None
        if container is not None:
            end(container, STOP_SECONDS)
            self._audit("exited", container, code=container.poll())

    def _audit(self, action: str, container: Container, **more: Any) -> None:
        self._backend.audit.write(
            "process",
            action=action,
            kind=self._owner.kind,
            job=self._owner.name,
            host=self._owner.stream,
            start=self._starts,
            pid=container.pid,
            **more,
        )


def fetch_model(s3: Any, container: dict[str, Any], opt_ml: OptMl) -> None:
    """Unpack a model's data into ``/opt/ml/model``.

    :raises JobError: if it cannot be read.
    """
    source = container.get("ModelDataSource", {}).get("S3DataSource", {})
    uri = source.get("S3Uri") or container.get("ModelDataUrl")
    if not uri:
        return
    if source.get("CompressionType") == "None":
        download_prefix(s3, uri, opt_ml.path(MODEL))
        return
    _fetch_archive(s3, uri, opt_ml.path(MODEL), opt_ml)


def _fetch_code(s3: Any, directory: str, opt_ml: OptMl) -> str:
    """Return the folder of the model's code: the model's own, or one that is unpacked from S3."""
    if not directory.startswith("s3://"):
        return directory.rstrip("/") or f"{MODEL}/code"
    _fetch_archive(s3, directory, opt_ml.path(CODE), opt_ml)
    return CODE


def _fetch_archive(s3: Any, uri: str, folder: Path, opt_ml: OptMl) -> None:
    source = S3Uri.parse(uri)
    archive = opt_ml.host.parent / "archive.tar.gz"
    try:
        download(s3, source.bucket, source.key, archive)
    except S3_ERRORS as error:
        raise JobError(f"Could not download {uri}: {error}") from error
    unpack(archive, folder)
    archive.unlink()
