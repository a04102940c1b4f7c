"""``orphans`` against a Local SageMaker, with Airflow's REST API as its answers are documented."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

import pytest

from airflow_spot.cli.main import main
from airflow_spot.core.identity import RunIdentity
from airflow_spot.core.marks import TAG_STOP
from airflow_spot.local import LocalSageMaker
from tests.local.jobs import Jobs
from tests.support.ours import start_ours

ENDED = "2026-01-01T00:00:00Z"


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, dict[str, str]]]:
    """A server that knows task instances by their run id. It stands in for Airflow's, which needs ten seconds."""
    states: dict[str, str] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert self.headers["Authorization"] == "Bearer token"
            parts = [unquote(part) for part in self.path.split("/")]
            answer = {"dags": []} if "dagRuns" not in parts else None
            if answer is None and parts[6] in states:
                answer = {"state": states[parts[6]], "end_date": ENDED, "try_number": 1}
            self.send_response(404 if answer is None else 200)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("AIRFLOW_SPOT_API_TOKEN", "token")
        yield f"http://127.0.0.1:{server.server_port}/api/v2", states
        server.shutdown()


def test_only_orphans_of_this_namespace_are_stopped(
    local: LocalSageMaker, bucket: str, api: tuple[str, dict[str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    jobs, (url, states) = Jobs(local), api
    space = uuid.uuid4().hex
    runs = {state: RunIdentity(space, "d", f"run/{state}", "t") for state in ("failed", "running", "gone")}
    states |= {run.run_id: state for state, run in runs.items() if state != "gone"}
    names = {state: start_ours(jobs, run) for state, run in runs.items()}
    foreign = start_ours(jobs, RunIdentity("another", "d", space, "t"))
    time.sleep(1.1)
    command = ["orphans", "--api", url, "--namespace", space, "--grace", "1s"]
    assert main(command) == 1
    told = capsys.readouterr().out
    assert "2 of 4 live jobs are orphans" in told and "unknown" in told and "active" in told
    assert main([*command, "--grace", "1h"]) == 0  # all of them are young
    assert main([*command, "--stop"]) == 1
    assert "stdin is not a terminal" in capsys.readouterr().err
    assert main([*command, "--stop", "--yes", "--json"]) == 0
    facts = {fact["job"]: fact for fact in json.loads(capsys.readouterr().out)}
    assert {name for name, fact in facts.items() if fact["stopped"]} == {names["failed"], names["gone"]}
    for name in (names["failed"], names["gone"]):
        assert jobs.end(name)["TrainingJobStatus"] == "Stopped"
        tags = jobs.sagemaker.list_tags(ResourceArn=facts[name]["arn"])["Tags"]
        assert {"Key": TAG_STOP, "Value": "orphan 1"} in tags
    for name in (names["running"], foreign):
        assert jobs.describe(name)["TrainingJobStatus"] == "InProgress"


def test_a_wrong_address_makes_no_orphans(
    local: LocalSageMaker, bucket: str, api: tuple[str, dict[str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    start_ours(Jobs(local), RunIdentity("ns", "d", uuid.uuid4().hex, "t"))
    wrong = local.endpoint_url + "/nowhere/api/v2"
    assert main(["orphans", "--api", wrong, "--namespace", "ns", "--grace", "1s", "--stop", "--yes"]) == 2
    assert "--api" in capsys.readouterr().err
    assert main(["orphans", "--api", "http://airflow", "--namespace", "ns"]) == 2
    assert "/api/v2" in capsys.readouterr().err
