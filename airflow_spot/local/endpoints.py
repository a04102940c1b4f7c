"""Endpoints: a serving process each, in service once it answers /ping."""

from __future__ import annotations

import http.client
import logging
import shutil
import socket
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from airflow_spot.local import models
from airflow_spot.local.api import Call, Operations
from airflow_spot.local.backend import Backend
from airflow_spot.local.container import Container, OptMl, Spec
from airflow_spot.local.contract import end, environment
from airflow_spot.local.errors import JobError, validation
from airflow_spot.local.logs import LogStream
from airflow_spot.local.models import Resource
from airflow_spot.local.s3 import S3_ERRORS, S3Uri, download, download_prefix, unpack
from airflow_spot.local.store import arn
from airflow_spot.local.tags import to_dict

log = logging.getLogger(__name__)

SERVING = Path(__file__).with_name("serving.py")
MODEL, CODE = "/opt/ml/model", "/opt/ml/code"
PING_SECONDS = 2.0  # AWS's limit for an answer
STARTUP_SECONDS = 120.0
STOP_SECONDS = 2.0
NOT_HEALTHY = (
    "The primary container for production variant {variant} did not pass the ping health check. "
    "Please check CloudWatch logs for this endpoint."
)


@dataclass
class Endpoint:
    """One endpoint.

    :ivar status: Creating, InService, Failed or Deleting.
    :ivar port: of the serving process, on loopback; 0 while there is none.
    :ivar deleted: set to have its process ended.
    :ivar wake: set when its thread has something to look at.
    """

    region: str
    name: str
    config: Resource
    model: Resource
    creation_time: float
    last_modified: float
    status: str = "Creating"
    failure_reason: str | None = None
    port: int = 0
    deleted: threading.Event = field(default_factory=threading.Event)
    wake: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread | None = None

    @property
    def arn(self) -> str:
        return arn(self.region, "endpoint", self.name)

    @property
    def variant(self) -> str:
        return str(self.config.variant["VariantName"])

    def describe(self) -> dict[str, Any]:
        """The answer of DescribeEndpoint."""
        variant, image = self.config.variant, self.model.container["Image"]
        count = int(variant.get("InitialInstanceCount", 1))
        weight = float(variant.get("InitialVariantWeight", 1.0))
        answer: dict[str, Any] = {
            "EndpointName": self.name,
            "EndpointArn": self.arn,
            "EndpointConfigName": self.config.name,
            "EndpointStatus": self.status,
            "CreationTime": self.creation_time,
            "LastModifiedTime": self.last_modified,
        }
        if self.status == "InService":
            summary = {
                "VariantName": self.variant,
                "DeployedImages": [{"SpecifiedImage": image, "ResolutionTime": self.creation_time}],
                "CurrentWeight": weight,
                "DesiredWeight": weight,
                "CurrentInstanceCount": count,
                "DesiredInstanceCount": count,
            }
            answer["ProductionVariants"] = [summary]
        if self.failure_reason is not None:
            answer["FailureReason"] = self.failure_reason
        return answer


