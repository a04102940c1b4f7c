"""The blueprint as Airflow 2's webserver has it, of which this environment has Flask alone. The matrix has the rest."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.test import Client

from airflow_spot.ui import blueprint as module
from airflow_spot.ui.blueprint import make_blueprint
from airflow_spot.ui.values import Answer, Request
from tests.ui.test_fastapi_app import PATHS


class FormTokens:
    """What asks for a token of each form."""

    def __init__(self) -> None:
        self.without: list[Any] = []

    def exempt(self, blueprint: Any) -> None:
        self.without.append(blueprint)


class Recorder:
    def __init__(self) -> None:
        self.asked: list[Request] = []

    def answer(self, request: Request) -> Answer:
        self.asked.append(request)
        return Answer(203, b"body", {"Content-Type": "text/x-odd"})


@pytest.mark.parametrize("base", ["", "/af", "/airflow-spot"])
@pytest.mark.parametrize("name", ["RAW_URI", "REQUEST_URI", None])
def test_paths_are_as_they_came_below_the_base_url(
    monkeypatch: pytest.MonkeyPatch, base: str, name: str | None
) -> None:
    tokens, somebody, recorder = FormTokens(), object(), Recorder()
    monkeypatch.setattr(module, "form_tokens", lambda: tokens)
    monkeypatch.setattr(module, "airflow_2_viewer", lambda: somebody)
    app, pages = Flask(__name__), make_blueprint(recorder)  # type: ignore[arg-type]
    app.register_blueprint(pages)
    assert tokens.without == [pages]
    # Where the base URL has a path, Airflow 2 mounts itself below it.
    client = Client(DispatcherMiddleware(Flask("root"), {base: app}) if base else app)
    for path in PATHS:
        whole = f"{base}/airflow-spot{path}"
        environ = {"RAW_URI": "", "REQUEST_URI": "", **({name: whole} if name else {})}
        answer = client.get(whole, environ_overrides=environ, headers={"X-Odd": "1"})
        assert (answer.status_code, answer.data, answer.headers["Content-Type"]) == (203, b"body", "text/x-odd")
    client.post(f"{base}/airflow-spot/?dag=a+b%2B")
    asked = [request.path for request in recorder.asked]
    if name:
        assert asked == [*PATHS, "/"]
    else:  # a server that does not say how it came: all but a slash in an id
        assert [path for path in asked[:-1] if path not in PATHS] != asked[:-1]
    assert {(request.base, request.airflow) for request in recorder.asked} == {(f"{base}/airflow-spot", base)}
    assert recorder.asked[0].viewer is somebody
    assert recorder.asked[0].headers["x-odd"] == "1"
    assert (recorder.asked[-1].method, recorder.asked[-1].query) == ("POST", {"dag": "a b+"})
