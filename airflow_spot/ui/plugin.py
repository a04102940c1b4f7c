"""
What this package adds to Airflow's own UI. Airflow loads it by the entry point ``airflow.plugins``, in every process.

So what serves the pages is made only where it is asked for: by the API server, or by Airflow 2's webserver.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from airflow.plugins_manager import AirflowPlugin

from airflow_spot import config
from airflow_spot.compat.plugins import HAS_EXTERNAL_VIEWS, HAS_MENU_ITEMS, SERVES_BY_FLASK
from airflow_spot.render import routes

ENTRY = "Spot trainings"
TAB = "Spot"


def external_views() -> list[dict[str, Any]]:
    """Return the navigation's entry and the tabs, for Airflow 3.1 and above: each opens in a frame."""
    base = config.pages_base()
    run = f"{base}/run/{{DAG_ID}}/{{RUN_ID}}"
    entry = {
        "name": ENTRY,
        "href": routes.fleet(base),
        "destination": "nav",
        "category": "browse",
        "url_route": "spot-trainings",
    }
    if not config.tabs():
        return [entry]
    task = f"{run}/{{TASK_ID}}/{{MAP_INDEX}}"
    return [
        entry,
        {"name": TAB, "href": task, "destination": "task_instance", "url_route": "spot-training"},
        {"name": TAB, "href": run, "destination": "dag_run", "url_route": "spot-trainings-of-run"},
    ]


def menu_items() -> list[dict[str, Any]]:
    """Return the navigation's entry for Airflow 2.11, and for 3.0 where it has the FAB provider."""
    return [{"name": ENTRY, "href": routes.fleet(config.pages_base()), "category": "Browse"}]


@lru_cache(maxsize=1)
def _fastapi_apps() -> list[dict[str, Any]]:
    from airflow_spot.ui.fastapi_app import make_app

    return [{"name": "airflow_spot", "app": make_app(), "url_prefix": config.PAGES}]


@lru_cache(maxsize=1)
def _blueprints() -> list[Any]:
    from airflow_spot.ui.blueprint import make_blueprint

    return [make_blueprint()]


class AirflowSpotPlugin(AirflowPlugin):
    """The plugin: pages of all spot trainings and of each run, an entry in the navigation, and tabs."""

    name = "airflow_spot"
    external_views = external_views() if HAS_EXTERNAL_VIEWS else []
    appbuilder_menu_items = menu_items() if HAS_MENU_ITEMS else []

    # Airflow declares lists; made at the first question, since every process of Airflow loads the plugin.
    @property
    def fastapi_apps(self) -> list[Any]:  # type: ignore[override]
        """What Airflow 3's API server mounts."""
        return [] if SERVES_BY_FLASK else _fastapi_apps()

    @property
    def flask_blueprints(self) -> list[Any]:  # type: ignore[override]
        """What Airflow 2's webserver registers."""
        return _blueprints() if SERVES_BY_FLASK else []
