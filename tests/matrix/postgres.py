"""A PostgreSQL of one's own, on a free port, of the machine's package or of Debian's."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from types import TracebackType

from airflow_spot.local.serving.ports import free_port
from tests.matrix.environment import MatrixError, run

_USER = "postgres"


class Postgres:
    """
    A private cluster; a context manager. Nothing of it is left when it ends.

    :param log: gets what its commands say, and what the server said.
    :param ends_idle: whether a transaction that does nothing is ended after 15 seconds. A killed scheduler's workers
        inherit its connections and hold its locks for as long as they live, so that the next scheduler queues nothing;
        but one on a busy machine may do nothing for as long.
    """

    def __init__(self, log: Path, *, ends_idle: bool) -> None:
        self.log, self.ends_idle = log, ends_idle
        self.port = free_port()
        self.url = f"postgresql+psycopg2://{_USER}@127.0.0.1:{self.port}/{_USER}"

    def __enter__(self) -> Postgres:
        _programs(self.log)
        # Not below the matrix's folder, which the other user may not be allowed to enter.
        self._temporary = tempfile.TemporaryDirectory(prefix="airflow-spot-postgres-")
        self.folder = Path(self._temporary.name)
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root; Debian's package comes with a user for it
            shutil.chown(self.folder, _USER)
        self._run("initdb", "--no-sync", "--auth=trust", f"--username={_USER}", "--pgdata", self._data)
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"
        if self.ends_idle:
            options += " -c idle_in_transaction_session_timeout=15s"
        self._run("pg_ctl", "start", "-w", "-D", self._data, "-l", self.folder / "server.log", "-o", options)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._run("pg_ctl", "stop", "-w", "-m", "immediate", "-D", self._data)
            with self.log.open("a") as log:
                log.write((self.folder / "server.log").read_text(errors="replace"))
        finally:
            self._temporary.cleanup()

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _run(self, program: str, *arguments: str | Path) -> None:
        command: list[str | Path] = [_programs(self.log) / program, *arguments]
        if os.geteuid() == 0:
            command = ["setpriv", f"--reuid={_USER}", f"--regid={_USER}", "--clear-groups", *command]
        # Its own folder as working directory, which the other user may enter.
        run(["env", f"--chdir={self.folder}", *command], self.log, timeout=600)


def _programs(log: Path) -> Path:
    """Where initdb and pg_ctl are; installs Debian's package where they are not and this user may."""
    if not (found := _find()) and shutil.which("apt-get") and os.geteuid() == 0:
        run(["apt-get", "update"], log, timeout=300)
        run(["apt-get", "install", "-y", "--no-install-recommends", "postgresql"], log, timeout=300)
        found = _find()
    if not found:
        raise MatrixError("no PostgreSQL for Airflow's database (apt-get install postgresql)")
    return found


def _find() -> Path | None:
    places = [Path(found).parent] if (found := shutil.which("pg_ctl")) else []
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return next((place for place in places if (place / "initdb").exists()), None)
