"""The pages as a blueprint of Flask, for Airflow 2's webserver. Goes when 2.11 is no longer supported."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlsplit

from flask import Blueprint, Response, request

from airflow_spot import config
from airflow_spot.compat.access import airflow_2_viewer, form_tokens
from airflow_spot.ui.pages import Pages
from airflow_spot.ui.values import Request as Asked


def make_blueprint(pages: Pages | None = None) -> Blueprint:
    """Return the blueprint. Every route asks Airflow who it is for."""
    blueprint = Blueprint("airflow_spot", __name__, url_prefix=config.PAGES)
    answers = pages or Pages()

    @blueprint.route("/", defaults={"path": ""}, methods=["GET", "POST"])
    @blueprint.route("/<path:path>", methods=["GET", "POST"])
    def answer(path: str) -> Response:
        told = answers.answer(_asked(path))
        return Response(told.body, told.status, told.headers)

    def without_form_token(_: Any) -> None:
        form_tokens().exempt(blueprint)  # the pages have a check of their own, see ui/pages.py

    blueprint.record_once(without_form_token)
    return blueprint


def _asked(path: str) -> Asked:
    return Asked(
        method=request.method,
        path=_as_it_came(path),
        query=dict(request.args.items()),
        headers={name.lower(): value for name, value in request.headers.items()},
        viewer=airflow_2_viewer(),
        base=f"{request.script_root}{config.PAGES}",
        airflow=request.script_root,
    )


def _as_it_came(path: str) -> str:
    """Return the path below the pages' own, as it came: an id in it may hold a slash, percent-encoded."""
    raw = urlsplit(str(request.environ.get("RAW_URI") or request.environ.get("REQUEST_URI") or "")).path
    _, found, below = raw.partition(f"{request.script_root}{config.PAGES}/")
    return f"/{below}" if found else f"/{quote(path)}"
