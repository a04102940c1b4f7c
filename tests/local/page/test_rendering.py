"""The parts that pages are made of: they escape what they are given, and know nothing of any page."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import Any

import pytest
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from airflow_spot.local.page import rendering

HOSTILE = "<b>'\"&"
ESCAPED = "&lt;b&gt;&#39;&#34;&amp;"


@pytest.fixture
def ui() -> Any:
    """The macros in an environment of somebody else's, as another page may have it."""
    loader = FileSystemLoader([rendering.TEMPLATES, rendering.RENDER_TEMPLATES])
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined).get_template("macros.html").module


def test_text_is_escaped_wherever_it_stands(ui: Any) -> None:
    shown = [
        ui.facts([(HOSTILE, HOSTILE)]),
        ui.button(HOSTILE, HOSTILE, {HOSTILE: HOSTILE}),
        ui.log([HOSTILE]),
        ui.document(HOSTILE, HOSTILE, Markup(""), [(HOSTILE, HOSTILE)], caller=lambda: ""),
    ]
    for part in shown:
        assert ESCAPED in part
        assert HOSTILE not in part


def test_facts_without_a_value_are_left_out(ui: Any) -> None:
    names = re.findall('<th scope="row">(.*?)</th>', ui.facts([("a", ""), ("b", None), ("c", 0), ("d", "x")]))
    assert names == ["c", "d"]


def test_a_document_loads_itself_again_only_if_it_is_to(ui: Any) -> None:
    pages = [ui.document("t", "p", Markup(""), refresh_seconds=seconds, caller=lambda: "") for seconds in (None, 2)]
    assert ['http-equiv="refresh" content="2"' in page for page in pages] == [False, True]


def test_the_policy_allows_the_pages_own_style_sheet_and_nothing_else() -> None:
    answer = rendering.render("message.html", page={"style": rendering.STYLE, "links": []}, text="x")
    style = re.search(r"<style>(.*?)</style>", answer.get_data(as_text=True), re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}';" in answer.headers["Content-Security-Policy"]


def test_what_a_template_writes_is_cleaned() -> None:
    text = "a\x1b\u202eb" + "x" * rendering.TEXT_CHARACTERS
    shown = rendering.render("message.html", page={"style": Markup(""), "links": []}, text=text).get_data(as_text=True)
    assert "a\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}bx" in shown
    assert "x ..." in shown


def test_times_are_readable() -> None:
    assert rendering.moment(0.0) == "1970-01-01 00:00:00"
    assert rendering.moment(None) == ""
    assert json.loads(json.dumps(rendering.clean("a\ud800b"))) == "a\N{REPLACEMENT CHARACTER}b"
