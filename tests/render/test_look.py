"""The style sheet: words can be read in light and in dark, and dark is the same however it is chosen."""

from __future__ import annotations

import re

import pytest

from airflow_spot.render.assets import CONTENT_SECURITY_POLICY, NAMES, asset
from airflow_spot.render.values import Where

#: What is written on what; each has to be told apart by who sees little contrast (WCAG 2.2, 1.4.3: 4.5 to 1).
WORDS = [
    ("fg", "bg"), ("dim", "bg"), ("fg", "card"), ("dim", "card"), ("link", "bg"), ("fg", "track"), ("dim", "dimbg"),
    ("ok", "okbg"), ("bad", "badbg"), ("wait", "waitbg"), ("run", "runbg"), ("fg", "badbg"), ("fg", "waitbg"),
    ("bad", "card"), ("wait", "card"), ("bad", "bg"), ("ok", "bg"), ("T2", "T"), ("W2", "W"), ("U2", "U"),
    ("dead", "bg"),
]  # fmt: skip
#: Marks beside each other or on the page (1.4.11: 3 to 1).
MARKS = [("T", "bg"), ("I", "bg"), ("tick", "bg"), ("dead", "bg"), ("U", "bg"), ("S2", "bg"), ("focus", "bg")]


def css() -> str:
    found = asset("spot.css")
    assert found is not None
    return found[0].decode()


def palettes() -> dict[str, dict[str, str]]:
    text = css()
    blocks = {
        "light": re.search(r"^:root \{(.*?)\n\}", text, re.S | re.M),
        "dark": re.search(r"^:root\.dark \{(.*?)\n\}", text, re.S | re.M),
        "system": re.search(r"^  :root:not\(\.light\) \{(.*?)\n  \}", text, re.S | re.M),
    }
    found = {}
    for name, block in blocks.items():
        assert block is not None
        found[name] = dict(re.findall(r"--([A-Za-z0-9]+): (#[0-9a-f]{3,6});", block[1]))
    return found


def luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    parts = [int(digits[index : index + 2], 16) / 255 for index in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def test_contrast_is_computed_as_wcag_has_it() -> None:
    assert contrast("#fff", "#000000") == pytest.approx(21.0)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_words_and_marks_stand_out(theme: str) -> None:
    palette = palettes()[theme]
    weak = {(fg, bg): round(contrast(palette[fg], palette[bg]), 2) for fg, bg in WORDS}
    assert {pair: ratio for pair, ratio in weak.items() if ratio < 4.5} == {}
    weak = {(fg, bg): round(contrast(palette[fg], palette[bg]), 2) for fg, bg in MARKS}
    assert {pair: ratio for pair, ratio in weak.items() if ratio < 3.0} == {}


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_spans_differ_in_lightness_too_where_they_have_no_pattern(theme: str) -> None:
    """Training is plain; what may stand beside it is lighter or darker, or hatched."""
    palette = palettes()[theme]
    assert contrast(palette["T"], palette["W"]) > 1.15
    assert contrast(palette["T"], palette["S"]) > 2.0


def test_dark_is_one_palette() -> None:
    found = palettes()
    assert found["dark"] == found["system"]
    assert set(found["dark"]) == set(found["light"])
    used = set(re.findall(r"var\(--([A-Za-z0-9]+)\)", css()))
    assert used <= set(found["light"])


def test_nothing_comes_from_elsewhere_and_nothing_is_inline() -> None:
    for name in NAMES:
        content, kind = asset(name) or (b"", "")
        assert b"http:" not in content
        assert b"https:" not in content
        assert b"@import" not in content
        assert kind
    assert "unsafe" not in CONTENT_SECURITY_POLICY
    assert asset("../values.py") is None


def test_the_script_is_small() -> None:
    content, _ = asset("spot.js") or (b"", "")
    assert len(content.splitlines()) < 90
    assert b"eval(" not in content


def test_a_shell_holds_nothing_and_asks_for_its_fragment() -> None:
    from airflow_spot.render.pages import shell

    page = shell(Where("/airflow-spot"), "/airflow-spot/fragment/run/d/r/t/-1")
    assert '<main id="page" data-src="/airflow-spot/fragment/run/d/r/t/-1"></main>' in page
