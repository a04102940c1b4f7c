"""Answers that were read a while ago: in memory, and in a folder so that the next process has them too."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from airflow_spot.core.money.market_answers import read_time

#: How far ahead a clock may be that wrote an answer.
_AHEAD = timedelta(minutes=5)


class Cache:
    """
    Keeps JSON values with the time when they were read.

    :param folder: where they are kept, for this user alone; None: in memory only, and so is it where the folder
        cannot be written.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._kept: dict[str, tuple[Any, datetime]] = {}

    def get(self, key: str, max_age: float, now: datetime) -> tuple[Any, datetime] | None:
        """
        Return a value and when it was read; None where there is none, or an older one.

        :param max_age: in seconds.
        """
        found = self._kept.get(key)
        if found is None or not _is_young(found[1], max_age, now):
            found = self._read(key)
        if found is None or not _is_young(found[1], max_age, now):
            return None
        self._kept[key] = found
        return found

    def put(self, key: str, value: Any, now: datetime) -> None:
        """Keep a JSON value that was read now."""
        self._kept[key] = (value, now)
        if self._folder is None:
            return
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self._folder, suffix=".part")  # 0600
        except OSError:
            self._folder = None
            return
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump({"read": now.isoformat(), "value": value}, file)
            Path(name).replace(self._path(self._folder, key))
        except (OSError, TypeError, ValueError):
            with suppress(OSError):
                Path(name).unlink()

    def _read(self, key: str) -> tuple[Any, datetime] | None:
        if self._folder is None:
            return None
        try:
            found = json.loads(self._path(self._folder, key).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return None
        if not isinstance(found, dict) or "value" not in found:
            return None
        read = read_time(found.get("read"))
        return None if read is None else (found["value"], read)

    @staticmethod
    def _path(folder: Path, key: str) -> Path:
        # A key may tell an account or hold an address: neither is to be read in the folder.
        return folder / f"{hashlib.sha256(key.encode()).hexdigest()[:40]}.json"


def _is_young(read: datetime, max_age: float, now: datetime) -> bool:
    return -_AHEAD <= now - read <= timedelta(seconds=max_age)
