"""What the REST API of a busy Airflow answers to a mark is read right."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from email.message import Message
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest

from demo import standalone
from demo.standalone import StandaloneAirflow


@pytest.fixture
def answering(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., StandaloneAirflow]:
    """An Airflow whose API gives these answers, one after the other: None, or an error."""
    monkeypatch.setattr(standalone.time, "sleep", lambda _: None)

    def make(*answers: Exception | None) -> StandaloneAirflow:
        left = list(answers)

        class Answering(StandaloneAirflow):
            def api(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
                if (answer := left.pop(0)) is not None:
                    raise answer

        return Answering(home=tmp_path, dags_folder=tmp_path)

    return make


def refused(code: int) -> HTTPError:
    return HTTPError("http://127.0.0.1", code, "refused", Message(), io.BytesIO())


@pytest.mark.parametrize(
    "answers",
    [
        (None,),
        (refused(500), None),  # SQLite was locked
        (TimeoutError(), None),
        (TimeoutError(), refused(409)),  # the mark was made, and its answer was lost
    ],
)
def test_a_mark_is_made_once(
    answering: Callable[..., StandaloneAirflow], answers: tuple[Exception | None, ...]
) -> None:
    answering(*answers).mark("dag", "run", "train", "failed")


@pytest.mark.parametrize("answers", [(refused(409),), (refused(404),), (refused(500), refused(404))])
def test_a_mark_that_is_refused_is_told(
    answering: Callable[..., StandaloneAirflow], answers: tuple[Exception | None, ...]
) -> None:
    with pytest.raises(HTTPError):
        answering(*answers).mark("dag", "run", "train", "failed")
