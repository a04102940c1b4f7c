"""The files that pages load, and the headers that pages are to be sent with."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

_FOLDER = Path(__file__).with_name("static")
_TYPES = {"spot.css": "text/css; charset=utf-8", "spot.js": "text/javascript; charset=utf-8"}
NAMES = tuple(_TYPES)

#: Nothing inline, and nothing from elsewhere: text that got through as HTML could do nothing.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'self'"
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@lru_cache(maxsize=len(_TYPES))
def asset(name: str) -> tuple[bytes, str] | None:
    """Return a static file's content and its type; None where there is no such file."""
    kind = _TYPES.get(name)
    return None if kind is None else ((_FOLDER / name).read_bytes(), kind)


def stylesheet() -> str:
    """Return the style sheet, for a page that has it inline."""
    return (_FOLDER / "spot.css").read_text(encoding="utf-8")
