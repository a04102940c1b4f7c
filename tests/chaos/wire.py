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
import signal
import socket
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from airflow_spot.core.marks import TAG_DELIVERED
from airflow_spot.local.errors import ServiceError
from airflow_spot.local.faults.plan import ERRORS
from airflow_spot.local.market.quotas import exceeded
from tests.chaos.scenario import Strike

_KEY = re.compile(r"Credential=([^/]+)/")
_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "server", "date", "content-length"})


class Wire:
    """
    One run's calls.

    :param strikes: what befalls them.
    :param lag: seconds by which a list is late.
    :param on_hold: told when a call is held.
    :ivar calls: ``(seconds since the epoch, process, operation, what struck it)`` of each call, in order.
    :ivar struck: what really befell calls.
    :ivar created_at: when the service first had a job of this run, by the monotonic clock.
    """

    def __init__(self, strikes: tuple[Strike, ...], lag: float, on_hold: Callable[[], None]) -> None:
        self.lag = lag
        self.calls: list[tuple[float, int, str, str]] = []
        self.jobs: list[str] = []
        self.created_at: float | None = None
        self._on_hold = on_hold
        self._lock = threading.Lock()
        self.struck: list[str] = []
        self._strikes = [_Progress(strike) for strike in strikes]

    def strike(self, operation: str, body: bytes, pid: int) -> Strike | None:
        """Say what befalls a call; the first strike that matches counts."""
        names = {operation, "*"}
        if operation == "AddTags" and TAG_DELIVERED.encode() in body:
            names.add("Deliver")
        hit = None
        with self._lock:
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
        if hit is not None and hit.kind == "hold":
            self._on_hold()
        return hit

    def _is_time(self, strike: Strike) -> bool:
        created = self.created_at
        return not strike.at or (created is not None and time.monotonic() >= created + strike.at)

    def done(self, operation: str, body: bytes, status: int) -> None:
        """Note that the service carried out a call."""
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
        operation = self.headers.get("X-Amz-Target", "").removeprefix("SageMaker.")
        pid = int(self.headers.get("X-Amz-Security-Token") or 0)
        hit = wire.strike(operation, body, pid) if wire and operation else None
        if hit is not None and hit.kind == "hold":
            time.sleep(hit.seconds)
            hit = None
        if hit is not None and hit.when == "before" and self._befall(hit, pid, body):
            return
        status, headers, content = self._forward(body)
        if wire is not None:
            wire.done(operation, body, status)
            if wire.lag and operation == "ListTrainingJobs" and status == 200:
                shown, content = content, _late(content, wire.lag)
                if shown != content:
                    wire.struck.append("lag ListTrainingJobs")
        if hit is not None and hit.when == "during" and self._befall(hit, pid, body):
            return
        with contextlib.suppress(OSError):
            self._send(status, headers, content)
        if hit is not None and hit.when == "after":
            self._befall(hit, pid, body)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = _answer

    def _befall(self, hit: Strike, pid: int, body: bytes) -> bool:
        """Do it; return whether the call is over."""
        if hit.kind in ("kill", "cut"):
            if hit.kind == "kill" and pid > 1:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)
            return True
        error = _quota(body) if hit.kind == "quota" else ERRORS[hit.kind]
        content = json.dumps({"__type": error.code, "message": error.message}).encode()
        kind = {"Content-Type": "application/x-amz-json-1.1", "x-amzn-ErrorType": error.code}
        with contextlib.suppress(OSError):
            self._send(error.status, kind, content)
        return True

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
