"""A deployment's name among others in the same AWS account."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_spot import config
from airflow_spot.core.parameter_errors import InvalidParameterError
from airflow_spot.provider_info import get_provider_info

CHOSEN, API, MWAA = "AIRFLOW__AIRFLOW_SPOT__NAMESPACE", "AIRFLOW__API__BASE_URL", "AIRFLOW_ENV_NAME"


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in (CHOSEN, API, MWAA, "AIRFLOW__WEBSERVER__BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    config.deployment_namespace.cache_clear()
    yield
    config.deployment_namespace.cache_clear()


@pytest.mark.parametrize(
    ("environ", "namespace"),
    [
        ({CHOSEN: "ours", MWAA: "an-mwaa", API: "https://airflow.example.com"}, "ours"),
        ({MWAA: "an-mwaa", API: "https://airflow.example.com"}, "an-mwaa"),
        ({API: "https://Airflow.example.com/prod/"}, "airflow.example.com/prod"),
        ({API: "http://airflow.example.com:8080"}, "airflow.example.com:8080"),
        ({API: "https://airflow.example.com:443"}, "airflow.example.com"),
        ({API: "http://10.1.2.3:8080/x"}, "10.1.2.3:8080/x"),
        ({CHOSEN: "", MWAA: "an-mwaa"}, "an-mwaa"),
    ],
)
def test_what_is_chosen_comes_first_then_mwaa_then_the_url(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], namespace: str
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert config.deployment_namespace() == namespace


@pytest.mark.filterwarnings("ignore:The base_url option")
def test_airflow_2_and_3_give_the_same_url_the_same_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """An upgrade in the middle of a run must not make a second job."""
    monkeypatch.setenv("AIRFLOW__WEBSERVER__BASE_URL", "https://airflow.example.com/prod")
    assert config.deployment_namespace() == "airflow.example.com/prod"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/",
        "http://localhost:8080",
        "http://127.0.0.1:8080/prod",
        "http://[::1]:8080",
        "http://0.0.0.0:8080",
        "http://airflow-webserver:8080",
        "http://airflow-apiserver:8080",
    ],
)
def test_a_url_that_every_airflow_has_names_none(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv(API, url)
    assert config.deployment_namespace() is None


def test_what_is_derived_is_logged_once(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv(MWAA, "an-mwaa")
    with caplog.at_level(logging.INFO, logger="airflow_spot.config"):
        assert [config.deployment_namespace() for _ in range(3)] == ["an-mwaa"] * 3
    (said,) = [record.getMessage() for record in caplog.records if record.name == "airflow_spot.config"]
    assert "'an-mwaa'" in said
    assert "[airflow_spot] namespace" in said


def test_what_is_chosen_is_not_remarked_on(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv(CHOSEN, "ours")
    with caplog.at_level(logging.INFO, logger="airflow_spot.config"):
        config.deployment_namespace()
    assert not [record for record in caplog.records if record.name == "airflow_spot.config"]


def test_it_stays_the_same_for_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run's key must not change between two calls of one task."""
    monkeypatch.setenv(CHOSEN, "first")
    assert config.deployment_namespace() == "first"
    monkeypatch.setenv(CHOSEN, "second")
    assert config.deployment_namespace() == "first"


def test_the_options_default_to_what_the_provider_says_they_do() -> None:
    options = get_provider_info()["config"]["airflow_spot"]["options"]
    assert config.check_interval() == float(options["check_interval"]["default"]) == 30
    assert config.stop_on_kill() is (options["stop_on_kill"]["default"] == "True") is True
    assert config.tabs() is (options["tabs"]["default"] == "True") is True
    assert config.actions() is (options["actions"]["default"] == "True") is True


def test_the_options_are_read_anew_for_each_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__AIRFLOW_SPOT__CHECK_INTERVAL", "7.5")
    monkeypatch.setenv("AIRFLOW__AIRFLOW_SPOT__STOP_ON_KILL", "false")
    assert (config.check_interval(), config.stop_on_kill()) == (7.5, False)
    monkeypatch.setenv("AIRFLOW__AIRFLOW_SPOT__CHECK_INTERVAL", "60")
    assert config.check_interval() == 60


@pytest.mark.parametrize(
    ("url", "base", "host"),
    [
        ("", "", ""),
        ("http://localhost:8080", "", "localhost:8080"),
        ("https://airflow.example.com/prod/af/", "/prod/af", "airflow.example.com"),
    ],
)
def test_the_pages_are_below_the_base_url(monkeypatch: pytest.MonkeyPatch, url: str, base: str, host: str) -> None:
    if url:
        monkeypatch.setenv(API, url)
    assert (config.airflow_base(), config.airflow_host()) == (base, host)
    assert config.pages_base() == f"{base}/airflow-spot"


@pytest.mark.parametrize("value", ["0", "-1"])
def test_an_interval_that_would_never_pause_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("AIRFLOW__AIRFLOW_SPOT__CHECK_INTERVAL", value)
    with pytest.raises(InvalidParameterError, match=r"\[airflow_spot\] check_interval"):
        config.check_interval()


def test_the_page_names_every_option_and_no_other() -> None:
    page = (Path(__file__).parents[1] / "docs" / "configuration.md").read_text()
    options = page[page.index("| option |") :].split("\n\n")[0]  # the page has a table of events too
    told = set(re.findall(r"^\| `(\w+)` \|", options, re.MULTILINE))
    assert told == set(get_provider_info()["config"]["airflow_spot"]["options"])
