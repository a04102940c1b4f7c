"""Modules that are dear to import: whoever collects the tests does not pay for them."""

from __future__ import annotations

import importlib
from typing import Any


class Lazily:
    """A module that is imported when something of it is asked for; where it is not installed, that is an error."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self._name), name)
