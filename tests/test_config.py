"""A deployment's name among others in the same AWS account."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from airflow_spot import config

CHOSEN, API, MWAA = "AIRFLOW__AIRFLOW_SPOT__NAMESPACE", "AIRFLOW__API__BASE_URL", "AIRFLOW_ENV_NAME"


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in (CHOSEN, API, MWAA, "AIRFLOW__WEBSERVER__BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    config.namespace.cache_clear()
    yield
    config.namespace.cache_clear()


@pytest.mark.parametrize(
    ("environ", "namespace"),
    [
        ({CHOSEN: "ours", MWAA: "an-mwaa", API: "https://airflow.example.com"}, "ours"),
        ({MWAA: "an-mwaa", API: "https://airflow.example.com"}, "an-mwaa"),
        ({API: "https://airflow.example.com"}, "https://airflow.example.com"),
        ({CHOSEN: "", MWAA: "an-mwaa"}, "an-mwaa"),
    ],
)
def test_what_is_chosen_comes_first_then_mwaa_then_the_url(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], namespace: str
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert config.namespace() == namespace


def test_without_anything_there_is_still_a_name() -> None:
    assert config.namespace()


def test_what_is_derived_is_logged_once(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv(MWAA, "an-mwaa")
    with caplog.at_level(logging.INFO, logger="airflow_spot.config"):
        assert [config.namespace() for _ in range(3)] == ["an-mwaa"] * 3
    (said,) = [record.getMessage() for record in caplog.records if record.name == "airflow_spot.config"]
    assert "'an-mwaa'" in said
    assert "[airflow_spot] namespace" in said


def test_what_is_chosen_is_not_remarked_on(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv(CHOSEN, "ours")
    with caplog.at_level(logging.INFO, logger="airflow_spot.config"):
        config.namespace()
    assert not [record for record in caplog.records if record.name == "airflow_spot.config"]


def test_it_stays_the_same_for_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run's key must not change between two calls of one task."""
    monkeypatch.setenv(CHOSEN, "first")
    assert config.namespace() == "first"
    monkeypatch.setenv(CHOSEN, "second")
    assert config.namespace() == "first"
