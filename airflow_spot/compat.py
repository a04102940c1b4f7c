"""Every difference between Airflow versions that this package meets; each entry says when it can go.

What only a triggerer needs is in ``compat_triggers.py``, so that DAG files do not load it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow.sdk import Context, PokeReturnValue
    from airflow.sdk.exceptions import (
        AirflowException,
        AirflowFailException,
        AirflowSensorTimeout,
        AirflowTaskTimeout,
    )
else:
    try:
        from airflow.providers.common.compat.sdk import (
            AirflowException,
            AirflowFailException,
            AirflowSensorTimeout,
            AirflowTaskTimeout,
            Context,
            PokeReturnValue,
        )
    except ImportError:
        # common-compat below 1.8 (MWAA's image of 3.0.6 has 1.7.3): goes when Airflow 3.0 is no longer supported.
        from airflow.exceptions import (
            AirflowException,
            AirflowFailException,
            AirflowSensorTimeout,
            AirflowTaskTimeout,
        )
        from airflow.sdk import Context, PokeReturnValue

__all__ = [
    "AirflowException",
    "AirflowFailException",
    "AirflowSensorTimeout",
    "AirflowTaskTimeout",
    "Context",
    "PokeReturnValue",
]
