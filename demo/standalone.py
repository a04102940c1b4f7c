"""A real `airflow standalone` in a scratch home: started, driven over its REST API, ended without a trace.

The demo runs its DAG in one, and the tests use it where `dag.test()` is no evidence: the triggerer, the
serialisation between components, killed workers.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import Any

from airflow_spot.local.serving.ports import free_port

USER = "admin"
PASSWORD = "admin"  # noqa: S105 - of a server on loopback that lives for minutes
COMPONENTS = ("metadatabase", "scheduler", "triggerer", "dag_processor")
FINAL_STATES = frozenset({"success", "failed"})

# A parent that ignores SIGINT (a background job of a shell) hands that on to its children, and SIGINT is the
# only signal at which `airflow standalone` ends its own.
_BOOT = (
    "import signal, runpy, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "sys.argv = ['airflow', 'standalone']; runpy.run_module('airflow', run_name='__main__')"
)
# No proxy: the server is on this machine, whatever HTTP_PROXY says.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
#: Seconds in which a DAG file has to be imported and parsed; Airflow's own 30 and 50 are short for a busy machine.
_PATIENT = {"AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "300", "AIRFLOW__DAG_PROCESSOR__DAG_FILE_PROCESSOR_TIMEOUT": "600"}
#: How often a read is made that is not answered, half a minute each.
_READS = 6


class StandaloneError(RuntimeError):
    """Airflow did not start, did not answer, or did not do what was asked in time; says where its log is."""


class StandaloneAirflow:
    """One `airflow standalone`; a context manager.

    :param home: an empty folder that becomes AIRFLOW_HOME: database, logs, configuration.
    :param dags_folder: where the DAG files are.
    :param environ: more environment for every component, such as connections and AWS_ENDPOINT_URL.
    :param port: of the UI and API on 127.0.0.1; 0 takes a free one.
    :param python: the interpreter whose Airflow it is; this one's by default.
    """

    def __init__(
        self,
        *,
        home: Path,
        dags_folder: Path,
        environ: Mapping[str, str] | None = None,
        port: int = 0,
        python: str = sys.executable,
    ) -> None:
        self.home = home.resolve()
        self.python = python
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log_path = self.home / "standalone.log"
        self.environ = self._environ(dags_folder.resolve(), environ or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._sessions: set[int] = set()
        self._token: str | None = None

    def __enter__(self) -> StandaloneAirflow:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, timeout: float = 240) -> None:
        """Start all components and return once each of them is healthy.

        :param timeout: seconds to wait for that.
        :raises StandaloneError: if it ends or is not healthy in time.
        """
        self.home.mkdir(parents=True, exist_ok=True)
        passwords = self.home / "simple_auth_manager_passwords.json.generated"
        passwords.write_text(json.dumps({USER: PASSWORD}))
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter
                [self.python, "-c", _BOOT],
                env=self.environ,
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Its own session: the Ctrl-C of a terminal is for the demo, which then ends Airflow in order.
                start_new_session=True,
            )
        self._sessions.add(self._process.pid)
        deadline = time.monotonic() + timeout
        while not self._healthy():
            if self._process.poll() is not None:
                raise StandaloneError(f"airflow standalone ended at its start: see {self.log_path}")
            if time.monotonic() > deadline:
                raise StandaloneError(f"airflow is not healthy after {timeout:.0f} s: see {self.log_path}")
            time.sleep(0.3)

    def stop(self) -> None:
        """End it and everything it started; returns when no process is left. Safe to call twice."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=20)
        for number, seconds in ((signal.SIGTERM, 5), (signal.SIGKILL, 60)):
            deadline, told = time.monotonic() + seconds, set[int]()
            # Again and again: one that goes may have started another in the meantime.
            while (left := {pid for pid in self._pids() if pid != os.getpid()}) and time.monotonic() < deadline:
                for pid in left - told:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, number)
                told |= left
                process.poll()
                time.sleep(0.1)
        process.wait()
        self._sessions.clear()

    def api(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Call the REST API as the admin and return the decoded answer.

        :param path: below ``/api/v2``, with its leading slash.
        :param body: sent as JSON.
        :raises urllib.error.HTTPError: for an answer of 400 and above.
        """
        if self._token is None:
            login = {"username": USER, "password": PASSWORD}
            self._token = self._request("POST", "/auth/token", login)["access_token"]
        headers = {"Authorization": f"Bearer {self._token}"}
        for _ in range(_READS - 1 if method == "GET" else 0):
            # On a busy machine an API server may be silent for a while; to read again changes nothing.
            with contextlib.suppress(TimeoutError):
                return self._request(method, f"/api/v2{path}", body, headers)
        return self._request(method, f"/api/v2{path}", body, headers)

    def unpause(self, dag_id: str, timeout: float = 300) -> None:
        """Unpause a DAG as soon as the DAG processor has parsed it.

        :param timeout: seconds to wait for that.
        :raises StandaloneError: with the import errors, if it is not parsed in time.
        """
        deadline, silent, failed = time.monotonic() + timeout, 0, ""
        while True:
            try:
                self.api("PATCH", f"/dags/{dag_id}", {"is_paused": False})
                return
            except TimeoutError:
                deadline += 30  # a busy machine's API server, and not the DAG processor; it is asked again
                silent += 1
                if silent >= _READS:
                    raise
            except urllib.error.HTTPError as error:
                if error.code not in (404, 500):
                    raise
                failed = f"; its API answered {error.code}" if error.code == 500 else ""
            if time.monotonic() > deadline:
                errors = [error["stack_trace"] for error in self.api("GET", "/importErrors")["import_errors"]]
                raise StandaloneError("\n".join([f"no DAG {dag_id} after {timeout:.0f} s{failed}", *errors]))
            time.sleep(0.5)

    def trigger(self, dag_id: str, conf: Mapping[str, Any] | None = None) -> str:
        """Start a run of a DAG and return its run id; `conf` overrides the DAG's params."""
        run_id = f"manual__{datetime.now(timezone.utc).isoformat()}"
        body = {"dag_run_id": run_id, "logical_date": None, "conf": dict(conf or {})}
        for _ in range(5):
            try:
                return str(self.api("POST", f"/dags/{dag_id}/dagRuns", body)["dag_run_id"])
            except urllib.error.HTTPError as error:
                if error.code == 409:  # made, though the answer said otherwise
                    return run_id
                if error.code < 500:
                    raise
            except TimeoutError:
                pass  # it may have been made, as above
            time.sleep(1.0)  # SQLite was locked
        raise StandaloneError(f"Airflow does not start a run of {dag_id}: its API answers 5xx, or nothing")

    def run_state(self, dag_id: str, run_id: str) -> str:
        """Return the state of a DAG run."""
        return str(self.api("GET", f"/dags/{dag_id}/dagRuns/{_quoted(run_id)}")["state"])

    def task_states(self, dag_id: str, run_id: str) -> dict[str, str | None]:
        """Return the state of each task of a run by task id; None where it is not scheduled yet."""
        answer = self.api("GET", f"/dags/{dag_id}/dagRuns/{_quoted(run_id)}/taskInstances")
        return {task["task_id"]: task["state"] for task in answer["task_instances"]}

    def mark(self, dag_id: str, run_id: str, task_id: str, state: str, timeout: float = 120) -> None:
        """
        Set a task's state as a user does in the UI, such as ``failed``.

        :param timeout: seconds to mark it again where the API server fails: its SQLite takes one writer at a time.
        """
        path = f"/dags/{dag_id}/dagRuns/{_quoted(run_id)}/taskInstances/{task_id}"
        deadline, asked = time.monotonic() + timeout, 0
        while True:
            asked += 1
            try:
                self.api("PATCH", path, {"new_state": state})
            except (urllib.error.HTTPError, TimeoutError) as error:
                code = getattr(error, "code", 500)
                if code == 409 and asked > 1:  # done, though the answer said otherwise
                    return
                if code != 500 or time.monotonic() > deadline:
                    raise
                time.sleep(1)
            else:
                return

    def wait(self, dag_id: str, run_id: str, timeout: float = 300) -> str:
        """Wait until a DAG run has ended and return its state.

        :param timeout: seconds.
        :raises StandaloneError: with the states of the tasks, if it runs on after that.
        """
        deadline = time.monotonic() + timeout
        while (state := self.run_state(dag_id, run_id)) not in FINAL_STATES:
            if time.monotonic() > deadline:
                tasks = self.task_states(dag_id, run_id)
                raise StandaloneError(f"run {run_id} is {state} after {timeout:.0f} s: {tasks}")
            time.sleep(0.5)
        return state

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value") -> Any:
        """Return what a task pushed, decoded."""
        path = f"/dags/{dag_id}/dagRuns/{_quoted(run_id)}/taskInstances/{task_id}/xcomEntries/{key}"
        value = self.api("GET", path)["value"]
        return json.loads(value) if isinstance(value, str) else value

    def task_log(self, dag_id: str, run_id: str, task_id: str, try_number: int = 1) -> list[str]:
        """Return the lines that a try of a task has logged so far."""
        path = f"/dags/{dag_id}/dagRuns/{_quoted(run_id)}/taskInstances/{task_id}/logs/{try_number}"
        content = self.api("GET", f"{path}?full_content=true")["content"]
        return [entry if isinstance(entry, str) else str(entry["event"]) for entry in content]

    def _environ(self, dags_folder: Path, more: Mapping[str, str]) -> dict[str, str]:
        # The user's own Airflow and AWS settings must not reach a scratch Airflow, nor this one his account.
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("AIRFLOW", "_AIRFLOW", "AWS_"))}
        return {
            **inherited,
            "PATH": os.pathsep.join([str(Path(self.python).parent), os.environ.get("PATH", os.defpath)]),
            "NO_COLOR": "1",
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(dags_folder),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__PARALLELISM": "2",
            **_PATIENT,
            # Seconds for which who finds SQLite locked waits (else 5), and who asks the API server from a task.
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{self.home / 'airflow.db'}?timeout=30",
            "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(self.port),
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__API__BASE_URL": self.url,
            "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.1",
            "AIRFLOW__SCHEDULER__ENABLE_HEALTH_CHECK": "False",
            # The default ports of the log servers are taken where another Airflow runs on this machine.
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port()),
            **more,
        }

    def _healthy(self) -> bool:
        try:
            health = self._request("GET", "/api/v2/monitor/health")
        except (OSError, ValueError):
            return False
        return all((health.get(component) or {}).get("status") == "healthy" for component in COMPONENTS)

    def _request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        request = urllib.request.Request(  # noqa: S310 - the URL is ours
            self.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", "Accept": "application/json", **(headers or {})},
        )
        with _OPENER.open(request, timeout=30) as response:
            return json.loads(response.read() or b"null")

    def _pids(self) -> Iterator[int]:
        # Task processes make groups of their own, but no sessions; and a process that gave itself a title has lost
        # its environment, as far as others can see.
        marker = f"AIRFLOW_HOME={self.home}".encode()
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                state, _, _, session = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
                mine = int(session) in self._sessions or marker in (entry / "environ").read_bytes().split(b"\0")
                if mine and state != "Z":
                    yield int(entry.name)


def _quoted(run_id: str) -> str:
    # A run id holds a time with `+` and `:`.
    return urllib.parse.quote(run_id, safe="")
