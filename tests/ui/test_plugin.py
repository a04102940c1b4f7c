"""Airflow finds the plugin once, and shows its entry where the version looks for it."""

from __future__ import annotations

import subprocess
import sys
from typing import Any
from urllib.parse import urlsplit

import pytest
from airflow.plugins_manager import AirflowPlugin

from airflow_spot.ui import plugin
from airflow_spot.ui.plugin import deployment_region, external_views, menu_items, training_jobs_url


def test_airflow_finds_it_by_its_entry_point_once() -> None:
    from airflow.plugins_manager import get_plugin_info

    (found,) = [info for info in get_plugin_info() if info["name"] == "airflow_spot"]
    assert "airflow-spot" in str(found["source"])
    assert found["external_views"] == plugin.AirflowSpotPlugin.external_views
    assert found["external_views"][0]["name"] == "Spot training jobs"
    # Airflow 3.1 and above shows what is in both twice.
    assert found["appbuilder_menu_items"] == []


def test_the_ui_is_told_of_it_with_a_link_and_no_frame() -> None:
    """AWS's console refuses frames, and a view with a route of its own would be one."""
    from airflow.api_fastapi.core_api.datamodels.plugins import PluginResponse
    from airflow.plugins_manager import get_plugin_info

    (info,) = [info for info in get_plugin_info() if info["name"] == "airflow_spot"]
    (view,) = PluginResponse.model_validate(info).external_views
    assert (view.url_route, view.destination, view.category) == (None, "nav", "browse")
    assert urlsplit(view.href).fragment == "/jobs"


@pytest.mark.parametrize(
    ("region", "host", "query"),
    [
        ("eu-west-1", "console.aws.amazon.com", "region=eu-west-1"),
        ("us-gov-west-1", "console.amazonaws-us-gov.com", "region=us-gov-west-1"),
        ("cn-north-1", "console.amazonaws.cn", "region=cn-north-1"),
        (None, "console.aws.amazon.com", ""),
    ],
)
def test_the_console_is_that_of_the_partition(region: str | None, host: str, query: str) -> None:
    url = urlsplit(training_jobs_url(region))
    assert (url.scheme, url.netloc, url.path) == ("https", host, "/sagemaker/home")
    assert (url.query, url.fragment) == (query, "/jobs")


@pytest.mark.parametrize(
    ("environ", "region"),
    [
        ({"AWS_DEFAULT_REGION": "eu-west-1", "AWS_REGION": "us-east-1"}, "eu-west-1"),
        ({"AWS_REGION": "us-east-1"}, "us-east-1"),
        ({"AWS_REGION": ""}, None),
        ({}, None),
    ],
)
def test_the_region_is_the_deployments(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], region: str | None
) -> None:
    for name in ("AWS_DEFAULT_REGION", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert deployment_region() == region


@pytest.mark.parametrize("make", [external_views, menu_items])
def test_both_entries_open_the_list_of_jobs(make: Any) -> None:
    (entry,) = make("eu-west-1")
    assert entry["name"] == "Spot training jobs"
    assert entry["href"] == training_jobs_url("eu-west-1")


@pytest.mark.parametrize(("has_views", "has_menu"), [(True, False), (False, True), (False, False)])
def test_a_version_gets_one_entry_at_most(monkeypatch: pytest.MonkeyPatch, has_views: bool, has_menu: bool) -> None:
    """On this Airflow there are external views; what the others get stands here, and the matrix sees it there."""
    import importlib

    from airflow_spot.compat import plugins as compat_plugins

    monkeypatch.setattr(compat_plugins, "HAS_EXTERNAL_VIEWS", has_views)
    monkeypatch.setattr(compat_plugins, "HAS_MENU_ITEMS", has_menu)
    try:
        importlib.reload(plugin)
        found = plugin.AirflowSpotPlugin
        assert (len(found.external_views), len(found.appbuilder_menu_items)) == (has_views, has_menu)
    finally:
        monkeypatch.undo()
        importlib.reload(plugin)


def test_loading_it_loads_nothing_of_aws() -> None:
    """Every component of Airflow loads the plugins, the API server at each start of a worker."""
    code = (
        "import sys, airflow.plugins_manager; before = set(sys.modules); import airflow_spot.ui.plugin; "
        "print(*sorted(n for n in set(sys.modules) - before if not n.startswith('airflow_spot')))"
    )
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert told.stdout.split() == []


def test_it_is_a_plugin_of_airflow() -> None:
    assert issubclass(plugin.AirflowSpotPlugin, AirflowPlugin)
    plugin.AirflowSpotPlugin.validate()
