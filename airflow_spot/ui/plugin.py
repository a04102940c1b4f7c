"""What this package adds to Airflow's own UI. Airflow loads it by the entry point ``airflow.plugins``."""

from __future__ import annotations

import os
from typing import Any

from airflow.plugins_manager import AirflowPlugin

from airflow_spot.compat.plugins import HAS_EXTERNAL_VIEWS, HAS_MENU_ITEMS
from airflow_spot.links.console import Place, jobs_url, partition_of

ENTRY = "Spot training jobs"


def deployment_region() -> str | None:
    """
    Return the region that this deployment's environment names; None where it names none.

    Not that of a connection: the metadata database is not to be asked while a plugin is loaded.
    """
    return os.environ.get("AWS_DEFAULT_REGION") or os.environ.get("AWS_REGION") or None


def training_jobs_url(region: str | None) -> str:
    """
    Return the page of SageMaker's console that lists the training jobs.

    :param region: such as ``eu-west-1``; None for the one that the user's console is in.
    """
    return jobs_url(Place(region or "", partition_of(region)))


def external_views(region: str | None) -> list[dict[str, Any]]:
    """Return the navigation's entry for Airflow 3.1 and above. AWS's console allows no frame, hence no route."""
    return [{"name": ENTRY, "href": training_jobs_url(region), "destination": "nav", "category": "browse"}]


def menu_items(region: str | None) -> list[dict[str, Any]]:
    """Return the same for Airflow 2.11, and 3.0 where it has the FAB provider."""
    return [{"name": ENTRY, "href": training_jobs_url(region), "category": "Browse"}]


class AirflowSpotPlugin(AirflowPlugin):
    """The plugin: an entry in the navigation that opens the list of training jobs in SageMaker's console."""

    name = "airflow_spot"
    external_views = external_views(deployment_region()) if HAS_EXTERNAL_VIEWS else []
    appbuilder_menu_items = menu_items(deployment_region()) if HAS_MENU_ITEMS else []
