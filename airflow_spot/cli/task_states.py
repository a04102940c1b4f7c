"""How Airflow's task instances are: from its database on this machine, or from its REST API."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlsplit

from airflow_spot.cli.aws import CommandError
from airflow_spot.core.identity import RunIdentity
from airflow_spot.core.orphans import TaskState

TOKEN_VARIABLE = "AIRFLOW_SPOT_API_TOKEN"  # noqa: S105 - a name, not a token
_NOT_FOUND = 404
_TIMEOUT_SECONDS = 30


def from_api(url: str) -> Callable[[RunIdentity], TaskState]:
    """
    Ask the REST API.

    :param url: with its version: ``https://airflow.example.com/api/v2``, or ``/api/v1`` of Airflow 2.
    :return: answers for a task instance.
    :raises CommandError: the address is none, or there is no token in the environment.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.path.rstrip("/").endswith(("/api/v1", "/api/v2")):
        raise CommandError(f"--api {url}: must be http(s) and end with /api/v2, or with /api/v1 for Airflow 2")
    token = os.environ.get(TOKEN_VARIABLE)
    if not token:
        raise CommandError(f"--api {url}: put a token for it into the environment, as {TOKEN_VARIABLE}")
    head = {"Authorization": f"Bearer {token}", "Accept": "application/json"}

    def ask(run: RunIdentity) -> TaskState:
        dag, dag_run, task = (quote(text, safe="") for text in (run.dag_id, run.run_id, run.task_id))
        mapped = f"/{run.map_index}" if run.map_index >= 0 else ""
        address = f"{url.rstrip('/')}/dags/{dag}/dagRuns/{dag_run}/taskInstances/{task}{mapped}"
        found = _get(address, head)
        if found is None:
            # A wrong address says 404 too: only an API that answers may say that a task instance is gone.
            _get(f"{url.rstrip('/')}/dags?limit=1", head, missing_is_wrong=True)
            known = _get(f"{url.rstrip('/')}/dags/{dag}", head) is not None
            return TaskState(False, dag_known=known)
        ended = found.get("end_date")
        return TaskState(
            True,
            found.get("state"),
            datetime.fromisoformat(ended.replace("Z", "+00:00")) if ended else None,
            int(found.get("try_number") or 0),
        )

    return ask


def _get(address: str, head: dict[str, str], *, missing_is_wrong: bool = False) -> dict[str, Any] | None:
    try:
        request = urllib.request.Request(address, headers=head)  # noqa: S310 - http(s), checked in from_api
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as answer:  # noqa: S310 - as above
            found: dict[str, Any] = json.load(answer)
            return found
    except urllib.error.HTTPError as error:
        if error.code == _NOT_FOUND and not missing_is_wrong:
            return None
        raise CommandError(f"--api: {address} answers {error.code} {error.reason}") from None


def from_database() -> Callable[[RunIdentity], TaskState]:
    """Ask Airflow's metadata database, which has to be reachable from this machine."""
    try:
        from airflow_spot.compat.task_states import in_database  # imports Airflow
    except ModuleNotFoundError as error:
        raise CommandError(
            f"--api: give the address of Airflow's REST API. Without {error.name} no database is read"
        ) from None

    return in_database
