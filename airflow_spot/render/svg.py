"""
Marks of a picture as SVG. Widths are in percent and heights in pixels: a picture fits every width without a script.

Everything that comes from outside is escaped here.
"""

from __future__ import annotations

from collections.abc import Iterable

from markupsafe import Markup, escape

from airflow_spot.render.words import clean

#: Fills that are patterns; the page has them once, see ``page.html``. A kind is told by its pattern too, not only by
#: its colour.
_PATTERNS = {"W": "spot-wait", "R": "spot-again", "U": "spot-upload", "S": "spot-start"}


def _told(words: str) -> Markup:
    return escape(clean(words, 400))


def number(value: float) -> str:
    """Return a number of percent or pixels as short as it gets."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def bar(kind: str, x: float, width: float, y: float, height: float, title: str = "") -> str:
    """
    Return a rectangle.

    :param kind: a letter: W waits, S starts, T trains, R trained again, U uploads; or a class.
    :param title: what is shown over it.
    """
    fill = f'fill="url(#{_PATTERNS[kind]})"' if kind in _PATTERNS else f'class="{kind}"'
    shape = f'<rect {fill} x="{number(x)}%" y="{number(y)}" width="{number(width)}%" height="{number(height)}"'
    return f"{shape}><title>{_told(title)}</title></rect>" if title else f"{shape}/>"


def line(kind: str, x: float, y: float | str = 0, to: float | str = "100%", title: str = "") -> str:
    """Return an upright line."""
    shape = f'<line class="{kind}" x1="{number(x)}%" x2="{number(x)}%" y1="{y}" y2="{to}"'
    return f"{shape}><title>{_told(title)}</title></line>" if title else f"{shape}/>"


def across(kind: str, x: float, to: float, y: float, title: str = "") -> str:
    """Return a level line."""
    shape = f'<line class="{kind}" x1="{number(x)}%" x2="{number(to)}%" y1="{number(y)}" y2="{number(y)}"'
    return f"{shape}><title>{_told(title)}</title></line>" if title else f"{shape}/>"


def text(kind: str, x: float, y: float, words: str, anchor: str = "start", dx: float = 0) -> str:
    """Return words at a place."""
    place = f'x="{number(x)}%" y="{number(y)}"' + (f' dx="{number(dx)}"' if dx else "")
    at = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f'<text class="{kind}" {place}{at}>{_told(words)}</text>'


def clipped(x: float, width: float, y: float, height: float, inner: str) -> str:
    """Return marks that are cut off where a span ends."""
    place = f'x="{number(x)}%" y="{number(y)}" width="{number(width)}%" height="{number(height)}"'
    return f'<svg class="cut" {place}>{inner}</svg>'


def triangle(x: float, title: str) -> str:
    """Return an interruption: a triangle that points at its moment."""
    path = f'<path class="I" d="M-6 1H6L0 12Z"><title>{_told(title)}</title></path>'
    return f'<svg x="{number(x)}%" width="1" height="1">{path}</svg>'


def picture(height: float, inner: Iterable[str], label: str = "", kind: str = "") -> Markup:
    """
    Return an SVG element.

    :param label: what it shows, for those who do not see it; without one it is left out for them.
    """
    told = f'role="img" aria-label="{_told(label)}"' if label else 'aria-hidden="true"'
    css = f' class="{kind}"' if kind else ""
    return Markup(f'<svg{css} height="{number(height)}" {told}>{"".join(inner)}</svg>')  # noqa: S704 - escaped above
