"""Local SageMaker: a service on this machine that speaks SageMaker's wire protocol and really runs the jobs.

>>> from airflow_spot.local import LocalSageMaker
>>> with LocalSageMaker(market="script:up=60,down=20") as sm:  # doctest: +SKIP
...     sm.client("sagemaker").create_training_job(...)

Needs the extra ``local``. Importing this package loads nothing else of it: the shim of each job's process
imports it too, and has to start fast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_spot.local.client import LocalSageMaker

__all__ = ["LocalSageMaker"]


def __getattr__(name: str) -> Any:
    if name == "LocalSageMaker":
        from airflow_spot.local.client import LocalSageMaker

        return LocalSageMaker
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
