"""Runs the services of docker-compose.yaml without containers: processes on this machine, in dependency order.

What a container would give a service is put in its place:

- its file system: a folder of its own, to which the paths of the container in commands and environment lead. Bind
  mounts are copied there, named volumes are folders that services share.
- its network: 127.0.0.1 for every host name, and a free port for every port.
- its image: the programs on a PATH that the test gives, and for PostgreSQL what the image's entrypoint does.
- its user: the one of that name here where there is one, else the one that runs this.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from airflow_spot.local.serving.ports import free_port
from tests.compose.composefile import Service

MARK = "COMPOSE_TEST"
#: A check has at least so long: each of Airflow's imports it, here beside all the others.
HEALTH_SECONDS = 180.0
#: The folders of the images that commands and environment name.
FOLDERS = ("/opt/airflow", "/dist", "/tmp")
# What the images declare themselves. Docker stops PostgreSQL by SIGINT, since SIGTERM would wait for its clients.
IMAGE_ENVIRONMENT = {"apache/airflow": {"AIRFLOW_HOME": "/opt/airflow"}}
STOP_SIGNALS = {"postgres": signal.SIGINT}


class ComposeError(RuntimeError):
    """A service ended, or did not become healthy; the message ends with what it said."""


class Native:
    """A project that runs; a context manager that leaves nothing running.

    :param services: as :func:`tests.compose.composefile.read_compose` reads them.
    :param base: the folder of the file, from which bind mounts are named.
    :param mounts: host path of the file -> the folder to take in its place.
    :param paths: image, without its tag -> PATH of its services.
    :param ports: the ports that the services listen on.
    """

    def __init__(
        self,
        services: Mapping[str, Service],
        *,
        base: Path,
        paths: Mapping[str, str],
        ports: tuple[int, ...],
        mounts: Mapping[str, Path] | None = None,
    ) -> None:
        self.services = services
        self.base = base
        self.paths = paths
        self.mounts = mounts or {}
        self.ports = {port: free_port() for port in ports}
        # Not pytest's folder: that is closed to the users that the databases run as.
        self.scratch = Path(tempfile.mkdtemp(prefix="airflow-spot-compose-"))
        self.scratch.chmod(0o711)
        self.health_seconds: dict[str, float] = {}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Native:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self.scratch, ignore_errors=True)

    def up(self, timeout: float = 300) -> None:
        """Start the services without a profile, each after what it depends on, and wait until all are healthy.

        :raises ComposeError: if one ends before its time or is not healthy in time.
        """
        names = [name for name, service in self.services.items() if not service.profiles]
        deadline = time.monotonic() + timeout
        while not all(self._done(name) for name in names):
            for name in names:
                if name not in self._processes and self._may_start(self.services[name]):
                    self.start(name)
                elif name in self._processes and not self._done(name):
                    self._check(name)
            if time.monotonic() > deadline:
                late = [name for name in names if not self._done(name)]
                raise ComposeError(f"not healthy after {timeout:.0f} s: {late}\n{self.log(late[0])}")
            time.sleep(0.5)

    def run(self, name: str, timeout: float = 300) -> str:
        """Run a service to its end, as ``docker compose run`` does, and return what it said.

        :raises ComposeError: if it fails.
        """
        assert self._may_start(self.services[name]), f"{name} depends on what is not there"
        process = self.start(name)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout)
        if process.poll() != 0:
            raise ComposeError(f"{name}: {process.poll()}\n{self.log(name)}\n{self.log('scheduler')}")
        return self.log(name)

    def start(self, name: str) -> subprocess.Popen[bytes]:
        """Start a service's command."""
        service = self.services[name]
        self._mount(service)
        if service.image.startswith("postgres"):
            self._initialise_postgres(service)
        with (self.scratch / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [self.translate(word, name) for word in service.command],
                env=self.environment(service),
                cwd=self.root(name),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **_as_user(service),
            )
        return self._processes[name]

    def execute(self, name: str, command: list[str], timeout: float = 300) -> subprocess.CompletedProcess[str]:
        """Run a command beside a service, as ``docker compose exec`` does."""
        service = self.services[name]
        return subprocess.run(
            [self.translate(word, name) for word in command],
            check=False,
            env=self.environment(service),
            cwd=self.root(name),
            capture_output=True,
            text=True,
            timeout=timeout,
            **_as_user(service),
        )

    def healthy(self, name: str) -> bool:
        """Run a service's health check once."""
        service = self.services[name]
        assert service.health is not None
        how, *words = service.health
        assert how in ("CMD", "CMD-SHELL")
        began, limit = time.monotonic(), max(service.health_timeout, HEALTH_SECONDS)
        try:
            done = self.execute(name, words if how == "CMD" else ["sh", "-c", *words], limit)
        except subprocess.TimeoutExpired:
            return False
        if done.returncode == 0:
            self.health_seconds[name] = time.monotonic() - began
        return done.returncode == 0

    def stop(self) -> None:
        """Stop every service, the last started first, and whatever one of them has left."""
        for name, process in reversed(self._processes.items()):
            if process.poll() is None:
                process.send_signal(STOP_SIGNALS.get(self.services[name].image.split(":")[0], signal.SIGTERM))
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(20)
        for number, seconds in ((signal.SIGTERM, 5), (signal.SIGKILL, 60)):
            deadline, told = time.monotonic() + seconds, set[int]()
            while (left := {*self.left()}) and time.monotonic() < deadline:
                for pid in left - told:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, number)
                told |= left
                time.sleep(0.1)
        for process in self._processes.values():
            process.wait()

    def left(self) -> list[int]:
        """The processes that services have started and that run on."""
        return list(self._pids())

    def log(self, name: str, lines: int = 60) -> str:
        """What a service has said last."""
        path = self.scratch / f"{name}.log"
        said = path.read_text(errors="replace").splitlines()[-lines:] if path.exists() else []
        return "\n".join([f"--- {name}", *said])

    def root(self, name: str) -> Path:
        """The folder that stands for a container's root."""
        return self.scratch / name

    def environment(self, service: Service) -> dict[str, str]:
        """What a service's processes have in their environment: nothing of the tests' own."""
        image = service.image.split(":")[0]
        variables = {**IMAGE_ENVIRONMENT.get(image, {}), **service.environment}
        return {
            "PATH": self.paths[image],
            "HOME": str(self.root(service.name)),
            "LANG": "C.UTF-8",
            "HOSTNAME": socket.gethostname(),
            **{key: self.translate(value, service.name) for key, value in variables.items()},
            "PGDATA": str(self.root(service.name) / "data"),
            MARK: str(self.scratch),
        }

    def translate(self, text: str, name: str) -> str:
        """Give a text the addresses and paths that it has here."""
        hosts = "|".join(map(re.escape, (*self.services, "localhost")))
        ports = "|".join(map(str, self.ports))
        folders = "|".join(FOLDERS)
        text = text.replace("0.0.0.0", "127.0.0.1")
        text = re.sub(rf"(?<![\w.-])({hosts}):(?=\d)", "127.0.0.1:", text)
        # Each in one go: what has been put in must not be replaced in its turn.
        text = re.sub(rf"(?<![\w.-])({ports})(?![\w.-])", lambda port: str(self.ports[int(port[0])]), text)
        return re.sub(rf"(?<![\w./-])({folders})(?![\w-])", lambda folder: f"{self.root(name)}{folder[0]}", text)

    def _may_start(self, service: Service) -> bool:
        return all(self._done(other) for other in service.depends_on)

    def _done(self, name: str) -> bool:
        """Whether a service is where those that depend on it want it."""
        process = self._processes.get(name)
        if process is None:
            return False
        return name in self.health_seconds if self.services[name].health else process.poll() == 0

    def _check(self, name: str) -> None:
        ended = self._processes[name].poll()
        if ended is not None and (self.services[name].runs_on or ended != 0):
            raise ComposeError(f"{name} has ended with {ended}\n{self.log(name)}")
        if self.services[name].health:
            self.healthy(name)

    def _mount(self, service: Service) -> None:
        root = self.root(service.name)
        for folder in ("tmp", "opt/airflow"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        for target, source in service.volumes.items():
            place = root / target.lstrip("/")
            if source.startswith("."):
                # A copy, since it is mounted to be read only; a link would lead out of AIRFLOW_HOME.
                shutil.copytree(
                    self.mounts.get(source, self.base / source), place, ignore=shutil.ignore_patterns("__pycache__")
                )
            elif not place.exists():
                volume = self.scratch / "volumes" / source
                volume.mkdir(parents=True, exist_ok=True)
                place.parent.mkdir(parents=True, exist_ok=True)
                place.symlink_to(volume)
        if user := _as_user(service).get("user"):
            shutil.chown(root, user)

    def _initialise_postgres(self, service: Service) -> None:
        """What the entrypoint of PostgreSQL's image does: a cluster with the user and the database it is told."""
        user, database = service.environment["POSTGRES_USER"], service.environment["POSTGRES_DB"]
        password = self.root(service.name) / "password"
        password.write_text(service.environment["POSTGRES_PASSWORD"])
        script = (
            'initdb --no-sync --username="$1" --pwfile=password --auth-host=scram-sha-256 --auth-local=trust >/dev/null'
            ' && { echo "unix_socket_directories = \'$PWD\'" >> "$PGDATA/postgresql.conf"; }'
            ' && echo "create database $2" | postgres --single -j postgres >/dev/null'
        )
        done = self.execute(service.name, ["bash", "-ec", script, "initdb", user, database])
        assert done.returncode == 0, done.stderr

    def _pids(self) -> Iterator[int]:
        marker = f"{MARK}={self.scratch}".encode()
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if marker in (entry / "environ").read_bytes().split(b"\0"):
                    yield int(entry.name)


def _as_user(service: Service) -> dict[str, Any]:
    """Who runs a service: PostgreSQL refuses to run as root."""
    name = service.user
    if os.geteuid() != 0 or name not in {entry.pw_name for entry in pwd.getpwall()}:
        return {}
    return {"user": name, "group": pwd.getpwnam(name).pw_gid, "extra_groups": []}