class Serving:
    """The life of one endpoint, on a thread of its own."""

    def __init__(self, backend: Backend, endpoint: Endpoint) -> None:
        self._backend = backend
        self._endpoint = endpoint
        # Two endpoints of one name may overlap for a moment: one is being deleted, one created.
        self._folder = backend.settings.root / "endpoints" / f"{endpoint.name}-{id(endpoint):x}"

    def __call__(self) -> None:
        """Bring the endpoint into service, keep it there until it is deleted, and clear up."""
        endpoint = self._endpoint
        container: Container | None = None
        stream: LogStream | None = None
        try:
            opt_ml = self._backend.containers.opt_ml(self._folder)
            command, variables = self._prepare(opt_ml)
            stream = self._backend.logs.open(
                endpoint.region, f"/aws/sagemaker/Endpoints/{endpoint.name}", f"{endpoint.variant}/local-1"
            )
            spec = Spec(opt_ml, command, variables, opt_ml.seen)
            container = self._backend.containers.start(spec, stream.write)
            container.on_exit(endpoint.wake.set)
            self._await_ping(container)
            self._hold(container)
        except JobError as error:
            self._enter("Failed", str(error))
        except Exception as error:
            log.exception("endpoint %s", endpoint.name)
            self._enter("Failed", f"InternalServerError: {type(error).__name__}: {error}")
        finally:
            endpoint.port = 0
            if container is not None:
                end(container, STOP_SECONDS)
            if stream is not None:
                self._backend.logs.close_stream(stream)
            shutil.rmtree(self._folder, ignore_errors=True)
        # A failed endpoint stays, without a process, until it is deleted.
        endpoint.deleted.wait()
        self._backend.store.endpoints.pop(endpoint.region, endpoint.name)

    def _enter(self, status: str, reason: str | None = None) -> None:
        endpoint = self._endpoint
        if endpoint.status == "Deleting":
            return
        endpoint.status, endpoint.failure_reason = status, reason
        endpoint.last_modified = self._backend.clock.now()
        self._backend.audit.write(
            "state", job=endpoint.name, kind="endpoint", status=status, secondary=None, message=reason
        )

    def _prepare(self, opt_ml: OptMl) -> tuple[list[str], dict[str, str]]:
        """Download model and code; return command and environment."""
        container = self._endpoint.model.container
        for inside in (MODEL, CODE):
            opt_ml.path(inside).mkdir()
        fetch_model(self._backend.aws.s3, container, opt_ml)
        given = dict(container.get("Environment", {}))
        folder = _fetch_code(self._backend.aws.s3, given.get("SAGEMAKER_SUBMIT_DIRECTORY", ""), opt_ml)
        command = self._command(
            container["Image"], f"{folder}/{given.get('SAGEMAKER_PROGRAM', 'inference.py')}", opt_ml
        )
        self._backend.containers.refuse_hard_coded(opt_ml.path(folder).rglob("*.py"), [])
        self._endpoint.port = _free_port()
        contract = {
            "SM_MODEL_DIR": opt_ml.see(MODEL),
            "SAGEMAKER_BIND_TO_PORT": str(self._endpoint.port),
            "SAGEMAKER_SAFE_PORT_RANGE": f"{self._endpoint.port}-{self._endpoint.port}",
        }
        region = self._endpoint.region
        return command, environment(self._backend, opt_ml, region, {**given, **contract})

    def _command(self, image: str, script: str, opt_ml: OptMl) -> list[str]:
        """The image's own server where one was given for it, else ours around the model's script, else its algorithm's.

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

    def _await_ping(self, container: Container) -> None:
        """Return when the container is healthy.

        :raises JobError: if it ends, or does not become healthy in time.
        """
        endpoint, clock = self._endpoint, self._backend.clock
        allowed = endpoint.config.variant.get("ContainerStartupHealthCheckTimeoutInSeconds", STARTUP_SECONDS)
        deadline = clock.now() + float(allowed)
        while not endpoint.deleted.is_set():
            if container.poll() is not None or clock.now() > deadline:
                reason = NOT_HEALTHY.format(variant=endpoint.variant)
                code = container.poll()
                raise JobError(reason if code is None else f"{reason} (It exited with {code}.)")
            if _ping(endpoint.port):
                self._enter("InService")
                return
            endpoint.deleted.wait(0.2)

    def _hold(self, container: Container) -> None:
        """Return when the endpoint is deleted.

        :raises JobError: if the container ends before that.
        """
        while not self._endpoint.deleted.is_set():
            self._endpoint.wake.wait()
            self._endpoint.wake.clear()
            if container.poll() is not None and not self._endpoint.deleted.is_set():
                raise JobError(f"The container of variant {self._endpoint.variant} exited with {container.poll()}.")


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


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _ping(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PING_SECONDS)
    try:
        connection.request("GET", "/ping")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def create_endpoint(backend: Backend, call: Call) -> dict[str, Any]:
    config = models.find(backend.store.endpoint_configs, call.region, call.params["EndpointConfigName"])
    model = models.find(backend.store.models, call.region, config.variant["ModelName"])
    tags = to_dict(call.params.get("Tags", []))
    now = backend.clock.now()
    endpoint = Endpoint(call.region, call.params["EndpointName"], config, model, now, now)
    models.take_name(backend.store.endpoints, call.region, endpoint.name, endpoint)
    if tags:
        backend.store.tags[endpoint.arn] = tags
    endpoint.thread = threading.Thread(target=Serving(backend, endpoint), name=f"endpoint-{endpoint.name}", daemon=True)
    endpoint.thread.start()
    return {"EndpointArn": endpoint.arn}


def describe_endpoint(backend: Backend, call: Call) -> dict[str, Any]:
    endpoint = models.find(backend.store.endpoints, call.region, call.params["EndpointName"])
    return endpoint.describe()


def delete_endpoint(backend: Backend, call: Call) -> dict[str, Any]:
    endpoint = models.find(backend.store.endpoints, call.region, call.params["EndpointName"])
    if endpoint.status == "Creating":
        raise validation(f'Cannot update in-progress endpoint "{endpoint.arn}".')
    endpoint.status = "Deleting"
    endpoint.deleted.set()
    endpoint.wake.set()
    return {}


def close(backend: Backend) -> None:
    """End all endpoints, because the service ends."""
    running = list(backend.store.endpoints)
    for endpoint in running:
        endpoint.deleted.set()
        endpoint.wake.set()
    for endpoint in running:
        if endpoint.thread is not None:
            endpoint.thread.join(10)


OPERATIONS: Operations = {
    "CreateEndpoint": create_endpoint,
    "DescribeEndpoint": describe_endpoint,
    "DeleteEndpoint": delete_endpoint,
}
