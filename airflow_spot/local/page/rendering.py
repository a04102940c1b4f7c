"""Pages from the templates beside this file, and the headers that they are sent with.

No script runs on a page and nothing comes from elsewhere: the Content-Security-Policy allows the one style sheet only,
by its hash, so that even text that got through as HTML could do nothing.
"""

from __future__ import annotations

import base64
import hashlib
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from werkzeug.wrappers import Response

from airflow_spot.render.assets import stylesheet
from airflow_spot.render.pages import TEMPLATES as RENDER_TEMPLATES
from airflow_spot.render.words import duration

TEXT_CHARACTERS = 2_000
TEMPLATES = Path(__file__).with_name("templates")

#: The look of the pages in Airflow's UI, and what only these pages have.
STYLE = Markup(  # noqa: S704 - our own files
    stylesheet() + (TEMPLATES / "local.css").read_text(encoding="utf-8")
)
_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_HASH}'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Under no-referrer a browser calls the origin of a form "null".
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def render(template: str, status: int = 200, **values: Any) -> Response:
    """Return a page.

    :param template: the name of a file in ``templates``.
    :param values: what it uses. Every text is cleaned and escaped where it is written out.
    """
    body = _ENVIRONMENT.get_template(template).render(**values)
    return Response(body, status=status, headers=HEADERS, content_type="text/html; charset=utf-8")


def clean(text: object, limit: int = TEXT_CHARACTERS) -> str:
    """Return a text that others wrote without what does not print, and cut where it is too long.

    :param limit: in characters.
    """
    given = str(text)
    shown = "".join(
        letter if letter.isprintable() or letter == "\t" else "\N{REPLACEMENT CHARACTER}" for letter in given[:limit]
    )
    return shown if len(given) <= limit else f"{shown} ..."


def moment(seconds: float | None) -> str:
    """Return a time as people read it, in UTC; nothing for None."""
    if seconds is None:
        return ""
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M:%S")


def _finalize(value: object) -> object:
    # Called with every value that a template writes out. Markup is what macros have made of cleaned text.
    return value if isinstance(value, Markup) else clean(value)


_ENVIRONMENT = Environment(
    loader=FileSystemLoader([TEMPLATES, RENDER_TEMPLATES]),
    autoescape=True,
    undefined=StrictUndefined,
    finalize=_finalize,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters.update(moment=moment, duration=duration)
