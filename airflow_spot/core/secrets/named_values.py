"""What stands behind the name of a hyperparameter or a variable: on a command line, in JSON, as ``name=value``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

#: A name that may be one, behind a dash or before an equals sign or colon.
_OPTION = re.compile(r"--?([A-Za-z_][\w.-]{0,255})(?=\s|\\*['\"]\s*,|=)")
_SEPARATOR = re.compile(r"=|['\"]\s*:|:\s")
_BACKWARDS = re.compile(r"[\w-]+")
#: What stands between a name and its value.
_BETWEEN = re.compile(
    r"(?P<quoted>\\*['\"][ \t]*:\s*)"
    r"|(?P<next>\\*['\"]\s*,\s*)"
    r"|(?P<assigned>=(?=\S))"
    r"|(?P<loose>[ \t]*[=:][ \t]+|[ \t]+[=:][ \t]*)"
    r"|(?P<blank>\s+)"
)
_QUOTE = re.compile(r"\\*['\"]")
_REST = re.compile(r"[^\s\"',}]*")
_NEXT_OPTION = re.compile(r"--\w")
_LONGEST_NAME = 256


class NamedValues:
    """
    The values of one job, by name.

    :param named: of each name, all forms in which its value may be written.
    """

    def __init__(self, named: Mapping[str, Iterable[str]]) -> None:
        # The longest first: a value may begin with another form of it.
        self._named = {name: sorted(forms, key=len, reverse=True) for name, forms in named.items() if name}
        self._odd = [name for name in self._named if not _BACKWARDS.fullmatch(name)]

    def spans(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield where the values stand in a text."""
        if not self._named:
            return
        for begin, end in self._places(text):
            span = self._behind(text, begin, end)
            if span is not None and span[0] < span[1]:
                yield span

    def _places(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield where a name may stand."""
        for found in _OPTION.finditer(text):
            if found[1] in self._named:
                yield found.span(1)
        for found in _SEPARATOR.finditer(text):
            end = found.start()
            while end and text[end - 1] in "\\ \t":
                end -= 1
            word = _BACKWARDS.match(text[max(0, end - _LONGEST_NAME) : end][::-1])
            if word is not None and (name := word[0][::-1].lstrip("-")) in self._named:
                yield end - len(name), end
        for name in self._odd:
            at = text.find(name)
            while at >= 0:
                yield at, at + len(name)
                at = text.find(name, at + 1)

    def _behind(self, text: str, begin: int, end: int) -> tuple[int, int] | None:
        between = _BETWEEN.match(text, end)
        if between is None:
            return None
        before = text[begin - 1 : begin] if begin else ""
        start = begin
        while start and text[start - 1] == "-" and begin - start < 2:
            start -= 1
        outer = text[start - 1 : start] if start else ""
        if outer == "-" or outer.isalnum() or outer == "_":
            return None
        option, kind = start < begin, between.lastgroup
        known = self._named[text[begin:end]]
        if kind == "next":
            return _value(text, between.end(), known, any_value=True) if option else None
        if kind == "quoted":
            return _value(text, between.end(), known, any_value=before in ("'", '"'))
        if kind == "blank":
            return _value(text, between.end(), known, any_value="\n" not in between[0]) if option else None
        return _value(text, between.end(), known, any_value=kind == "assigned")


def _value(text: str, begin: int, known: list[str], *, any_value: bool) -> tuple[int, int] | None:
    """
    Return where the value stands that begins at a place: whole or cut off.

    :param known: what it may be.
    :param any_value: whether it is the value whatever it is: then it reaches to the end of its word or its quotes.
    """
    length = _known_length(text, begin, known)
    if length:
        return begin, begin + length
    quote = _QUOTE.match(text, begin)
    if quote is not None:
        inner = quote.end()
        length = _known_length(text, inner, known)
        if length:
            return inner, inner + length
        if not any_value or _NEXT_OPTION.match(text, inner):
            return None
        return inner, _closing(text, inner, quote[0])
    if not any_value or _NEXT_OPTION.match(text, begin) or text[begin : begin + 1] in ("[", "{"):
        return None  # the next option; or a value whose parts are hidden one by one
    common = max((_common(text, begin, form) for form in known), default=0)
    rest = _REST.match(text, begin + common)
    return begin, rest.end() if rest is not None else begin + common


def _known_length(text: str, begin: int, known: list[str]) -> int:
    """Return how long the value is where all of it is there, and no other one begins with it."""
    for form in known:
        end = begin + len(form)
        if text.startswith(form, begin) and not re.match(r"\w", text[end : end + 1]):
            return len(form)
    return 0


def _closing(text: str, begin: int, quote: str) -> int:
    """Return where a quoted value ends: at its closing quote, else at the end of its line."""
    line = text.find("\n", begin)
    stop = line if line >= 0 else len(text)
    at = text.find(quote, begin, stop)
    while at > begin and text[at - 1] == "\\":
        at = text.find(quote, at + 1, stop)
    return at if at >= 0 else stop


def _common(text: str, begin: int, form: str) -> int:
    """Return how much of a value a text has from a place on: less than all, where it was cut off."""
    length = 0
    while length < len(form) and text[begin + length : begin + length + 1] == form[length]:
        length += 1
    return length
