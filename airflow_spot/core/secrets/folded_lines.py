"""Lines that are searched together: as they stand, and folded into one text, where no line break is in the way."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from airflow_spot.core.secrets.folding import LONGEST_ESCAPE, Folded, ends_in_escape, fold

#: A part of a text: where it begins, and where it is over.
Span = tuple[int, int]


@dataclass(frozen=True)
class Place:
    """
    A part of a folded text, in the lines.

    :param spans: where it stands in them.
    :param before: the character before it in its line, and ``behind`` the one behind it, without escapes; or empty.
    :param pieces: what stands there, line by line, without escapes.
    """

    spans: list[Span]
    before: str
    behind: str
    pieces: list[str]


class Page:
    """
    Lines that are searched together.

    :ivar raw: all of them, as they stand.
    :ivar folds: all of them, folded: each by itself, and once more with those joined between which an escape may be
        cut. One does not do for the other: a ``%`` at the end of a line may be a ``%``.
    """

    def __init__(self, lines: Sequence[str]) -> None:
        self.raw = "\n".join(lines)
        self._lines = lines
        self._begins = [0, *accumulate(len(line) + 1 for line in lines)][:-1]
        self.folds = [FoldedLines(lines, self._begins, [[number] for number in range(len(lines))])]
        joined = list(_joined(lines))
        if len(joined) < len(lines):
            self.folds.append(FoldedLines(lines, self._begins, joined))

    def without(self, spans: Iterable[Span], instead: str) -> list[str]:
        """Return the lines with something else instead of some parts; line breaks and indentation stay."""
        made = list(self._lines)
        # From the last to the first, so that what is changed moves nothing that is still to be.
        for begin, end in reversed(_merged(spans)):
            number = bisect_right(self._begins, end - 1) - 1
            while number >= 0 and self._begins[number] + len(self._lines[number]) >= begin:
                line, start = self._lines[number], self._begins[number]
                at, stop = max(0, begin - start), min(len(line), end - start)
                put = re.sub(r"\S(?:.*\S)?", instead, line[at:stop])  # the dot is no line break
                made[number] = made[number][:at] + put + made[number][stop:]
                number -= 1
        return made


class FoldedLines:
    """
    Lines as one folded text.

    :param begins: where each begins in the text of all.
    :param units: the numbers of the lines that are folded together.
    :ivar text: what they fold to.
    """

    def __init__(self, lines: Sequence[str], begins: Sequence[int], units: Sequence[Sequence[int]]) -> None:
        self._lines = lines
        self._begins = begins
        self._units = units
        folds = [fold(self._unit(number)) for number in range(len(units))]
        self.text = "".join(folds)
        self._ends = list(accumulate(map(len, folds)))
        self._known: dict[int, Folded] = {}

    def place(self, begin: int, end: int) -> Place:
        """Return where a part of the folded text stands in the lines."""
        parts: list[tuple[int, int, int]] = []
        pieces: list[str] = []
        before = behind = ""
        for number, at, stop in self._split(begin, end):
            folded = self._folded(number)
            first, behind = folded.around(at, stop)
            before = before if parts else first
            pieces.append(folded.part(at, stop))
            parts += self._in_lines(number, folded.span(at, stop))
        (top, start, _), (bottom, _, over) = parts[0], parts[-1]
        return Place(
            spans=[(self._begins[line] + at, self._begins[line] + stop) for line, at, stop in parts],
            # What stands in another line is no part of the same word.
            before=before if self._lines[top][:start].strip() else "",
            behind=behind if self._lines[bottom][over:].strip() else "",
            pieces=pieces,
        )

    def _unit(self, number: int) -> str:
        first, *others = self._units[number]
        return self._lines[first] + "".join(self._lines[line].lstrip() for line in others)

    def _folded(self, number: int) -> Folded:
        if number not in self._known:
            self._known[number] = Folded(self._unit(number))
        return self._known[number]

    def _split(self, begin: int, end: int) -> Iterator[tuple[int, int, int]]:
        """Yield a part of the text, unit by unit: its number, and where in it the part begins and is over."""
        number = bisect_right(self._ends, begin)
        while begin < end:
            stop = min(end, self._ends[number])
            start = self._ends[number - 1] if number else 0
            if begin < stop:
                yield number, begin - start, stop - start
            begin, number = stop, number + 1

    def _in_lines(self, number: int, span: Span) -> Iterator[tuple[int, int, int]]:
        """Yield a part of a unit, line by line: its number, and where in it the part begins and is over."""
        start = 0
        for line in self._units[number]:
            text = self._lines[line]
            indented = 0 if line == self._units[number][0] else len(text) - len(text.lstrip())
            at, stop = max(span[0], start), min(span[1], start + len(text) - indented)
            if at < stop:
                yield line, at - start + indented, stop - start + indented
            start += len(text) - indented


def _joined(lines: Sequence[str]) -> Iterator[list[int]]:
    """Yield the numbers of lines between which no escape may be cut."""
    unit: list[int] = []
    end = ""
    for number, line in enumerate(lines):
        unit.append(number)
        # It may be cut more than once.
        end = (end + line)[-LONGEST_ESCAPE:] if end else line
        if not ends_in_escape(end):
            yield unit
            unit, end = [], ""
    if unit:
        yield unit


def _merged(spans: Iterable[Span]) -> list[Span]:
    """Sort parts, and make one of those that touch."""
    made: list[Span] = []
    for begin, end in sorted(span for span in spans if span[0] < span[1]):
        if made and begin <= made[-1][1]:
            made[-1] = (made[-1][0], max(end, made[-1][1]))
        else:
            made.append((begin, end))
    return made
