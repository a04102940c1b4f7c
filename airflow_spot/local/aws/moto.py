"""The rest of AWS, which is moto, and clients that talk to it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import boto3
from botocore.config import Config

from airflow_spot.local.settings import Settings

if TYPE_CHECKING:
    from werkzeug.serving import WSGIRequestHandler

WsgiApp: TypeAlias = Callable[[dict[str, Any], Any], Iterable[bytes]]

SDK_CONFIG = Path(__file__).with_name("sagemaker_sdk.yaml")
ACCESS_KEY = "local"
SECRET_KEY = "local"  # noqa: S105 - nothing checks it, and AWS would refuse it


#: What moto's server is made of; the extra ``local`` brings it.
MOTO = ("moto", "flask", "flask_cors")


def require_moto() -> None:
    """
    Find moto, without the half second that it takes to load it.

    :raises ModuleNotFoundError: if it is not installed.
    """
    for name in MOTO:
        if find_spec(name) is None:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def load_moto() -> tuple[WsgiApp, type[WSGIRequestHandler]]:
    """
    Return moto's server, and the handler that keeps what S3 needs of a request's head.

    The server is S3, STS, IAM, CloudWatch Logs, ..., by the service that a request is signed for.

    The one place that touches moto's dispatcher, which is half private: a release that moves it breaks here only.
    """
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app

    dispatcher = DomainDispatcherApplication(create_backend_app)
    # By itself it lists moto's source directory at every request, which is a third of what a small S3 call costs.
    dispatcher.get_backend_for_host = lru_cache(maxsize=256)(dispatcher.get_backend_for_host)
    return dispatcher, MotoRequestHandler


def environment(endpoint_url: str, region: str) -> dict[str, str]:
    """Return the variables that send an unchanged AWS client here."""
    return {
        "AWS_ENDPOINT_URL": endpoint_url,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_DEFAULT_REGION": region,
        "AWS_REGION": region,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def client_environment(endpoint_url: str, region: str) -> dict[str, str]:
    """Return :func:`environment`, and what else the SageMaker SDKs need. Not for jobs: it names a file."""
    return {**environment(endpoint_url, region), "SAGEMAKER_ADMIN_CONFIG_OVERRIDE": str(SDK_CONFIG)}


class Aws:
    """boto3 clients for this very service, over its own HTTP port. Thread-safe, and so are the clients."""

    def __init__(self, settings: Settings) -> None:
        self.endpoint_url = ""
        self._settings = settings
        self._clients: dict[tuple[str, str], Any] = {}
        self._lock = threading.Lock()

    @property
    def environment(self) -> dict[str, str]:
        """What a job's process gets, so that its boto3 talks to this service."""
        return environment(self.endpoint_url, self._settings.region)

    def client(self, name: str, region: str | None = None) -> Any:
        """Return a client, made once per service and region.

        :param name: e.g. ``s3`` or ``logs``.
        :param region: default: that of the settings.
        """
        where = region or self._settings.region
        with self._lock:
            if (name, where) not in self._clients:
                self._clients[name, where] = make_client(name, self.endpoint_url, where)
            return self._clients[name, where]

    @property
    def s3(self) -> Any:
        """The S3 client. Buckets belong to the account, whatever the region."""
        return self.client("s3")


def make_client(name: str, endpoint_url: str, region: str, **config: Any) -> Any:
    """Return a boto3 client that nothing on this machine can send elsewhere: no profile, no proxy, no config file."""
    with _making_client:
        return _session().client(
            name,
            region_name=region,
            endpoint_url=endpoint_url,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            config=Config(
                proxies={},
                max_pool_connections=32,
                retries={"max_attempts": 2, "mode": "standard"},
                s3={"addressing_style": "path"},
                **config,
            ),
        )


#: boto3's clients are thread-safe, its sessions are not.
_making_client = threading.Lock()


@lru_cache(maxsize=1)
def _session() -> Any:
    """Return the session of all clients: reading SageMaker's model takes 0.2 s, and a session keeps it."""
    return boto3.session.Session()
