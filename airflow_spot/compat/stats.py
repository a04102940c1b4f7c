"""Airflow's metrics, by version of Airflow."""

from __future__ import annotations

import importlib
from typing import Any

from airflow import __version__ as airflow_version

#: The older place goes when 3.1 is no longer supported: 3.2 has a place for tasks.
_PLACES = ("airflow.sdk.observability.stats", "airflow.stats")


def stats() -> Any:
    """Return what takes metrics: it has ``incr`` and ``gauge``, and does nothing where metrics are off."""
    for place in _PLACES:
        try:
            return importlib.import_module(place).Stats
        except (ImportError, AttributeError):
            continue
    raise ImportError(f"Airflow {airflow_version} has no metrics at {' or '.join(_PLACES)}")
