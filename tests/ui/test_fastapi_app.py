"""The application as a real server mounts it: paths as they came, below whatever base, and answers as they were."""

from __future__ import annotations

import importlib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from typing import Any

import pytest

from airflow_spot.ui.values import Answer, Request


@pytest.fixture(scope="module", autouse=True)
def _imported() -> None:
    """Airflow's part reads its base URL when it is imported: before a test says another."""
    importlib.import_module("airflow.api_fastapi.core_api.security")


class Recorder:
    """Pages that note what is asked."""

    def __init__(self) -> None:
        self.asked: list[Request] = []

    def answer(self, request: Request) -> Answer:
        self.asked.append(request)
        return Answer(203, b"body", {"Content-Type": "text/x-odd", "ETag": '"1"'})


@contextmanager
def served(recorder: Any, root_path: str = "", *, logged_in: bool = True) -> Iterator[int]:
    """Serve the application as Airflow's API server does; yields the port."""
    # Dear to import: whoever collects the tests does not pay for it.
    import uvicorn
    from airflow.api_fastapi.core_api.security import get_user
    from fastapi import FastAPI, HTTPException

    from airflow_spot.ui.fastapi_app import make_app

    pages = make_app(recorder)

    def user() -> object:
        if not logged_in:
            raise HTTPException(401)
        return None

    pages.dependency_overrides[get_user] = user
    app = FastAPI(root_path=root_path)
    app.mount("/airflow-spot", pages)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [taken]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield taken.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(120)


def ask(port: int, path: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    connection = HTTPConnection("127.0.0.1", port, timeout=120)
    connection.request(method, path, headers={"X-Odd": "1"})
    answer = connection.getresponse()
    return answer.status, dict(answer.getheaders()), answer.read()


PATHS = [
    "/",
    "/run/a%20dag/manual__2026-01-01T00%3A00%3A00%2B00%3A00/group.train/-1",
    "/run/a/manual__2026-01-01T00:00:00+00:00/t/%7BMAP_INDEX%7D",
    "/run/a/x%2Fy/t/0",
    "/fragment/run/a/airflow-spot/t/0",
    "/run/a/b%25c",
]


@pytest.mark.parametrize("base", ["", "/af", "/airflow-spot"])
def test_paths_are_as_they_came_below_the_base_url(monkeypatch: pytest.MonkeyPatch, base: str) -> None:
    if base:
        monkeypatch.setenv("AIRFLOW__API__BASE_URL", f"https://airflow.example{base}")
    recorder = Recorder()
    with served(recorder, base) as port:
        for path in PATHS:
            assert ask(port, f"{base}/airflow-spot{path}")[0] == 203
        assert ask(port, f"{base}/airflow-spot/?dag=a+b%2B")[0] == 203
    assert [request.path for request in recorder.asked] == [*PATHS, "/"]
    assert {(request.base, request.airflow) for request in recorder.asked} == {(f"{base}/airflow-spot", base)}
    assert recorder.asked[-1].query == {"dag": "a b+"}
    assert recorder.asked[-1].headers["x-odd"] == "1"


def test_who_is_not_logged_in_is_asked_of_the_pages_too() -> None:
    """They know what is to be seen without: the script and the style, and on Airflow 3.0 an empty page."""
    recorder = Recorder()
    with served(recorder, logged_in=False) as port:
        status, headers, body = ask(port, "/airflow-spot/")
    assert (status, headers["content-type"], headers["etag"], body) == (203, "text/x-odd", '"1"', b"body")
    assert [request.viewer for request in recorder.asked] == [None]


def test_other_methods_are_no_pages() -> None:
    recorder = Recorder()
    with served(recorder) as port:
        assert ask(port, "/airflow-spot/", "DELETE")[0] == 405
        assert ask(port, "/airflow-spot/", "HEAD")[2] == b""
        assert ask(port, "/airflow-spot/", "POST")[0] == 203
    assert [request.method for request in recorder.asked] == ["HEAD", "POST"]
