"""
The rehearsal: a training script is run on Local SageMaker, interrupted in several ways, and judged by what is seen.

>>> from airflow_spot.rehearsal import rehearse
>>> report = rehearse("train.py", channels={"train": "data"})  # doctest: +SKIP

Needs the extra ``local``, and no Airflow. Importing this package loads nothing else of it: every pytest of an
environment that has the package imports it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_spot.rehearsal.report import Report
    from airflow_spot.rehearsal.running import rehearse
    from airflow_spot.rehearsal.subject import RehearsalError

__all__ = ["RehearsalError", "Report", "rehearse"]

_LAZY = {
    "RehearsalError": "airflow_spot.rehearsal.subject",
    "Report": "airflow_spot.rehearsal.report",
    "rehearse": "airflow_spot.rehearsal.running",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_LAZY[name]), name)
