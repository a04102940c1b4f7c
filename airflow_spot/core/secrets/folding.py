"""
A text as it was before anything wrote it down: without escapes, quotes, percent-encoding and line breaks.

A value that is written as JSON in a shell's word in a URL, and wrapped over three lines, folds to what the value
itself folds to. So one comparison finds it, however it is written.
"""

from __future__ import annotations

import html
import re
import sys
from collections.abc import Sequence

#: What is left out: white space and other controls, quotes, and ``+``, which stands for a space in a URL.
_CONTROL = (*range(0x20), *range(0x7F, 0xA0))
_NOISE = frozenset((*filter(str.isspace, map(chr, range(0x3001))), *map(chr, _CONTROL), *"'\"`+\\"))
_LEFT_OUT = dict.fromkeys(map(ord, _NOISE))
#: An escape may be escaped in turn: ``%2522``. Each pass makes the text shorter, so most end much sooner.
_PASSES = 8
#: However often backslashes are doubled, they escape what follows.
_ESCAPE = re.compile(
    r"(?:%[0-9A-Fa-f]{2})+"
    r"|&(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});"
    r"|(?:\\+u[0-9A-Fa-f]{4})+"
    r"|\\+U[0-9A-Fa-f]{8}"
    r"|(?:\\+x[0-9A-Fa-f]{2})+"
    r"|(?:\\+[0-3][0-7]{2})+"
    r"|\\+[abefnrtv]?"
)
#: In characters, as far as anybody writes one.
LONGEST_ESCAPE = 16
_CONTROLS = {"a": "\a", "b": "\b", "e": "\x1b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_LATIN = {0xDC00 + byte: byte for byte in range(0x80, 0x100)}


def fold(text: str) -> str:
    """Return a text without the ways in which it is written."""
    return unescape(text).translate(_LEFT_OUT)


def unescape(text: str) -> str:
    """Return a text without its escapes, also those within escapes."""
    for _ in range(_PASSES):
        if not _may_have_escapes(text):
            break
        plain = _ESCAPE.sub(_decode, text)
        if plain == text:
            break
        text = plain
    return text


def ends_in_escape(line: str) -> bool:
    """Return whether a line may end in the middle of an escape, or of one within another, which the next completes."""
    return _may_have_escapes(line[-LONGEST_ESCAPE:])


class Folded:
    """
    A folded text that knows where each of its characters stands in the original.

    :ivar text: what :func:`fold` returns.
    """

    def __init__(self, original: str) -> None:
        self._plain = original
        # Where each character of the plain text begins and ends in the original; None where they are the same.
        self._origin: Sequence[tuple[int, int]] | None = None
        for _ in range(_PASSES):
            if not _may_have_escapes(self._plain) or not self._unescape():
                break
        self._kept = [i for i, char in enumerate(self._plain) if char not in _NOISE]

    def span(self, begin: int, end: int) -> tuple[int, int]:
        """Return where a part of the folded text stands in the original."""
        first, last = self._kept[begin], self._kept[end - 1]
        if self._origin is None:
            return first, last + 1
        return self._origin[first][0], self._origin[last][1]

    def around(self, begin: int, end: int) -> tuple[str, str]:
        """Return the characters before and behind a part, as they are without escapes; empty at the ends."""
        first, last = self._kept[begin], self._kept[end - 1]
        return self._plain[first - 1] if first else "", self._plain[last + 1 : last + 2]

    def part(self, begin: int, end: int) -> str:
        """Return a part with the white space and the quotes in it, without escapes."""
        return self._plain[self._kept[begin] : self._kept[end - 1] + 1]

    def _unescape(self) -> bool:
        """Decode what is escaped, once; whether anything was."""
        plain: list[str] = []
        origin: list[tuple[int, int]] = []
        end = 0
        known = self._origin if self._origin is not None else [(i, i + 1) for i in range(len(self._plain))]
        for match in _ESCAPE.finditer(self._plain):
            begin, stop = match.span()
            made = _decode(match)
            plain += (self._plain[end:begin], made)
            origin += known[end:begin]
            if made == match[0]:
                origin += known[begin:stop]
            else:
                origin += [(known[begin][0], known[stop - 1][1])] * len(made)
            end = stop
        plain.append(self._plain[end:])
        origin += known[end:]
        before, self._plain, self._origin = self._plain, "".join(plain), origin
        return before != self._plain


def _may_have_escapes(text: str) -> bool:
    return "\\" in text or "%" in text or "&" in text


def _decode(match: re.Match[str]) -> str:
    """Return what an escape stands for; what it is where it stands for nothing."""
    token = match[0]
    if token[0] == "&":
        return _entity(token)
    if token[0] == "%":
        return _text(bytes.fromhex(token.replace("%", "")))
    letter = token.lstrip("\\")[:1]
    if letter in ("u", "U"):
        return _code_points(token, letter)
    if letter == "x":
        return _text(bytes.fromhex("".join(re.findall("x(..)", token))))
    if letter.isdigit():
        return _text(bytes(int(octal, 8) for octal in re.findall("[0-7]{3}", token)))
    return _CONTROLS.get(letter, "")


def _entity(token: str) -> str:
    if token[1] != "#":
        return html.unescape(token)
    code = int(token[3:-1], 16) if token[2] in "xX" else int(token[2:-1])
    return chr(code) if code <= sys.maxunicode else ""


def _code_points(token: str, letter: str) -> str:
    if letter == "u":
        return bytes.fromhex("".join(re.findall("u(.{4})", token))).decode("utf-16-be", "surrogatepass")
    code = int(token[-8:], 16)
    return chr(code) if code <= sys.maxunicode else token.lstrip("\\")


def _text(written: bytes) -> str:
    """Decode UTF-8; what is none is Latin-1, as Python writes the characters below 256."""
    return written.decode("utf-8", "surrogateescape").translate(_LATIN)
