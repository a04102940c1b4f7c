"""Botocore says for every client where it found credentials and endpoint: once is enough for a task's log."""

from __future__ import annotations

import logging

_LOGGERS = ("botocore.credentials", "botocore.configprovider")


class _Once(logging.Filter):
    """Drops a message of INFO whose like was said before in this process: of one service, of all."""

    def __init__(self) -> None:
        super().__init__()
        self._said: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record is to be logged."""
        message = str(record.msg)
        if record.levelno != logging.INFO or message not in self._said:
            self._said.add(message)
            return True
        return False


_ONCE = _Once()


def say_once() -> None:
    """Drop botocore's repeated INFO messages about credentials and endpoints. May be called often."""
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_ONCE)  # adds it once
