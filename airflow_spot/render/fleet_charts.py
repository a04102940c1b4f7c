"""The fleet's pictures: spent and saved by day, when instances are taken, and a run in a small lane."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal

from markupsafe import Markup

from airflow_spot.render import svg
from airflow_spot.render.fleet_facts import Fact
from airflow_spot.render.fleet_sums import Bar, Cell
from airflow_spot.render.lanes import MINI
from airflow_spot.render.words import DAY, duration, moment, money, number, plural, state_words

_HEIGHT, _CELL = 170, 26
#: From so many in 100 hours on, a cell of the heat map has the next shade.
SHADES = (0.0, 8.0, 16.0, 28.0)
#: Interruptions nearer to each other than this, in percent, are one mark.
_APART = 1.0
_KINDS = {"waiting": "W", "pausing": "W", "starting": "S", "training": "T", "uploading": "U", "stopping": "W"}


def by_day(bars: Sequence[Bar], currency: str) -> Markup:
    """Return spent and saved, a bar for each span."""
    top = max((float(bar.cost + max(bar.saved, Decimal(0))) for bar in bars), default=0.0)
    step = _nice(top / 4 if top > 0 else 1.0)
    most = max(1, math.ceil(top / step)) * step
    marks = []
    for index in range(round(most / step) + 1):
        y = _HEIGHT - _HEIGHT * index * step / most
        marks.append(svg.across("grid", 0, 100, y))
        label = money(Decimal(str(round(index * step, 6))), currency, whole=True)
        marks.append(svg.text("ax", 0, y + 4, _short(label), "end", -8))
    count = len(bars)
    for index, bar in enumerate(bars):
        if not bar.runs:
            continue
        x, width = 100 * index / count + 10 / count, 80 / count
        spent = _HEIGHT * float(bar.cost) / most
        saved = _HEIGHT * max(0.0, float(bar.saved)) / most
        told = f"{_day(bar)}: spent {money(bar.cost, currency)}, saved {money(bar.saved, currency)}"
        told += f", {plural(bar.runs, 'run')}"
        # The title stands over the whole height, so that a small bar is found too.
        marks.append(svg.bar("saved", x, width, _HEIGHT - spent - saved, saved))
        marks.append(svg.bar("spent", x, width, _HEIGHT - spent, spent))
        marks.append(svg.bar("touch", 100 * index / count, 100 / count, 0, _HEIGHT, told))
    named = sorted({round(index * (count - 1) / 6) for index in range(7)}) if count > 7 else list(range(count))
    for nth, index in enumerate(named):
        at = moment(bars[index].day * DAY)
        x = 100 * (index + 0.5) / count
        anchor = "start" if x < 2 else "end" if x > 97 else "middle"
        marks.append(svg.text("ax wide" if nth % 2 else "ax", x, _HEIGHT + 18, f"{at.day} {at:%b}", anchor))
    spans = "week" if bars and bars[0].days > 1 else "day"
    return svg.picture(_HEIGHT + 24, marks, f"spent and saved by {spans}, in {currency}")


def _day(bar: Bar) -> str:
    first, last = moment(bar.day * DAY), moment((bar.day + bar.days - 1) * DAY)
    return f"{first.day} {first:%b}" + (f" to {last.day} {last:%b}" if bar.days > 1 else "")


def _nice(least: float) -> float:
    """Return a round step that is not less."""
    size = 10.0 ** math.floor(math.log10(max(least, 1e-6)))
    return next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= least * 0.999)


def _short(label: str) -> str:
    """Return an axis' amount without cents that say nothing: ``$3``, and still ``$0.0050``."""
    return re.sub(r"\.00(?!\d)", "", label, count=1)


def by_hour(cells: Mapping[str, Sequence[Cell]]) -> Markup:
    """Return the heat map: a row for each type, a column for each hour of the day."""
    marks = []
    for row, (kind, hours) in enumerate(cells.items()):
        marks.append(svg.text("ax", 0, row * _CELL + 17, kind.removeprefix("ml."), "end", -8))
        for hour, cell in enumerate(hours):
            told = f"{kind}, {hour:02d}:00 to {(hour + 1) % 24:02d}:00: taken {plural(cell.taken, 'time')}"
            if cell.rate is not None:
                told += f", {cell.rate:.0f} in 100 h of training"
            told += f" ({duration(cell.trained)} trained)"
            marks.append(svg.bar(f"h{shade(cell)}", 100 * hour / 24, 100 / 24, row * _CELL, _CELL, told))
    for hour in range(0, 24, 3):
        kind = "ax wide" if hour % 6 else "ax"
        marks.append(svg.text(kind, 100 * (hour + 0.5) / 24, len(cells) * _CELL + 16, f"{hour:02d}", "middle"))
    label = "how often instances are taken, by instance type and hour of the day"
    return svg.picture(len(cells) * _CELL + 24, marks, label, kind="hm")


def shade(cell: Cell) -> int:
    """Return a cell's shade, from 0 to 4."""
    if not cell.taken:
        return 0
    if cell.rate is None:
        return 1
    return sum(1 for least in SHADES if cell.rate >= least)


def shades() -> list[tuple[str, Markup]]:
    """Return the heat map's legend."""
    first = f"up to {number(SHADES[1])}, or hardly any training"
    names = ["none", *(f"from {number(least)}" if least else first for least in SHADES)]
    return [
        (name, svg.picture(12, [svg.bar(f"h{index}", 0, 100, 0, 12)], kind="key hm"))
        for index, name in enumerate(names)
    ]


def mini(fact: Fact) -> Markup:
    """Return a run in a small lane of its own scale: when instances were taken, and what it does now."""
    span = max(fact.end - fact.began, 1.0)

    def at(time: float) -> float:
        return min(100.0, max(0.0, 100 * (time - fact.began) / span))

    now = at(fact.since) if fact.live else 100.0
    marks = [svg.bar("ran", 0, now, 0, MINI)]
    if fact.live:
        marks.append(svg.bar(_KINDS.get(fact.state, "T"), now, 100.0 - now, 0, MINI))
    last = -9.0
    for time, _ in fact.moments:
        x = at(time)
        if x - last >= _APART:
            marks.append(svg.line("taken", x, -1, MINI + 1))
            last = x
    words = state_words(fact.state)[0].lower()
    return svg.picture(MINI, marks, f"{words}, {plural(fact.taken, 'interruption')} in {duration(fact.took)}")
