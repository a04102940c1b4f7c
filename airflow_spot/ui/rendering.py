"""The renderer as the shells use it."""

from __future__ import annotations

from markupsafe import Markup

from airflow_spot.render.fleet import fleet, fleet_csv, fleet_fragment, fleet_page
from airflow_spot.render.pages import page, shell
from airflow_spot.render.run import run_fragment, run_page
from airflow_spot.render.values import Where

__all__ = ["fleet", "fleet_csv", "fleet_fragment", "fleet_page", "message", "run_fragment", "run_page", "shell"]


def message(where: Where, text: str, more: Markup | str = "") -> str:
    """Return a page that says one sentence."""
    body = Markup('<div><p class="notice"><b>{}</b>{}</p></div>').format(text, more)
    return page("Spot training", where, body)
