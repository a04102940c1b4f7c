"""The Spot Instance Advisor's data, from a file or an address of the user's choice: AWS documents neither."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from urllib.request import urlopen

from airflow_spot.core.money.market_answers import read_bands
from airflow_spot.core.money.market_values import Band
from airflow_spot.market.asking import TIMEOUT_SECONDS, Asking

#: It is made anew about once a day.
MAX_AGE = 6 * 3600.0
#: The file has about 5 MB.
_MOST_BYTES = 64 * 1024 * 1024


def shown(where: str) -> str:
    """Return a path or an address as it may be shown: an address without what may be a password."""
    if not _is_url(where):
        return where
    parts = urlsplit(where)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def bands(asking: Asking, region: str, where: str) -> tuple[dict[str, Band], datetime | None, str]:
    """
    Return the bands of a region by EC2's type, when they were read, and why there are none.

    :param where: a path, or an address that begins with ``https://`` or ``http://``.
    """
    if not _is_url(where):
        return _of_file(asking, region, where)

    def call() -> dict[str, Any]:
        with urlopen(where, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310 - http and https alone, see _is_url
            found = read_bands(json.loads(answer.read(_MOST_BYTES)), region)
        return {name: [band.low, band.high, band.savings_percent] for name, band in found.items()}

    value, read, why = asking.ask(f"{region}|{where}", MAX_AGE, shown(where), call)
    return _kept(value), read, why


def _of_file(asking: Asking, region: str, where: str) -> tuple[dict[str, Band], datetime | None, str]:
    try:
        path = Path(where).expanduser()
        document = json.loads(path.read_bytes())
        read = datetime.fromtimestamp(path.stat().st_mtime, timezone.utc)
    except OSError as error:
        why = f"{error.strerror or 'cannot be read'}"
    except (ValueError, RecursionError):
        why = "no JSON"
    else:
        return read_bands(document, region), read, ""
    asking.refused.setdefault(where, why)
    return {}, None, why


def _kept(value: Any) -> dict[str, Band]:
    found = {}
    for name, said in value.items() if isinstance(value, dict) else ():
        if isinstance(said, list) and len(said) == 3 and isinstance(said[0], int) and isinstance(said[2], int):
            high = said[1] if isinstance(said[1], int) else None
            found[str(name)] = Band(said[0], high, said[2])
    return found


def _is_url(where: str) -> bool:
    return urlsplit(where).scheme in ("http", "https")
