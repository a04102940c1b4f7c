"""Whether a regular expression reads one digit where a number may have several."""

from __future__ import annotations

import re

_DIGIT = re.compile(r"\\d|\[0-9\]")
_SEVERAL = re.compile(r"\\d|\[0-9\]|[0-9]")


def reads_one_digit(pattern: str) -> bool:
    r"""
    Return whether a digit stands alone in a pattern: ``epoch-(\d)``, but not ``(\d+)``, ``(\d{4})`` or ``\d\d``.

    ``(.*[0-9])`` is none: what is before takes the other digits. ``.*(\d)`` is one: the group has the last digit only.
    """
    tokens = _tokens(pattern)
    if any(_DIGIT.fullmatch(token) and repeat for token, repeat in tokens):
        return False
    for number, (token, repeat) in enumerate(tokens):
        if not _DIGIT.fullmatch(token) or repeat:
            continue
        before = tokens[number - 1] if number else ("", "")
        after = tokens[number + 1] if number + 1 < len(tokens) else ("", "")
        if _SEVERAL.fullmatch(before[0]) or _SEVERAL.fullmatch(after[0]):
            continue
        if before[1] and _takes_digits(before[0]):
            continue
        return True
    return False


def _tokens(pattern: str) -> list[tuple[str, str]]:
    """Return a pattern's pieces, each with its quantifier."""
    found = re.findall(
        r"(\\.|\[(?:\\.|[^\]\\])+\]|\(\?<?[=!:]|\(\?P<\w+>|[()|^$.]|[^*+?{])((?:[*+?]|\{\d+(?:,\d*)?\})*)", pattern
    )
    return [(token, repeat) for token, repeat in found]


def _takes_digits(token: str) -> bool:
    return token in (".", r"\w", r"\S") or (token.startswith("[") and bool(re.search(r"0-9|\\d|\\w|\[\^", token)))
