"""Takes names and account numbers out of what is reported. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

_ARN = re.compile(r"arn:aws[\w-]*:[^\s\"',;)\]]*")
_S3 = re.compile(r"s3://[^\s\"',;)\]]*")
_URL = re.compile(r"https?://[^\s\"',;)\]]*")
_IMAGE = re.compile(r"\d{12}\.dkr\.ecr\.[^\s\"',;)\]]*")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
#: Of AWS's identifiers for keys, roles and users.
_KEY_ID = re.compile(r"\b(?:AKIA|ASIA|AROA|AIDA)[A-Z0-9]{12,}\b")
_ACCOUNT = re.compile(r"(?<!\d)\d{4}-?\d{4}-?\d{4}(?!\d)")
_JOB = re.compile(r"spotverify-[\w-]+", re.IGNORECASE)
#: Of this machine, which Local SageMaker's scripts see: a home has its owner's name. Those of containers stay.
_PATH = re.compile(r"(?<![\w./<>-])/(?!opt/|usr/|miniconda3/)[\w.+@-]+(?:/[\w.+@-]+)+")
_PATTERNS = (
    (_ARN, "<arn>"),
    (_S3, "<s3-uri>"),
    (_IMAGE, "<image>"),
    (_URL, "<url>"),
    (_UUID, "<id>"),
    (_KEY_ID, "<id>"),
    (_JOB, "<job>"),
    (_PATH, "<path>"),
    (_ACCOUNT, "<account>"),
)


class Scrubber:
    """
    Replaces what says whose account it is.

    :param names: what is known of it, by what it is called in the report: ``{"my-bucket": "<bucket>"}``.
    """

    def __init__(self, names: Mapping[str, str]) -> None:
        # The longest first: a bucket's name may be a part of the role's.
        longest = sorted((item for item in names.items() if item[0]), key=lambda item: -len(item[0]))
        self._names = [(re.compile(_bounded(name), re.IGNORECASE), label) for name, label in longest]

    def text(self, text: str) -> str:
        """Return a text without names and numbers of accounts."""
        for pattern, label in (*_PATTERNS, *self._names):
            text = pattern.sub(label, text)
        return text

    def value(self, value: Any) -> Any:
        """Return a JSON-clean value in which all texts are scrubbed; what is no JSON becomes text."""
        if value is None or isinstance(value, (bool, int, float)):
            return value
        if isinstance(value, Mapping):
            return {self.text(str(key)): self.value(item) for key, item in value.items()}
        if isinstance(value, Iterable) and not isinstance(value, (str, bytes)):
            return [self.value(item) for item in value]
        return self.text(str(value))


def _bounded(name: str) -> str:
    """A short name is replaced only where it stands alone: else a role called ``in`` would take words apart."""
    escaped = re.escape(name)
    return escaped if len(name) > 5 else rf"(?<![a-zA-Z0-9]){escaped}(?![a-zA-Z0-9])"
