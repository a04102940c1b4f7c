"""Which arguments of a script name its checkpoint folder: the lint cannot see them in the script itself."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any


def options_naming(hyperparameters: Mapping[str, Any], folder: str) -> Iterator[str]:
    """Yield the names of the hyperparameters that name the checkpoint folder; their values go nowhere."""
    for name, value in hyperparameters.items():
        try:
            text = json.loads(value)
        except (TypeError, ValueError):
            text = value
        if isinstance(text, str) and text.startswith(folder.rstrip("/")):
            yield name
