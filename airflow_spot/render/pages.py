"""Pages from the templates beside this file: every text is cleaned and escaped where it is written out."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from airflow_spot.render import routes
from airflow_spot.render.assets import asset
from airflow_spot.render.values import Where
from airflow_spot.render.words import clean

#: After so many seconds a page that may change asks for its fragment again.
EVERY = 5
TEMPLATES = Path(__file__).with_name("templates")


@lru_cache(maxsize=1)
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )


def _finalize(value: object) -> object:
    # Called with every value that a template writes out. Markup was made of escaped text, or by a macro.
    return value if isinstance(value, Markup) else clean(value)


def fragment(template: str, **values: Any) -> Markup:
    """Return what a template makes of values."""
    return Markup(_environment().get_template(template).render(**values))  # noqa: S704 - autoescape is on


def page(title: str, where: Where, body: Markup, source: str = "") -> str:
    """
    Return a whole page.

    :param body: its fragment; empty for a page that asks for it first, with Airflow's token.
    :param source: where the fragment is asked for again; empty for nowhere.
    """
    return (
        _environment()
        .get_template("page.html")
        .render(
            title=title,
            where=where,
            body=body,
            source=source,
            style=_versioned(where, "spot.css"),
            script=_versioned(where, "spot.js"),
        )
    )


def shell(where: Where, source: str, title: str = "Spot training") -> str:
    """
    Return a page that holds nothing yet: its script asks for the fragment, with the token that Airflow 3.0 keeps.

    :param source: the fragment's address.
    """
    return page(title, where, Markup(""), source)


def safe_links(links: tuple[tuple[str, str], ...]) -> list[tuple[str, str]]:
    """Return the links that lead to a web page: an address comes from an XCom, and might be a script."""
    return [(name, url) for name, url in links if _is_web(url)]


def trail(where: Where, dag_id: str, run_id: str) -> list[tuple[str, str]]:
    """Return the way from a run to its DAG run, and to all trainings of its DAG."""
    dag = f"{routes.fleet(where.base)}?{urlencode({'dag': dag_id})}"
    return [(dag_id, dag), (run_id, routes.run(where.base, dag_id, run_id))]


def _is_web(url: str) -> bool:
    try:
        parts = urlsplit(url.strip())
    except ValueError:
        return False
    return parts.scheme in ("http", "https") or (not parts.scheme and not parts.netloc and url.startswith("/"))


@lru_cache(maxsize=8)
def _digest(name: str) -> str:
    found = asset(name)
    return hashlib.sha256(found[0]).hexdigest()[:10] if found else ""


def _versioned(where: Where, name: str) -> str:
    """Return where a static file is; its address changes with it, so that a browser may keep it."""
    return f"{routes.static(where.base, name)}?v={_digest(name)}"
