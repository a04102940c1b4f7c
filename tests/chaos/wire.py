"""
The way between a run's processes and Local SageMaker, on which calls are struck at exact moments.

One proxy for all runs. A process tells who it is by its credentials: the access key is the run, the session token
its process id. So a worker can be killed before its create reaches the service, between that and the response, or
after it: a moment that no timer would meet.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import select
import signal
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from airflow_spot.core.marks import TAG_DELIVERED, TAG_OWNER
from airflow_spot.local.errors import ServiceError
from airflow_spot.local.faults.plan import ERRORS
from airflow_spot.local.market.quotas import exceeded
from tests.chaos.scenario import ANY, Strike

#: What a process did to have a job for its own.
CREATE, OWN = "create", "own"
#: Between a signal in the middle of a call, and what comes next: its handler calls, too.
SIGNAL_SECONDS = 0.15
#: A caller has no more patience than this.
_HANG_SECONDS = 60.0
_KEY = re.compile(r"Credential=([^/]+)/")
#: All runs' jobs begin with it.
_NAMES = b"run-"
#: Calls that are not SageMaker's.
_OTHER = re.compile(r"S3\.|Logs_")
_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "server", "date", "content-length"})


@dataclass(frozen=True)
class Hit:
    """
    A strike that meets a process.

    :param thaw: lets its call continue, where it was frozen.
    """

    strike: Strike
    pid: int
    thaw: threading.Event = field(default_factory=threading.Event)


class Wire:
    """
    One run's calls.

    :param strikes: what befalls them.
    :param lag: seconds by which a list is late.
    :param own: what the names of the run's jobs begin with.
    :param note: told when a call is held, frozen, or has its process sent SIGTERM.
    :ivar calls: ``(seconds since the epoch, process, operation, what struck it)`` of each call, in order.
    :ivar points: the operation of each call, in order, without those that only repeat what their process called last:
        how often a job is looked at depends on the machine. Nor those that are about other runs' jobs.
    :ivar answered: ``(process, what)`` of each SageMaker call that was carried out: ``create``, ``own`` (it was noted
        whose the job is), or another operation's name.
    :ivar struck: what really befell calls.
    :ivar created_at: when the service first had a job of this run, by the monotonic clock.
    """

    def __init__(self, strikes: tuple[Strike, ...], lag: float, own: str, note: Callable[[Hit], None]) -> None:
        self.lag = lag
        self.calls: list[tuple[float, int, str, str]] = []
        self.jobs: list[str] = []
        self.created_at: float | None = None
        self.points: list[str] = []
        self.answered: list[tuple[int, str]] = []
        self._last: dict[int, tuple[str, str, bytes]] = {}
        self.note = note
        self._own = own.encode()
        self._lock = threading.Lock()
        self.struck: list[str] = []
        self._strikes = [_Progress(strike) for strike in strikes]

    def strike(self, operation: str, path: str, body: bytes, pid: int) -> Hit | None:
        """Say what befalls a call; the first strike that matches counts."""
        names = set() if _OTHER.match(operation) else {operation, "*"}
        if operation == "AddTags" and TAG_DELIVERED.encode() in body:
            names.add("Deliver")
        hit = None
        with self._lock:
            foreign = _NAMES in body and self._own not in body
            if not foreign and self._last.get(pid) != (operation, path, body):
                self._last[pid] = (operation, path, body)
                self.points.append(operation)
                names.add(ANY)
            for progress in self._strikes:
                if (
                    progress.strike.operation in names
                    and self._is_time(progress.strike)
                    and progress.strikes()
                    and not hit
                ):
                    hit = progress.strike
            self.calls.append((time.time(), pid, operation, f"{hit.kind} {hit.when}" if hit else ""))
            if hit is not None:
                self.struck.append(f"{hit.kind} {hit.when} {operation}")
        if hit is None:
            return None
        met = Hit(hit, pid)
        if hit.kind == "hold":
            self.note(met)
        return met

    def _is_time(self, strike: Strike) -> bool:
        created = self.created_at
        return not strike.at or (created is not None and time.monotonic() >= created + strike.at)

    def done(self, operation: str, body: bytes, status: int, pid: int) -> None:
        """Note that the service carried out a call."""
        if status == 200 and not _OTHER.match(operation):
            what = OWN if operation == "AddTags" and TAG_OWNER.encode() in body else operation
            self.answered.append((pid, CREATE if operation == "CreateTrainingJob" else what))
        if operation == "CreateTrainingJob" and status == 200:
            with self._lock:
                self.jobs.append(str(json.loads(body)["TrainingJobName"]))
                if self.created_at is None:
                    self.created_at = time.monotonic()


class _Progress:
    def __init__(self, strike: Strike) -> None:
        self.strike = strike
        self._seen = 0
        self._struck = 0
        self._until: float | None = None

    def strikes(self) -> bool:
        self._seen += 1
        if self._seen < self.strike.nth or self._struck >= self.strike.count:
            return False
        if self.strike.seconds and self.strike.kind != "hold":
            self._until = self._until or time.monotonic() + self.strike.seconds
            if time.monotonic() > self._until:
                return False
        self._struck += 1
        return True


class Proxy:
    """The listening end, in threads of this process."""

    def __init__(self, target: str) -> None:
        self.target = urlsplit(target)
        self.wires: dict[str, Wire] = {}
        proxy = self

        class Handler(_Handler):
            owner = proxy

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, name="proxy", daemon=True).start()

    def environ(self, key: str) -> dict[str, str]:
        """Give what a process of a run needs to come this way."""
        here = {"AWS_ENDPOINT_URL": self.url, "AWS_DEFAULT_REGION": "us-east-1"}
        return {**here, "AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": "secret"}

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that was killed breaks its connection: nothing to tell."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    owner: Proxy

    def log_message(self, format: str, *args: Any) -> None:
        """Calls are in the wire's own list."""

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        match = _KEY.search(self.headers.get("Authorization", ""))
        wire = self.owner.wires.get(match[1]) if match else None
        operation = self.headers.get("X-Amz-Target", f"S3.{self.command}").removeprefix("SageMaker.")
        pid = int(self.headers.get("X-Amz-Security-Token") or 0)
        hit = wire.strike(operation, self.path, body, pid) if wire else None
        if hit is not None and hit.strike.kind == "hold":
            time.sleep(hit.strike.seconds)
            hit = None
        when = hit.strike.when if hit is not None else ""
        if hit is not None and when == "before" and self._befall(hit, wire, body):
            return
        status, headers, content = self._forward(body)
        if wire is not None:
            wire.done(operation, body, status, pid)
            if wire.lag and operation == "ListTrainingJobs" and status == 200:
                shown, content = content, _late(content, wire.lag)
                if shown != content:
                    wire.struck.append("lag ListTrainingJobs")
        if hit is not None and when == "during" and self._befall(hit, wire, body):
            return
        with contextlib.suppress(OSError):
            self._send(status, headers, content)
        if hit is not None and when == "after":
            self._befall(hit, wire, body)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = _answer

    def _befall(self, hit: Hit, wire: Wire | None, body: bytes) -> bool:
        """Do it; return whether the call is over."""
        strike, pid = hit.strike, hit.pid
        if strike.kind in ("freeze", "term", "term-twice"):
            self._signal(hit, wire)
            return False
        if strike.kind in ("kill", "cut", "timeout"):
            if strike.kind == "kill":
                _send_signal(pid, signal.SIGKILL)
            if strike.kind == "timeout":  # no answer, until the caller has enough
                select.select([self.connection], [], [], _HANG_SECONDS)
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)
            return True
        error = _quota(body) if strike.kind == "quota" else ERRORS[strike.kind]
        content = json.dumps({"__type": error.code, "message": error.message}).encode()
        kind = {"Content-Type": "application/x-amz-json-1.1", "x-amzn-ErrorType": error.code}
        with contextlib.suppress(OSError):
            self._send(error.status, kind, content)
        return True

    def _signal(self, hit: Hit, wire: Wire | None) -> None:
        """Send a process its signal in the middle of its call, which then continues."""
        if hit.strike.kind == "freeze":
            _send_signal(hit.pid, signal.SIGSTOP)
            if wire is not None:
                wire.note(hit)
            if hit.strike.when == "before":
                hit.thaw.wait(_HANG_SECONDS)
            return
        if wire is not None:
            wire.note(hit)
        for _ in range(2 if hit.strike.kind == "term-twice" else 1):
            _send_signal(hit.pid, signal.SIGTERM)
            time.sleep(SIGNAL_SECONDS)

    def _forward(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        target = self.owner.target
        connection = http.client.HTTPConnection(target.hostname or "", target.port, timeout=60)
        try:
            headers = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "expect")}
            headers["Connection"] = "close"
            connection.request(self.command, self.path, body or None, {**headers, "Host": str(target.netloc)})
            answer = connection.getresponse()
            content = answer.read()
            kept = {name: value for name, value in answer.getheaders() if name.lower() not in _HOP}
            if self.command == "HEAD":
                kept["Content-Length"] = answer.getheader("Content-Length") or "0"
            return answer.status, kept, content
        finally:
            connection.close()

    def _send(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if "Content-Length" not in headers:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        self.wfile.flush()


def _send_signal(pid: int, number: int) -> None:
    if pid > 1:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _late(content: bytes, lag: float) -> bytes:
    """Take out of a list what was created lately."""
    answer = json.loads(content)
    limit = time.time() - lag
    jobs = answer.get("TrainingJobSummaries", ())
    shown = [job for job in jobs if float(job["CreationTime"]) < limit]
    return content if len(shown) == len(jobs) else json.dumps({**answer, "TrainingJobSummaries": shown}).encode()


def _quota(body: bytes) -> ServiceError:
    resources = json.loads(body).get("ResourceConfig", {})
    return exceeded(str(resources.get("InstanceType")), True, 0, used=0, wanted=1)
