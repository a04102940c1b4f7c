"""
Takes names and account numbers out of what is reported. No I/O.

What is known is taken out wherever it stands, and so is what looks like a name, such as an ARN. A known name that is a
word of the report itself, as of a role called ``Training``, is a name only in quotes or as a part of a path: elsewhere
taking it out would spoil the report and hide nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_spot.verify.vocabulary import VALUE, WORD, WORDS

#: What stands for a known name, which may be a part of what a pattern takes out.
_OUT = r"<[a-z0-9-]+>"
#: To the next space or quote: IAM's names may hold signs that end a clause elsewhere. Those at its end stay.
_REST = rf"(?:{_OUT}|[^\s\"'`<>])*(?:{_OUT}|[^\s\"'`<>,.;:)\]}}])"
#: A part of a path, of the signs that IAM's names, image names and file names have.
_PART = rf"(?:{_OUT}|[\w.+=,@~-])+"
#: What lies in a container, or in CloudWatch, is the same for everybody.
_EVERYBODYS = r"/(?:opt|usr|bin|miniconda3|aws/sagemaker)/"

#: Each with what stands for it; where only a part of it is taken out, that is its group ``out``.
_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), label)
    for pattern, label in (
        (rf"arn:aws[\w-]*:{_REST}", "<arn>"),
        (rf"s3://{_REST}", "<s3-uri>"),
        (rf"(?:\d{{12}}|<account>)\.dkr\.ecr\.{_REST}|public\.ecr\.aws/{_REST}", "<image>"),
        (rf"https?://{_REST}", "<url>"),
        (r"(?<![\w.-])(?:<bucket>|[\w.-])+\.s3[\w.-]*\.amazonaws\.com", "<url>"),
        (r"(?i:repository with name )['\"](?P<out>[^'\"]+)", "<image>"),
        (rf"(?<![\w/])(?:assumed-role|federated-user|instance-profile|role|user|group)(?:/{_PART})+(?<![,.])", "<arn>"),
        (rf"{_OUT}(?P<out>(?:/{_PART})+(?<![,.]))", ""),
        # Of S3 above all, which has two of them that are no UUIDs.
        (
            r"(?i:(?:request[ _-]?id|host[ _-]?id|x-amz-id-2)(?:[\"'>]*\s*[:=>]\s*[\"']?|\s+(?=\S*\d)))"
            r"(?P<out>[A-Za-z0-9+/=_-]{6,})",
            "<id>",
        ),
        (r"(?i:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})", "<id>"),
        # AWS's identifiers for keys, roles and users, and a session's name behind them.
        (rf"\b(?:A[BCGIKNPRS][A-Z]A)[A-Z0-9]{{12,}}\b(?::{_PART})?", "<id>"),
        (
            r"\b(?:subnet|sg|vpc|vpce|eni|ami|vol|snap|fs|fsap|mrk|i)-(?:[0-9a-f]{8}|[0-9a-f]{17}|[0-9a-f]{32})\b",
            "<id>",
        ),
        (r"(?<![\w.+=-])[\w.+=-]+@[\w-]+(?:\.[\w-]+)+", "<user>"),
        (rf"(?i:spotverify)-(?:{_OUT}|[\w-])+", "<job>"),
        # Of this machine, which Local SageMaker's scripts see: a home has its owner's name.
        (rf"(?<![\w./<>-])(?!{_EVERYBODYS})/{_PART}(?:/{_PART})+(?<![,.])", "<path>"),
        (r"(?<!\d)\d{4}-?\d{4}-?\d{4}(?!\d)", "<account>"),
        # Such as what DecodeAuthorizationMessage takes.
        (r"(?<![\w-])(?=[A-Za-z_-]*\d)[A-Za-z0-9_-]{60,}", "<id>"),
    )
)
_PATH_SIGNS = re.compile(r"[\w.+=,@/~-]*")
_ENDS_CLAUSE = re.compile(r"[.,]*")
_QUOTES = "\"'`"


class Scrubber:
    """
    Replaces what says whose account it is.

    :param names: what is known of it, by what it is called in the report: ``{"my-bucket": "<bucket>"}``.
    :param known: further words that are of the report itself, besides those of the experiments.
    """

    def __init__(self, names: Mapping[str, str], known: Iterable[str] = ()) -> None:
        own = WORDS | {word.lower() for word in known}
        self._names = [_Name.of(name, label, own) for name, label in names.items() if name]

    def text(self, text: str) -> str:
        """Return a text without names and numbers of accounts."""
        # All at once: a name may be a part of an ARN, and a role's name a word of what stands for a bucket.
        places = [(*place, name.label) for name in self._names for place in name.places(text)]
        # Then what is known only by a name that stood there, such as the session behind a role.
        text = _replaced(text, [*places, *_patterns(text)])
        return _replaced(text, [*_patterns(text)])

    def value(self, value: Any) -> Any:
        """Return a JSON-clean value in which all texts are scrubbed; what is no JSON becomes text."""
        if value is None or isinstance(value, (bool, int, float)):
            return value
        if isinstance(value, Mapping):
            return {self.text(str(key)): self.value(item) for key, item in value.items()}
        if isinstance(value, Iterable) and not isinstance(value, (str, bytes)):
            return [self.value(item) for item in value]
        text = str(value)
        return text if VALUE.fullmatch(text) else self.text(text)


#: Where something begins and ends in a text, and what stands for it.
_Place = tuple[int, int, str]


def _patterns(text: str) -> Iterator[_Place]:
    for pattern, label in _PATTERNS:
        for match in pattern.finditer(text):
            yield (*match.span("out" if "out" in pattern.groupindex else 0), label)


def _replaced(text: str, places: Iterable[_Place]) -> str:
    """Replace places; of some that overlap nothing is left, and the longest, then the first, says what they were."""
    merged: list[tuple[int, int, int, str]] = []
    for start, end, label in sorted(places, key=lambda place: place[0]):
        if merged and start < merged[-1][1]:
            begun, last, longest, before = merged.pop()
            longer = (end - start, label) if end - start > longest else (longest, before)
            merged.append((begun, max(end, last), *longer))
        else:
            merged.append((start, end, end - start, label))
    pieces, at = [], 0
    for start, end, _, label in merged:
        pieces += [text[at:start], label]
        at = end
    return "".join([*pieces, text[at:]])


@dataclass(frozen=True)
class _Name:
    """
    A known name.

    :param counts: whether the name, at a place in a text, is meant there.
    """

    pattern: re.Pattern[str]
    label: str
    counts: Callable[[str, int, int], bool]

    @classmethod
    def of(cls, name: str, label: str, own: frozenset[str]) -> _Name:
        # A lookahead, so that places may overlap.
        pattern = re.compile(f"(?=({re.escape(name)}))", re.IGNORECASE)
        parts = WORD.findall(name.lower())
        if len(name) <= 3 or (len(parts) == 1 and parts[0] in own):
            return cls(pattern, label, lambda text, start, end: _quoted(text, start, end) or _in_path(text, start, end))
        short = len(name) <= 5
        return cls(pattern, label, lambda text, start, end: not any(short or w in own for w in _cut(text, start, end)))

    def places(self, text: str) -> Iterator[tuple[int, int]]:
        for match in self.pattern.finditer(text):
            start, end = match.span(1)
            if self.counts(text, start, end):
                yield start, end


def _cut(text: str, start: int, end: int) -> Iterator[str]:
    """Yield the words, in lower case, that a place begins or ends within: ``training`` for ``rain``."""
    for match in WORD.finditer(text, max(0, start - _LONGEST_WORD), end + _LONGEST_WORD):
        if match.start() < start < match.end() or match.start() < end < match.end():
            yield match[0].lower()


#: Further away no word of the report begins.
_LONGEST_WORD = 80


def _quoted(text: str, start: int, end: int) -> bool:
    # A backslash is before a quote that is in a quoted text itself.
    return text[start - 1 : start] in (*_QUOTES,) and text[end : end + 1] in (*_QUOTES, "\\")


def _in_path(text: str, start: int, end: int) -> bool:
    """Return whether a place is a whole part of a relative path, such as ``role/sagemaker``."""
    before = _PATH_SIGNS.match(text[:start][::-1])
    after = _PATH_SIGNS.match(text, end)
    left, right = (before[0][::-1] if before else "", after[0] if after else "")
    begins, ends = left in ("", "/") or left.endswith("/"), right.startswith("/") or _ENDS_CLAUSE.fullmatch(right)
    return bool(begins and ends and (left or right.startswith("/")) and not left.startswith("/"))
