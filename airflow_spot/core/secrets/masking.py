"""
Hides the secret values of one job in what is said about it and in what it prints.

A value is looked for in two ways: in the text as it stands, and in what the text folds to (:mod:`folding`), where no
escape, quote or line break is in its way. Both are searches for plain text over many lines at once, so that a line
costs microseconds, however many values there are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_spot.core.secrets.folded_lines import FoldedLines, Page, Span
from airflow_spot.core.secrets.folding import LONGEST_ESCAPE, ends_in_escape, fold, unescape
from airflow_spot.core.secrets.named_values import NamedValues
from airflow_spot.core.secrets.secret_values import SecretValues, forms

HIDDEN = "***"

#: A shorter value is hidden only where it stands as one: behind its name, in quotes, or as ``=value,``. To hide
#: every "1" and "0.1" would leave nothing to read.
_WORD_LENGTH = 4
#: From this length on a value is hidden inside a longer word too.
_ANYWHERE_LENGTH = 8

_SHORT = re.compile(r"(['\"])(.{1,3}?)(?=\\*\1)|=(.{1,3}?)(?=[,}])")
#: White space within a line, which nobody puts into the middle of a value.
_BLANK = re.compile(r"(?<![ \t+\r\n])[ \t+]+(?![ \t+\r\n])")


@dataclass(frozen=True, repr=False)
class _Pattern:
    """
    What a value folds to.

    :param blank: there is white space in the value.
    """

    text: str
    blank: bool

    def spans(self, folded: FoldedLines, begin: int, end: int) -> list[Span]:
        """Return where a part of a folded text stands in the lines; nothing if it is not the value after all."""
        place = folded.place(begin, end)
        if not _is_told(end - begin, place.before, place.behind):
            return []
        return place.spans if self.blank or not any(map(_BLANK.search, place.pieces)) else []


class Mask:
    """
    Hides the values of one job. Made once: a thousand lines are searched in a few milliseconds.

    :param values: what may not be told.
    """

    def __init__(self, values: SecretValues) -> None:
        self._named = NamedValues(values.named)
        written = {form for text in values.words for form in forms(text)}
        self._words = sorted(form for form in written if len(form) >= _WORD_LENGTH)
        self._short = {form for form in written if len(form) < _WORD_LENGTH}
        blanks: dict[str, bool] = {}
        for text in values.words:
            has_blank = any(char.isspace() or char == "+" for char in unescape(text))
            blanks[fold(text)] = blanks.get(fold(text), False) or has_blank
        self._patterns = [_Pattern(text, blank) for text, blank in blanks.items() if len(text) >= _WORD_LENGTH]
        self._is_empty = not values.named and not values.plain
        # How far back a value may reach that is wrapped over lines, in folded characters.
        self._reach = LONGEST_ESCAPE + max((len(pattern.text) for pattern in self._patterns), default=0)

    @classmethod
    def of(cls, job: Mapping[str, Any]) -> Mask:
        """
        Make the mask of a job.

        :param job: its description, or the request for it.
        """
        return cls(SecretValues.of(job))

    def text(self, text: str, *, cut_at: int | None = None) -> str:
        """
        Hide the values in a text.

        :param cut_at: where the text may have been cut off, in the middle of a value.
        """
        if self._is_empty:
            return text
        page = Page([text])
        spans = self._spans(page)
        if cut_at is not None:
            spans += self._cut_at_end(Page([text[:cut_at]]))
        return page.without(spans, HIDDEN)[0]

    def lines(self, lines: Sequence[str], *, begun: bool = True) -> list[str]:
        """
        Hide the values in lines; also the beginning of one at the end, which the next line may complete.

        :param lines: what one process wrote, one after the other.
        :param begun: whether nothing came before them; else the first may be the end of a value.
        """
        if self._is_empty or not lines:
            return list(lines)
        page = Page(lines)
        spans = [*self._spans(page), *self._cut_at_end_of(lines)]
        if not begun:
            spans += self._cut_at_start(page)
        return page.without(spans, HIDDEN)

    def reach(self, lines: Sequence[str]) -> int:
        """Return how many lines, from the last one on backwards, a value may lie in that the next line ends."""
        count, length = 0, 0
        # Nothing is cut in the middle of an escape.
        while count < min(len(lines), self._reach) and (length <= self._reach or ends_in_escape(lines[-count - 1])):
            count += 1
            length += len(fold(lines[-count]))
        return count

    def _spans(self, page: Page) -> list[Span]:
        raw = page.raw
        spans = list(self._named.spans(raw))
        if self._short:
            for found in _SHORT.finditer(raw):
                group = found.lastindex or 0
                if found[group] in self._short:
                    spans.append(found.span(group))
        for form in self._words:
            for begin in _places(raw, form):
                end = begin + len(form)
                if _is_told(len(form), raw[begin - 1 : begin], raw[end : end + 1]):
                    spans.append((begin, end))
        for folded in page.folds:
            for pattern in self._patterns:
                for begin in _places(folded.text, pattern.text):
                    spans += pattern.spans(folded, begin, begin + len(pattern.text))
        return spans

    def _cut_at_end_of(self, lines: Sequence[str]) -> Iterator[Span]:
        """Yield where the beginning of a value stands at the end of the last line, or before what may be an escape."""
        first = len(lines) - self.reach(lines)
        start = sum(len(line) + 1 for line in lines[:first])
        last = lines[-1]
        for length in range(len(last), len(last) - LONGEST_ESCAPE if ends_in_escape(last) else len(last) - 1, -1):
            for begin, end in self._cut_at_end(Page([*lines[first:-1], last[: max(0, length)]])):
                yield start + begin, start + end

    def _cut_at_end(self, page: Page) -> list[Span]:
        """Return the longest beginning of a value, or all of it, at the end of the page."""
        best: list[Span] = []
        longest = _WORD_LENGTH - 1
        for folded in page.folds:
            text = folded.text
            for pattern in self._patterns if len(text) >= _WORD_LENGTH else ():
                for at in _places(pattern.text, text[-_WORD_LENGTH:]):
                    length = at + _WORD_LENGTH
                    if length > longest and text.endswith(pattern.text[:length]):
                        spans = pattern.spans(folded, len(text) - length, len(text))
                        best, longest = (spans, length) if spans else (best, longest)
        return best

    def _cut_at_start(self, page: Page) -> list[Span]:
        """Return the longest end of a value, or middle of it, at the start of the page."""
        best: list[Span] = []
        longest = _WORD_LENGTH - 1
        folded = page.folds[-1]
        text = folded.text
        for pattern in self._patterns if len(text) >= _WORD_LENGTH else ():
            if len(text) >= _ANYWHERE_LENGTH and text in pattern.text:
                return pattern.spans(folded, 0, len(text))
            for at in _places(pattern.text[1:], text[:_WORD_LENGTH]):
                rest = pattern.text[at + 1 :]
                if len(rest) > longest and text.startswith(rest):
                    spans = pattern.spans(folded, 0, len(rest))
                    best, longest = (spans, len(rest)) if spans else (best, longest)
        return best


class MaskedLines:
    """
    Hides a job's values in the lines of one process, which come in parts.

    What came last is kept, as far as a value may reach back into it.
    """

    def __init__(self, mask: Mask) -> None:
        self._mask = mask
        self._before: list[str] = []

    def hide(self, lines: Iterable[str]) -> list[str]:
        """Return the next lines without the values."""
        known = [*self._before, *lines]
        told = self._mask.lines(known)[len(self._before) :]
        self._before = known[len(known) - self._mask.reach(known) :]
        return told


def _places(text: str, part: str) -> Iterator[int]:
    """Yield where a part stands in a text."""
    at = text.find(part)
    while at >= 0:
        yield at
        at = text.find(part, at + 1)


def _is_told(length: int, before: str, behind: str) -> bool:
    """Return whether so much of a value tells it, where it stands between two characters; empty where there is none."""
    if length >= _ANYWHERE_LENGTH:
        return True
    return length >= _WORD_LENGTH and not _is_word(before) and not _is_word(behind)


def _is_word(char: str) -> bool:
    return char.isalnum() or char == "_"
