"""The service's own process: builds it, listens, and ends it with all that it started."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import sys
import threading
from collections.abc import Callable
from typing import Any

from werkzeug.serving import LISTEN_QUEUE, BaseWSGIServer, WSGIRequestHandler, make_server
from werkzeug.test import Client

from airflow_spot.local.api.call_rate import CallRate
from airflow_spot.local.aws.events import Events
from airflow_spot.local.aws.logs import Logs
from airflow_spot.local.aws.moto import Aws, load_moto
from airflow_spot.local.aws.s3_mirror import SIGNED, S3Mirror
from airflow_spot.local.backend import Backend
from airflow_spot.local.clock import Clock
from airflow_spot.local.container.container import Containers
from airflow_spot.local.container.images import Images
from airflow_spot.local.container.requirements import Environments
from airflow_spot.local.faults.plan import Faults
from airflow_spot.local.http.application import Application
from airflow_spot.local.http.registry import KINDS, STRIKABLE
from airflow_spot.local.market.capacity import Capacity
from airflow_spot.local.market.placement import Configurations
from airflow_spot.local.market.quotas import parse_quotas
from airflow_spot.local.settings import Settings, url
from airflow_spot.local.storage.audit import Audit
from airflow_spot.local.storage.store import Store
from airflow_spot.local.training.engine import Engine
from airflow_spot.local.training.journal import Journal
from airflow_spot.local.training.recovery import last_time, lock, remember, resume

log = logging.getLogger(__name__)

#: Seconds after which a signal is acted on at the latest.
_LOOK_SECONDS = 0.25


class _Handler(WSGIRequestHandler):
    # The server writes head and body apart; with Nagle's algorithm each answer would wait 40 ms for an ACK.
    disable_nagle_algorithm = True
    clock: Clock

    def date_time_string(self, timestamp: float | None = None) -> str:
        """Return the service's time for an answer's Date, as clients compare it with the times in the answer."""
        return super().date_time_string(self.clock.now() if timestamp is None else timestamp)

    def log_request(self, *args: Any) -> None:
        """Log nothing: calls are in the audit log."""

    def log(self, type: str, message: str, *args: Any) -> None:
        log.debug(message, *args)


def build(settings: Settings) -> Backend:
    """Return a service that does not listen yet, with what an earlier one in the same directory has left.

    :raises ValueError: if a market, quota or fault plan cannot be read.
    :raises OSError: if the directory cannot be written, or another service uses it.
    """
    settings.root.mkdir(parents=True, exist_ok=True)
    lock(settings.root)
    audit = settings.root / "audit.jsonl"
    clock = Clock(settings.time_scale, last_time(audit))
    capacity = Capacity(clock, settings.market, settings.on_demand_market)
    aws = Aws(settings)
    engine = Engine()
    backend = Backend(
        settings=settings,
        clock=clock,
        audit=Audit(audit, clock),
        store=Store(KINDS),
        aws=aws,
        containers=Containers(settings),
        images=Images(settings),
        events=Events(aws),
        logs=Logs(aws, clock),
        capacity=capacity,
        engine=engine,
        call_rate=CallRate(clock, settings.list_rate),
        faults=Faults(settings.faults, STRIKABLE),
        quotas=parse_quotas(settings.quotas),
        environments=Environments(settings.root / "environments"),
        configurations=Configurations(clock),
        journal=Journal(None if settings.temporary else settings.root / "jobs.jsonl"),
    )
    engine.attach(backend)
    remember(backend)
    return backend


def listen(backend: Backend) -> BaseWSGIServer:
    """Bind the port and set the service's own address. Calls wait in the port's queue until :func:`answer`.

    :raises OSError: if the port is taken, or the machine has no such address.
    """
    settings = backend.settings
    # werkzeug would end the process where it cannot bind.
    with _bound(settings.host, settings.port) as bound:
        server = make_server(
            settings.host, settings.port, _not_ready, threaded=True, request_handler=_Handler, fd=bound.fileno()
        )
    backend.aws.endpoint_url = url(settings.host, server.port)
    return server


def _bound(host: str, port: int) -> socket.socket:
    if ":" not in host:
        return socket.create_server((host, port), backlog=LISTEN_QUEUE)
    both = socket.has_dualstack_ipv6()
    return socket.create_server((host, port), family=socket.AF_INET6, backlog=LISTEN_QUEUE, dualstack_ipv6=both)


def _not_ready(environ: Any, start_response: Any) -> Any:
    raise RuntimeError("answer comes first")


def answer(backend: Backend, server: BaseWSGIServer) -> None:
    """Load the rest of AWS and answer, on threads of their own.

    Most of a start's time is moto's, and the callers wait in the port's queue: what they do before they call, such as
    making their own clients, is done at the same time.
    """
    moto, handler = load_moto()
    mirror = None
    if not backend.settings.temporary:
        mirror = S3Mirror(backend.settings.root / "s3", moto)
        mirror.restore()
    server.RequestHandlerClass = type("Handler", (_Handler, handler), {"clock": backend.clock})
    server.app = Application(backend, moto, mirror)
    threading.Thread(target=server.serve_forever, name="http", daemon=True).start()
    # Most callers begin with a bucket; moto loads each of AWS's services at its first call.
    Client(moto).head("/", headers=SIGNED)


def serve(settings: Settings, *, ready: Callable[[Backend], None], lifeline: int | None = None) -> int:
    """Run until SIGTERM, SIGINT or, unless it is ignored as nohup has it, SIGHUP.

    :param ready: called once the port takes calls.
    :param lifeline: a descriptor; the service also ends when it is closed at the other end, however that went.
    :returns: an exit code.
    """
    logging.basicConfig(stream=sys.stderr, level=settings.log_level, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    done = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda *_: done.set())
    died = last_time(settings.root / "audit.jsonl")
    try:
        backend = build(settings)
        server = listen(backend)
    except (ValueError, OSError) as error:
        print(f"airflow-spot local: {error}", file=sys.stderr)  # noqa: T201 - this is a command's error
        # A directory of its own is removed by the caller, who may want to read the log in it.
        return 1
    # Before the first answer, so that no stop or list can meet a job without a thread. What the jobs ask S3 for
    # waits in the port's queue meanwhile.
    resume(backend, died)
    if lifeline is not None:
        threading.Thread(target=_watch, args=(lifeline, done), name="lifeline", daemon=True).start()
    backend.audit.write("service", action="started", pid=os.getpid())
    ready(backend)
    try:
        answer(backend, server)
        # Python runs a signal's handler in this thread alone, and the kernel may give the signal to another one, which
        # does not wake it: so it looks by itself.
        while not done.wait(_LOOK_SECONDS):
            pass
    finally:
        backend.close()
        # It needs no shutdown, which takes half a second: it ends with this process.
        server.server_close()
        _remove(settings)
    return 0


def _remove(settings: Settings) -> None:
    if settings.temporary:
        shutil.rmtree(settings.root, ignore_errors=True)


def _watch(lifeline: int, done: threading.Event) -> None:
    while os.read(lifeline, 1024):
        pass
    done.set()
