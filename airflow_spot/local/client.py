"""Local SageMaker from Python: starts the service as a process of its own and talks to it."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import IO, Any
from urllib.parse import urlsplit

from airflow_spot.local.aws.moto import client_environment, make_client
from airflow_spot.local.settings import DEFAULT_REGION, Settings
from airflow_spot.local.storage.audit import read_audit

START_SECONDS = 60.0
STOP_SECONDS = 20.0
STDERR_TAIL = 4000

_lifelines: weakref.WeakSet[IO[bytes]] = weakref.WeakSet()
"""Pipes to services of this process. A child that was forked, and has no such claim, must not keep them open."""


def _drop_lifelines() -> None:
    for pipe in list(_lifelines):
        pipe.close()


os.register_at_fork(after_in_child=_drop_lifelines)


class LocalSageMaker:
    """A context manager: inside, the service answers at ``endpoint_url``.

    Guarantee: when the context ends, and also when this Python process dies in whatever way, the service and all that
    it started end. A directory that it made itself is removed.

    :param market: the spot market, see :mod:`airflow_spot.local.market.spec`.
    :param on_demand_market: the on-demand market, likewise.
    :param port: 0 takes a free one.
    :param host: address to listen on.
    :param names: further names under which it is reached; others are refused.
    :param dir: where the audit log and the jobs live; default: a temporary directory.
    :param images: image name patterns to commands, e.g. ``{"*xgboost*": "python3"}``.
    :param reclaim: ``term`` or ``kill``.
    :param grace_seconds: from SIGTERM to SIGKILL. AWS gives 120.
    :param pending_timeout_seconds: how long an on-demand job may be Pending before it fails with CapacityError; None
        for ever.
    :param checkpoint_seconds: how often changed checkpoints are uploaded.
    :param checkpoint_markers: whether files beside each checkpoint say how far its upload is, as SageMaker's do.
    :param quotas: limits per instance type, see :mod:`airflow_spot.local.market.quotas`.
    :param list_rate: how many ListTrainingJobs a second are answered; None for any number. AWS answers 2 for the whole
        account.
    :param faults: a fault plan, see :mod:`airflow_spot.local.faults.plan`.
    :param engine: ``process`` or ``simulated``, see :mod:`airflow_spot.local.training.simulated_instances`.
    :param time_scale: service seconds per second of this machine; simulated engine only.
    :param isolation: ``auto``, ``namespace`` or ``relocate``.
    :param region: default region of ``environ`` and ``client``.
    :param python: interpreter for scripts; default: this one.
    :param keep: leave the working directories of ended jobs.
    :param log_level: of the service's own log, which is in ``dir/service.log``.
    :ivar endpoint_url: e.g. ``http://127.0.0.1:40123``.
    :ivar environ: variables that send an unchanged AWS client here.
    :ivar dir: the directory.
    :ivar pid: the service's process.
    :ivar namespace: whether jobs have an ``/opt/ml`` of their own.
    """

    def __init__(
        self,
        *,
        market: str = "always",
        on_demand_market: str = "always",
        port: int = 0,
        host: str = "127.0.0.1",
        names: Sequence[str] = (),
        dir: str | os.PathLike[str] | None = None,
        images: Mapping[str, str] | None = None,
        reclaim: str = "term",
        grace_seconds: float = 5.0,
        pending_timeout_seconds: float | None = None,
        checkpoint_seconds: float = 1.0,
        checkpoint_markers: bool = True,
        quotas: str = "",
        list_rate: float | None = None,
        faults: str = "",
        engine: str = "process",
        time_scale: float = 1.0,
        isolation: str = "auto",
        region: str = DEFAULT_REGION,
        python: str | None = None,
        keep: bool = False,
        log_level: str = "WARNING",
    ) -> None:
        self._own_dir = dir is None
        self._settings = Settings(
            directory="" if dir is None else str(Path(dir).absolute()),
            host=host,
            names=tuple(names),
            port=port,
            market=market,
            on_demand_market=on_demand_market,
            images=tuple((images or {}).items()),
            reclaim=reclaim,
            grace_seconds=grace_seconds,
            pending_timeout_seconds=pending_timeout_seconds,
            checkpoint_seconds=checkpoint_seconds,
            checkpoint_markers=checkpoint_markers,
            quotas=quotas,
            list_rate=list_rate,
            faults=faults,
            engine=engine,
            time_scale=time_scale,
            isolation=isolation,
            region=region,
            python=python or sys.executable,
            keep=keep,
            log_level=log_level,
        )
        self._process: subprocess.Popen[bytes] | None = None
        self.endpoint_url = ""
        self.namespace = False
        self.dir = self._settings.root

    def __enter__(self) -> LocalSageMaker:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the service and wait until it answers.

        :raises RuntimeError: with the end of its log, if it does not come up.
        """
        if self._own_dir:
            self.dir = Path(tempfile.mkdtemp(prefix="airflow-spot-local-"))
        self.dir.mkdir(parents=True, exist_ok=True)
        settings = replace(self._settings, directory=str(self.dir), temporary=self._own_dir)
        with (self.dir / "service.log").open("ab") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "airflow_spot.local", "--embedded"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                # A buffer has a lock, which a child could find taken for ever when it closes the pipe.
                bufsize=0,
                start_new_session=True,
                env=_clean_environment(),
            )
        assert self._process.stdin is not None and self._process.stdout is not None  # noqa: S101 - both are pipes
        _lifelines.add(self._process.stdin)
        try:
            self._process.stdin.write(settings.to_json().encode() + b"\n")
            self._process.stdin.flush()
            readable, _, _ = select.select([self._process.stdout], [], [], START_SECONDS)
            line = self._process.stdout.readline() if readable else b""
        except OSError:
            line = b""
        if not line:
            message = f"Local SageMaker did not start: {self._log_tail()}"
            self.kill()
            self.stop()
            raise RuntimeError(message)
        answer = json.loads(line)
        self.endpoint_url = answer["endpoint_url"]
        self.namespace = answer["namespace"]

    def stop(self) -> None:
        """End the service and all that it started. May be called twice."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()
        if self._own_dir and self.dir != Path():
            shutil.rmtree(self.dir, ignore_errors=True)

    def kill(self) -> None:
        """SIGKILL the service, as a crash would, and wait for its end."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    @property
    def pid(self) -> int:
        if self._process is None:
            raise RuntimeError("Local SageMaker is not running")
        return self._process.pid

    @property
    def environ(self) -> dict[str, str]:
        """The variables that send an unchanged AWS client here, past a proxy if one is set."""
        variables = client_environment(self.endpoint_url, self._settings.region)
        if any(name.lower() in ("http_proxy", "all_proxy") for name in os.environ):
            known = os.environ.get("NO_PROXY") or os.environ.get("no_proxy") or ""
            here = urlsplit(self.endpoint_url).hostname
            variables["NO_PROXY"] = variables["no_proxy"] = f"{known},{here}".lstrip(",")
        return variables

    def client(self, name: str, region: str | None = None) -> Any:
        """Return a boto3 client of any service, e.g. ``sagemaker``, ``s3`` or ``logs``."""
        return make_client(name, self.endpoint_url, region or self._settings.region)

    @property
    def audit(self) -> list[dict[str, Any]]:
        """What happened so far, oldest first: see :class:`airflow_spot.local.storage.audit.Audit`."""
        return read_audit(self.dir / "audit.jsonl")

    def interrupt(
        self,
        job_name: str,
        *,
        capacity_gap: float = 0.0,
        region: str | None = None,
        reclaim: str | None = None,
        refuse: bool = False,
    ) -> None:
        """Take a spot job's instances back now.

        :param capacity_gap: seconds for which this job then gets none.
        :param reclaim: ``term`` or ``kill``, for this once; default: as the service was started.
        :param refuse: whether its request for other instances is refused: it fails with a CapacityError.
        :raises RuntimeError: if it is no spot job, or holds no instances.
        """
        body = {"job": job_name, "capacity_gap": capacity_gap, "region": region, "reclaim": reclaim, "refuse": refuse}
        self._control("interrupt", body)

    def crash(self, job_name: str, *, region: str | None = None) -> None:
        """Break a job's instances: an InternalServerError, which a RetryStrategy may cover.

        :raises RuntimeError: if it holds no instances.
        """
        self._control("crash", {"job": job_name, "region": region})

    def set_faults(self, plan: str) -> None:
        """Replace the fault plan; an empty one ends all faults.

        :raises RuntimeError: if the plan is wrong.
        """
        self._control("faults", {"plan": plan})

    def set_market(self, market: str | None = None, *, on_demand_market: str | None = None) -> None:
        """Replace one market or both; the time of their pools starts again.

        :raises RuntimeError: if a specification is wrong.
        """
        self._control("market", {"spot": market, "on_demand": on_demand_market})

    def set_quotas(self, quotas: str) -> None:
        """Replace the quotas, as AWS does when it grants an increase. Jobs that run are let run.

        :raises RuntimeError: if the specification is wrong.
        """
        self._control("quotas", {"quotas": quotas})

    def _control(self, action: str, body: dict[str, Any]) -> dict[str, Any]:
        request = urllib.request.Request(  # noqa: S310 - our own http address
            f"{self.endpoint_url}/_airflow_spot/{action}", json.dumps(body).encode(), method="POST"
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=30) as response:
                answer: dict[str, Any] = json.load(response)
        except urllib.error.HTTPError as error:
            raise RuntimeError(json.load(error)["error"]) from None
        return answer

    def _log_tail(self) -> str:
        text = (self.dir / "service.log").read_text(encoding="utf-8", errors="replace")
        return text[-STDERR_TAIL:].strip() or "(log is empty)"


def _clean_environment() -> dict[str, str]:
    """Return this process's variables without those that would send the service's own AWS calls elsewhere."""
    return {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
