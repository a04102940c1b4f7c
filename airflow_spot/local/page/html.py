"""HTML of the web page: small parts that escape what they are given, and the frame around them.

No script runs on it and nothing comes from elsewhere: the Content-Security-Policy allows this one style sheet only, by
its hash, so that even text that got through as HTML could do nothing.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from typing import TypeAlias

from markupsafe import Markup, escape
from werkzeug.wrappers import Response

REFRESH_SECONDS = 2
TEXT_CHARACTERS = 2_000

STYLE = """
:root { color-scheme: light dark; --line: #8884; --dim: #8889; --go: #2a9d57; --wait: #d9a521; --bad: #d0453e;
        --move: #3f7fd1; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 76rem; padding: 1rem 1.5rem 3rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
nav { display: flex; gap: 1.5rem; } small, .dim { opacity: .7; }
table { border-collapse: collapse; width: 100%; }
th, td { border-bottom: 1px solid var(--line); padding: .3rem .8rem .3rem 0; text-align: left; vertical-align: top; }
th { font-weight: 600; opacity: .7; } td { overflow-wrap: anywhere; } 
td:has(svg) { min-width: 8rem; width: 20rem; }
table.facts th { width: 14rem; }
pre { border: 1px solid var(--line); border-radius: .3rem; overflow-x: auto; padding: .6rem .8rem;
      white-space: pre-wrap; }
.line { margin: 1em 0; }
form { display: inline; } button { cursor: pointer; font: inherit; } input[type=number] { font: inherit; width: 4rem; }
.badge { border-radius: .3rem; color: #fff; padding: .05rem .45rem; white-space: nowrap; background: var(--dim); }
.badge.go { background: var(--go); } .badge.wait { background: var(--wait); } .badge.bad { background: var(--bad); }
.badge.move { background: var(--move); }
svg { background: var(--line); border-radius: .2rem; display: block; height: 1.1rem; width: 100%; }
svg.strip { height: 1.6rem; margin-bottom: .8rem; }
rect { fill: var(--dim); } rect.go { fill: var(--go); } rect.wait { fill: var(--wait); } rect.bad { fill: var(--bad); }
rect.move { fill: var(--move); }
"""

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

Content: TypeAlias = "Markup | str | int"
"""What a part is made of: Markup as it is, anything else escaped."""


def document(title: str, *parts: Content, links: Iterable[Content] = (), live: bool = False) -> Response:
    """
    A whole page.

    :param links: at its top.
    :param live: has the browser load it again after ``REFRESH_SECONDS``.
    """
    refresh = Markup('<meta http-equiv="refresh" content="{}">').format(REFRESH_SECONDS) if live else ""
    body = Markup(
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{} - Local SageMaker</title>{}'
        "<style>{}</style></head>\n<body><nav>{}</nav>\n<h1>{}</h1>\n{}\n</body></html>\n"
    ).format(clean(title), refresh, Markup(STYLE), join(links, " "), clean(title), join(parts, "\n"))  # noqa: S704 - ours
    return Response(body, headers=HEADERS, content_type="text/html; charset=utf-8")


def clean(text: object, limit: int = TEXT_CHARACTERS) -> str:
    """Text that others wrote: what does not print is replaced, what is too long is cut."""
    given = str(text)
    shown = "".join(
        letter if letter.isprintable() or letter == "\t" else "\N{REPLACEMENT CHARACTER}" for letter in given[:limit]
    )
    return shown if len(given) <= limit else f"{shown} ..."


def join(parts: Iterable[Content], between: str = "") -> Markup:
    """Parts one after the other."""
    return Markup(between).join(map(escape, parts))  # noqa: S704 - join escapes the parts, and the callers' separators are ours


def heading(text: str) -> Markup:
    return Markup("<h2>{}</h2>").format(text)


def paragraph(*parts: Content) -> Markup:
    # No <p>, which a form would end.
    return Markup('<div class="line">{}</div>').format(join(parts, " "))


def link(path: str, text: str) -> Markup:
    return Markup('<a href="{}">{}</a>').format(path, clean(text))


def badge(text: str, kind: str = "") -> Markup:
    """A word on a colour.

    :param kind: ``go``, ``wait``, ``move``, ``bad`` or nothing.
    """
    return Markup('<span class="badge {}">{}</span>').format(kind, clean(text))


def table(columns: Sequence[str], rows: Iterable[Sequence[Content]]) -> Markup:
    """Rows under a head."""
    head = join(Markup("<th>{}</th>").format(column) for column in columns)
    body = join(_row(row) for row in rows)
    return Markup("<table><thead><tr>{}</tr></thead><tbody>{}</tbody></table>").format(head, body)


def _row(cells: Sequence[Content]) -> Markup:
    return Markup("<tr>{}</tr>\n").format(join(Markup("<td>{}</td>").format(cell) for cell in cells))


def facts(pairs: Iterable[tuple[str, Content]]) -> Markup:
    """Names and values, one pair a line; those without a value are left out."""
    rows = join(Markup("<tr><th>{}</th><td>{}</td></tr>\n").format(*pair) for pair in pairs if pair[1] != "")
    return Markup('<table class="facts"><tbody>{}</tbody></table>').format(rows)


def lines(texts: Iterable[str]) -> Markup:
    """Lines of a log."""
    return Markup("<pre>{}</pre>").format("\n".join(clean(text) for text in texts))


def bar(segments: Iterable[tuple[float, float, str]], kind: str = "") -> Markup:
    """
    A bar across the whole width.

    :param segments: begin and end, as parts of the whole between 0 and 1, and the kind of each.
    :param kind: of the bar: ``strip`` for a higher one.
    """
    parts = (
        Markup('<rect class="{}" x="{:.2f}" width="{:.2f}" height="10"/>').format(
            name, begin * 1000, max(3.0, (end - begin) * 1000)
        )
        # The short ones over the long ones, or an interruption could not be seen.
        for begin, end, name in sorted(segments, key=lambda segment: segment[0] - segment[1])
    )
    return Markup('<svg class="{}" viewBox="0 0 1000 10" preserveAspectRatio="none">{}</svg>').format(kind, join(parts))


def button(path: str, label: str, fields: dict[str, str], more: Content = "") -> Markup:
    """
    A form of one button.

    :param fields: that it sends unseen.
    :param more: inputs before the button.
    """
    hidden = join(
        Markup('<input type="hidden" name="{}" value="{}">').format(name, value) for name, value in fields.items()
    )
    return Markup('<form method="post" action="{}">{}{} <button>{}</button></form>').format(path, hidden, more, label)


def moment(seconds: float | None) -> str:
    """A time as people read it, in UTC; nothing for None."""
    if seconds is None:
        return ""
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M:%S")


def duration(seconds: float) -> str:
    """Seconds as people read them."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
