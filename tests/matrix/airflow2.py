"""`airflow standalone` of Airflow 2: another API, and an executor that has to be chosen."""

from __future__ import annotations

import base64
import urllib.parse
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from demo.standalone import USER, StandaloneAirflow


class StandaloneAirflow2(StandaloneAirflow):
    """
    The same as its parent, of Airflow 2.

    :param environ: with the URL of an empty PostgreSQL database: on SQLite a task that waits would block all others.
    """

    def __init__(self, *, home: Path, dags_folder: Path, python: str, environ: Mapping[str, str]) -> None:
        super().__init__(home=home, dags_folder=dags_folder, python=python)
        self.environ |= {
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__CORE__DAG_FILE_PROCESSOR_TIMEOUT": "600",
            "AIRFLOW__WEBSERVER__WEB_SERVER_HOST": "127.0.0.1",
            "AIRFLOW__WEBSERVER__WEB_SERVER_PORT": str(self.port),
            "AIRFLOW__WEBSERVER__BASE_URL": self.url,
            "AIRFLOW__WEBSERVER__WORKERS": "1",
            "AIRFLOW__API__AUTH_BACKENDS": "airflow.providers.fab.auth_manager.api.auth.backend.basic_auth",
            **environ,
        }

    def api(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Call the REST API as the admin, whose password standalone has made up."""
        password = (self.home / "standalone_admin_password.txt").read_text().strip()
        credentials = base64.b64encode(f"{USER}:{password}".encode()).decode()
        return self._request(method, f"/api/v1{path}", body, {"Authorization": f"Basic {credentials}"})

    def trigger(self, dag_id: str, conf: Mapping[str, Any] | None = None) -> str:
        """Start a run of a DAG and return its run id."""
        body = {"logical_date": datetime.now(timezone.utc).isoformat(), "conf": dict(conf or {})}
        return str(self.api("POST", f"/dags/{dag_id}/dagRuns", body)["dag_run_id"])

    def mark(self, dag_id: str, run_id: str, task_id: str, state: str) -> None:
        """Set a task's state as a user does in the UI."""
        path = f"/dags/{dag_id}/dagRuns/{urllib.parse.quote(run_id, safe='')}/taskInstances/{task_id}"
        self.api("PATCH", path, {"new_state": state, "dry_run": False})

    def _healthy(self) -> bool:
        try:
            health = self._request("GET", "/api/v1/health")
        except (OSError, ValueError):
            return False
        components = ("metadatabase", "scheduler", "triggerer")
        return all((health.get(component) or {}).get("status") == "healthy" for component in components)
