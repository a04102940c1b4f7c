"""Tokens in URLs: users, passwords, signatures."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"<>]+")
_USER = re.compile(r"(?<=://)([^/?#\s]+)@")
#: Of HTTP alone: in a key of S3 these are letters like others.
_QUERY = re.compile(r"(?<==)[^&#]+|(?<=#).+")


def without_credentials(text: str) -> str:
    """Return a text whose URLs have no user, no password, no values in their queries."""
    return _URL.sub(_hide, text) if "://" in text else text


def without_query(text: str) -> str:
    """Return an address, to be shown: without user, password, and all that follows the path of a web address."""
    text = _USER.sub("***@", text, count=1)
    return text if text.lower().startswith("s3://") else re.split(r"[?#]", text, maxsplit=1)[0]


def credentials(value: Any) -> Iterator[str]:
    """Yield the passwords and tokens of the URLs in a request."""
    if isinstance(value, Mapping):
        for inner in value.values():
            yield from credentials(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from credentials(inner)
    elif isinstance(value, str) and "://" in value:
        for url in _URL.findall(value):
            if user := _USER.search(url):
                yield user[1].rpartition(":")[2]
            if url.lower().startswith("http"):
                yield from _QUERY.findall(url.partition("?")[2])


def _hide(match: re.Match[str]) -> str:
    url = _USER.sub("***@", match[0])
    if not url.lower().startswith("http"):
        return url
    address, mark, query = url.partition("?")
    return address + mark + _QUERY.sub("***", query)
