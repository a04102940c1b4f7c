"""A picture of EC2's spot discount over time, a line for each zone: an SVG that stands by itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import escape

from airflow_spot.render.scale import Scale
from airflow_spot.render.svg import across, line, number, text
from airflow_spot.render.words import DAY, clean

_WIDTH, _TOP, _HEIGHT = 1000, 40, 300
#: Where the lines begin, in percent of the width: the axis' numbers stand before.
_LEFT, _SPAN = 6.0, 92.0
#: Of Okabe and Ito: they are told apart by people who do not see all colours. A line's dashes tell it, too.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
_DASHES = ("none", "8 3", "2 3", "10 3 2 3")
_STYLE = (
    "text{font:12px sans-serif;fill:#333}.title{font-size:15px;font-weight:bold}"
    ".grid{stroke:#ddd}.zero{stroke:#888}path{fill:none;stroke-width:1.8;vector-effect:non-scaling-stroke}"
)


@dataclass(frozen=True)
class Line:
    """
    The discount in a zone.

    :param label: of type and zone.
    :param points: times in seconds since 1970, in order, and percent from then on.
    """

    label: str
    points: tuple[tuple[float, float], ...]


def discount_picture(lines: Sequence[Line], title: str, until: float, days: int) -> str:
    """
    Return an SVG document.

    :param until: the end of the axis, in seconds since 1970.
    :param days: how long the axis is.
    """
    scale = Scale(until - days * DAY, until)
    lowest = min((percent for each in lines for _, percent in each.points), default=0.0)
    floor = min(0, int(lowest // 10) * 10)
    height = _TOP + _HEIGHT + 40 + 18 * len(lines)
    inner = [text("title", 1, 22, title), *_axes(scale, floor), *_drawn(lines, scale, floor), *_legend(lines)]
    label = escape(clean(title, 400))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{label}" width="{_WIDTH}" height="{height}">'
        f'<style>{_STYLE}</style><rect width="100%" height="100%" fill="#fff"/>{"".join(inner)}</svg>\n'
    )


def _y(percent: float, floor: int) -> float:
    return _TOP + _HEIGHT * (100 - percent) / (100 - floor)


def _axes(scale: Scale, floor: int) -> Iterator[str]:
    step = 20 if floor > -100 else 20 * -(floor // 100)
    for percent in range(100, floor - 1, -step):
        y = _y(percent, floor)
        yield across("zero" if percent == 0 else "grid", _LEFT, _LEFT + _SPAN, y)
        yield text("axis", _LEFT, y + 4, f"{percent} %", "end", -6)
    for mark in scale.marks():
        x = _LEFT + mark.x * _SPAN / 100
        yield line("grid", x, _TOP, str(_TOP + _HEIGHT))
        yield text("axis", x, _TOP + _HEIGHT + 18, mark.label, "middle")


def _drawn(lines: Sequence[Line], scale: Scale, floor: int) -> Iterator[str]:
    for nth, each in enumerate(lines):
        if path := _path(each.points, scale, floor):
            yield f'<path d="{path}" {_stroke(nth)}><title>{escape(clean(each.label, 400))}</title></path>'


def _path(points: Sequence[tuple[float, float]], scale: Scale, floor: int) -> str:
    """Return steps: a price holds until the next one, and the first one that is shown may have begun before."""
    before = [percent for at, percent in points if at <= scale.begin]
    shown = [(scale.begin, before[-1])] if before else []
    shown += [(at, percent) for at, percent in points if scale.begin < at <= scale.end]
    if not shown:
        return ""

    def x(at: float) -> str:
        return number((_LEFT + scale.at(at) * _SPAN / 100) * _WIDTH / 100)

    steps = [f"M{x(shown[0][0])} {number(_y(shown[0][1], floor))}"]
    steps += [f"H{x(at)}V{number(_y(percent, floor))}" for at, percent in shown[1:]]
    return "".join([*steps, f"H{x(scale.end)}"])


def _stroke(nth: int) -> str:
    # Neighbours differ in both, and so do 28 lines in one of them.
    dashes = _DASHES[(nth % len(_COLOURS) + nth // len(_COLOURS)) % len(_DASHES)]
    return f'stroke="{_COLOURS[nth % len(_COLOURS)]}" stroke-dasharray="{dashes}"'


def _legend(lines: Sequence[Line]) -> Iterator[str]:
    for nth, each in enumerate(lines):
        y = _TOP + _HEIGHT + 44 + 18 * nth
        begin = number(_LEFT * _WIDTH / 100)
        yield f'<path d="M{begin} {y - 4}h30" {_stroke(nth)}/>'
        now = f", now {each.points[-1][1]:.0f} %" if each.points else ""
        yield text("axis", _LEFT + 4, y, f"{each.label}{now}")
