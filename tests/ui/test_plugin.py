"""Airflow finds the plugin once, and shows its pages where the version looks for them."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from airflow.plugins_manager import AirflowPlugin

from airflow_spot.compat import plugins as compat_plugins
from airflow_spot.ui import plugin
from airflow_spot.ui.plugin import external_views, menu_items
from demo.__main__ import FLEET_VIEW, TIMELINE_TAB


def test_airflow_finds_it_by_its_entry_point_once() -> None:
    from airflow.plugins_manager import get_plugin_info

    (found,) = [info for info in get_plugin_info() if info["name"] == "airflow_spot"]
    assert "airflow-spot" in str(found["source"])
    assert found["external_views"] == plugin.AirflowSpotPlugin.external_views
    assert [view["destination"] for view in found["external_views"]] == ["nav", "task_instance", "dag_run"]
    # Airflow 3.1 and above shows what is in both twice.
    assert found["appbuilder_menu_items"] == []
    (app,) = found["fastapi_apps"]
    assert app["url_prefix"] == "/airflow-spot"
    assert found["flask_blueprints"] == []


def test_the_ui_is_told_of_it_with_a_frame_for_each() -> None:
    from airflow.api_fastapi.core_api.datamodels.plugins import PluginResponse
    from airflow.plugins_manager import get_plugin_info

    (info,) = [info for info in get_plugin_info() if info["name"] == "airflow_spot"]
    views = PluginResponse.model_validate(info).external_views
    assert len({view.url_route for view in views}) == len(views) == 3
    assert views[0].category == "browse"


def test_the_ids_are_in_the_path_as_airflow_fills_them_in() -> None:
    """In a query a plus of a run's id would become a space, and Airflow 3.0 checks what is in the path alone."""
    nav, task, run = (view["href"] for view in external_views())
    assert nav == "/airflow-spot/"
    assert task == "/airflow-spot/run/{DAG_ID}/{RUN_ID}/{TASK_ID}/{MAP_INDEX}"
    assert run == "/airflow-spot/run/{DAG_ID}/{RUN_ID}"


def test_the_demo_opens_where_the_plugin_is() -> None:
    nav, task, _ = external_views()
    assert (nav["url_route"], task["url_route"]) == (FLEET_VIEW, TIMELINE_TAB)


def test_tabs_can_be_taken_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__AIRFLOW_SPOT__TABS", "False")
    assert [view["destination"] for view in external_views()] == ["nav"]


def test_a_base_url_with_a_path_is_in_every_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://example.com/af/")
    views = [*external_views(), *menu_items()]
    assert {view["href"].partition("/airflow-spot/")[0] for view in views} == {"/af"}


@pytest.fixture
def _reloaded() -> Iterator[None]:
    yield
    importlib.reload(plugin)


@pytest.mark.parametrize(("has_views", "has_menu"), [(True, False), (False, True), (False, False)])
def test_a_version_gets_one_entry_at_most(
    monkeypatch: pytest.MonkeyPatch, _reloaded: None, has_views: bool, has_menu: bool
) -> None:
    """On this Airflow there are external views; what the others get stands here, and the matrix sees it there."""
    monkeypatch.setattr(compat_plugins, "HAS_EXTERNAL_VIEWS", has_views)
    monkeypatch.setattr(compat_plugins, "HAS_MENU_ITEMS", has_menu)
    try:
        importlib.reload(plugin)
        found = plugin.AirflowSpotPlugin
        assert (bool(found.external_views), len(found.appbuilder_menu_items)) == (has_views, has_menu)
    finally:
        monkeypatch.undo()


def test_loading_it_loads_nothing_that_serves_pages() -> None:
    """Every component of Airflow loads the plugins, a worker for each task."""
    code = (
        "import sys, airflow.plugins_manager; before = set(sys.modules); import airflow_spot.ui.plugin; "
        "print(*sorted(n for n in set(sys.modules) - before))"
    )
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    loaded = told.stdout.split()
    assert "airflow_spot.ui.plugin" in loaded
    assert [name for name in loaded if not name.startswith("airflow_spot")] == []
    assert not {"airflow_spot.ui.pages", "airflow_spot.ui.fastapi_app", "airflow_spot.ui.blueprint"} & set(loaded)
    assert not any(name.startswith(("airflow_spot.operators", "airflow_spot.hooks")) for name in loaded)


def test_it_is_a_plugin_of_airflow() -> None:
    assert issubclass(plugin.AirflowSpotPlugin, AirflowPlugin)
    plugin.AirflowSpotPlugin.validate()


def test_the_application_is_made_once() -> None:
    first: Any = plugin.AirflowSpotPlugin()
    second: Any = plugin.AirflowSpotPlugin()
    assert first.fastapi_apps[0]["app"] is second.fastapi_apps[0]["app"]
