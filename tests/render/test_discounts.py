"""The picture of EC2's spot discount: steps in the right place, and nothing that breaks out of the SVG."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_spot.render.discounts import Line, discount_picture
from airflow_spot.render.words import DAY

UNTIL = 90 * DAY
SVG = "{http://www.w3.org/2000/svg}"


def paths(*lines: Line) -> list[str]:
    root = ElementTree.fromstring(discount_picture(lines, "t", UNTIL, 90))
    return [each.attrib["d"] for each in root.iter(f"{SVG}path") if each.find(f"{SVG}title") is not None]


def test_a_price_holds_until_the_next_one_and_from_before_the_axis() -> None:
    (path,) = paths(Line("a", ((-5 * DAY, 20.0), (-1 * DAY, 40.0), (45 * DAY, 60.0))))
    assert re.fullmatch(r"M60 220H([\d.]+)V160H([\d.]+)", path)
    middle, end = (float(each) for each in re.findall(r"H([\d.]+)", path))
    assert middle == 60 + 0.5 * 920 and end == 980


def test_a_line_begins_where_its_first_price_does() -> None:
    (path,) = paths(Line("a", ((45 * DAY, 60.0),)))
    assert path.startswith("M520 160H")


def test_no_price_is_no_line() -> None:
    assert paths(Line("a", ()), Line("b", ((100 * DAY, 50.0),))) == []


def test_a_discount_below_0_has_room() -> None:
    (path,) = paths(Line("a", ((1 * DAY, -150.0),)))
    (y,) = re.findall(r"M[\d.]+ ([\d.]+)", path)
    assert 40 <= float(y) <= 340


def test_lines_are_told_apart_by_colour_and_dashes() -> None:
    lines = [Line(str(nth), ((DAY, 1.0),)) for nth in range(20)]
    root = ElementTree.fromstring(discount_picture(lines, "t", UNTIL, 90))
    drawn = [each.attrib for each in root.iter(f"{SVG}path") if each.find(f"{SVG}title") is not None]
    assert len({(each["stroke"], each["stroke-dasharray"]) for each in drawn}) == 20


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(st.text(max_size=8), st.lists(st.tuples(st.floats(-1e7, 1e7), st.floats(-1e5, 100)), max_size=4))
    )
)
def test_any_lines_are_well_formed(given_: list[tuple[str, list[tuple[float, float]]]]) -> None:
    lines = [Line(label, tuple(sorted(points))) for label, points in given_]
    ElementTree.fromstring(discount_picture(lines, "<script>&\x00", UNTIL, 90))
